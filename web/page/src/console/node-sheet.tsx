import type { NodeStats } from '@tombolo/node'
import { useEffect, useState } from 'preact/hooks'
import { lookFailure, type Failure } from '../failures.js'
import type { NodeLog } from './node-log.js'
import type { Session } from '../tab/session.js'
import { groupsOf, type Group } from './stats-words.js'
import { NodeLogView } from './node-log-view.js'
import { Trouble } from '../ui/trouble.js'

const REFRESH_MS = 2_000

/** The node's counters and log, for whoever runs the node. */
export function NodeSheet({ session, nodeLog }: { session: Session; nodeLog: NodeLog }) {
  const [open, setOpen] = useState(false)
  return (
    <section class="sheet node" aria-labelledby="node-title">
      <h2 id="node-title">The node</h2>
      <details id="stats" onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>What it has counted</summary>
        {open && <Counters session={session} />}
      </details>
      <NodeLogView nodeLog={nodeLog} logged={session.logLevel} />
    </section>
  )
}

function Counters({ session }: { session: Session }) {
  const [stats, setStats] = useState<NodeStats | undefined>()
  const [failure, setFailure] = useState<Failure | undefined>()
  useEffect(() => {
    let over = false
    const read = async () => {
      if (document.hidden) return
      try {
        const read = await session.stats()
        if (!over) setStats(read)
        if (!over) setFailure(undefined)
      } catch (error) {
        if (!over) setFailure(lookFailure(error))
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
      <Trouble failure={failure} />
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
