import { Flag } from './flag.js'
import { shortId } from './format.js'

/** A peer within text: its flag, and the end of its id. */
export function Peer({ id }: { id: string }) {
  return (
    <>
      <Flag id={id} small /> <code title={id}>{shortId(id)}</code>
    </>
  )
}
