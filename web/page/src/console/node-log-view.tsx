import type { LogLevel } from '@tombolo/node'
import { useState } from 'preact/hooks'
import type { NodeLog, NumberedRecord } from './node-log.js'
import { useSource } from '../source.js'
import { clock } from '../ui/format.js'

const LEVELS = ['debug', 'info', 'warn', 'error'] as const

/** The node's own log, for troubleshooting. The log of the page says what happened to the tab. */
export function NodeLogView({ nodeLog, logged }: { nodeLog: NodeLog; logged: LogLevel }) {
  const records = useSource(nodeLog.records)
  const [open, setOpen] = useState(false)
  return (
    <details class="node-log" id="node-log" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        What it has logged <span class="count">{records.length}</span>
      </summary>
      {open && <Records records={records} logged={logged} />}
    </details>
  )
}

function Records({ records, logged }: { records: readonly NumberedRecord[]; logged: LogLevel }) {
  const [least, setLeast] = useState<string>('debug')
  const shown = records.filter(({ level }) => LEVELS.indexOf(level) >= LEVELS.findIndex((one) => one === least))
  return (
    <>
      <form class="node-log-filter" onSubmit={(event) => event.preventDefault()}>
        <label for="node-log-level">Show</label>
        <select id="node-log-level" value={least} onChange={(event) => setLeast(event.currentTarget.value)}>
          <option value="debug">everything</option>
          <option value="info">info and above</option>
          <option value="warn">warnings and errors</option>
          <option value="error">errors</option>
        </select>
      </form>
      <p class="plot-note">
        {logged === 'off'
          ? 'The node logs nothing: the address of this page says “log=off”.'
          : `The node logs ${logged} and above; “?log=debug” in the address of this page has it say more.`}
      </p>
      {shown.length === 0 && <p class="waiting">Nothing of this kind has been logged.</p>}
      <div class="log-scroll" role="log" aria-label="What the node has logged" tabIndex={shown.length > 0 ? 0 : -1}>
        <ol>
          {shown.map((record) => (
            <RecordView key={record.n} record={record} />
          ))}
        </ol>
      </div>
    </>
  )
}

function RecordView({ record: { time, level, message, attrs } }: { record: NumberedRecord }) {
  return (
    <li data-level={level}>
      <time dateTime={new Date(time).toISOString()}>{clock(time)}</time>
      <b>{level}</b>
      <span>
        {message} {attrs !== '' && <code>{attrs}</code>}
      </span>
    </li>
  )
}
