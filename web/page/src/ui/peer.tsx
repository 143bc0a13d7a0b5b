import { createContext } from 'preact'
import { useContext } from 'preact/hooks'
import { Source, useSource } from '../source.js'
import { Flag } from './flag.js'
import { shortId } from './format.js'

/** The names that peers chose, by ID. */
export const Names = createContext(new Source<ReadonlyMap<string, string>>(new Map()))

/** A peer within text: its flag and its name. */
export function Peer({ id }: { id: string }) {
  return (
    <>
      <Flag id={id} small /> <PeerName id={id} />
    </>
  )
}

/** A peer's name. If it has none, or one that another peer also uses, the end of its ID is shown. */
export function PeerName({ id }: { id: string }) {
  const names = useSource(useContext(Names))
  const name = names.get(id)
  const code = <code title={id}>{shortId(id)}</code>
  if (name === undefined) return code
  return (
    <>
      <b class="peer-name" title={id}>
        {name}
      </b>
      {isTwice(name, names) && <> {code}</>}
    </>
  )
}

/** A peer as plain text, for an option or a label. */
export function peerText(id: string, names: ReadonlyMap<string, string>): string {
  const name = names.get(id)
  if (name === undefined) return shortId(id)
  return isTwice(name, names) ? `${name} ${shortId(id)}` : name
}

const twice = new WeakMap<ReadonlyMap<string, string>, Set<string>>()

/** Whether two peers chose the same name. */
function isTwice(name: string, names: ReadonlyMap<string, string>): boolean {
  let repeated = twice.get(names)
  if (repeated === undefined) {
    const seen = new Set<string>()
    repeated = new Set([...names.values()].filter((one) => seen.has(one) || !seen.add(one)))
    twice.set(names, repeated)
  }
  return repeated.has(name)
}
