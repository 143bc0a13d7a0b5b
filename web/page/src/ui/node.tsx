import type { NodeStats } from '@tombolo/node'
import { useEffect, useState } from 'preact/hooks'
import type { Session } from '../session.js'
import { groupsOf, type Group } from '../stats-words.js'
import { NodeLogView } from './node-log.js'

const REFRESH_MS = 2_000

/** For who runs the node: what it has counted, and what it has logged. */
export function NodeSheet({ session }: { session: Session }) {
  const [open, setOpen] = useState(false)
  return (
    <section class="sheet node" aria-labelledby="node-title">
      <h2 id="node-title">The node</h2>
      <details id="stats" onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>What it has counted</summary>
        {open && <Counters session={session} />}
      </details>
      <NodeLogView session={session} />
    </section>
  )
}

function Counters({ session }: { session: Session }) {
  const [stats, setStats] = useState<NodeStats | undefined>()
  const [error, setError] = useState<string | undefined>()
  useEffect(() => {
    let over = false
    const read = async () => {
      if (document.hidden) return
      try {
        const read = await session.stats()
        if (!over) setStats(read)
        setError(undefined)
      } catch (failure) {
        setError(failure instanceof Error ? failure.message : String(failure))
      }
    }
    void read()
    const timer = setInterval(() => void read(), REFRESH_MS)
    return () => {
      over = true
      clearInterval(timer)
    }
  }, [session])
  return (
    <>
      {error !== undefined && (
        <p class="form-error" role="alert">
          The counters could not be read: {error}. It is tried again; if it goes on, reload the page.
        </p>
      )}
      {stats === undefined ? (
        <p class="waiting">There is no node to count yet.</p>
      ) : (
        groupsOf(stats).map((group) => <Table key={group.title} group={group} />)
      )}
    </>
  )
}

function Table({ group: { title, counters } }: { group: Group }) {
  return (
    <table class="counters">
      <caption>{title}</caption>
      <thead class="hidden">
        <tr>
          <th scope="col">Counter</th>
          <th scope="col">Value</th>
          <th scope="col">What it means</th>
        </tr>
      </thead>
      <tbody>
        {counters.map(({ name, value, meaning }) => (
          <tr key={name} data-counter={name}>
            <th scope="row">
              <code>{name}</code>
            </th>
            <td class="counter-value">{value}</td>
            <td class="counter-meaning">{meaning}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
