import type { LogEntry } from './state.js'
import { clock } from '../ui/format.js'
import { Detail } from '../ui/detail.js'
import { Peer } from '../ui/peer.js'

/** In characters: longer texts are cut. */
const MAX_TEXT = 240

export function ActivityLog({ log }: { log: LogEntry[] }) {
  return (
    <section class="sheet log" aria-labelledby="log-title">
      <h2 id="log-title">What happened</h2>
      {log.length === 0 && <p class="waiting">Nothing has happened yet.</p>}
      <div class="log-scroll" role="log" aria-labelledby="log-title" tabIndex={log.length > 0 ? 0 : -1}>
        <ol id="log">
          {log.map((entry) => (
            <Entry key={entry.n} entry={entry} />
          ))}
        </ol>
      </div>
    </section>
  )
}

function Entry({ entry: { at, kind, text, peer } }: { entry: LogEntry }) {
  return (
    <li data-kind={kind}>
      <time dateTime={new Date(at).toISOString()}>{clock(at)}</time>
      <span>
        {peer !== undefined && (
          <>
            <Peer id={peer} />{' '}
          </>
        )}
        {text.length > MAX_TEXT ? <Detail text={text} /> : text}
      </span>
    </li>
  )
}
