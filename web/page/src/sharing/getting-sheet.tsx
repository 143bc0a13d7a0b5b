import { useEffect, useRef } from 'preact/hooks'
import type { Download, Getting } from './getting.js'
import { protocolOf } from './share-link.js'
import { shownName } from './listing.js'
import type { Session } from '../tab/session.js'
import type { Listed } from './shelf.js'
import { useSource } from '../source.js'
import type { State } from '../tab/state.js'
import { count, size } from '../ui/format.js'
import { Peer } from '../ui/peer.js'
import { Trouble } from '../ui/trouble.js'

interface Props {
  state: State
  session: Session
  getting: Getting
}

/** What the link that this page was opened with leads to. */
export function GettingSheet({ state, session, getting }: Props) {
  const { target, phase, listing, failure, downloads } = useSource(getting.view)
  const isPage = listing?.files.some(({ name }) => name === 'index.html')
  const view = useRef<HTMLElement>(null)
  useEffect(() => view.current?.focus({ preventScroll: true }), [target])
  if (target === undefined && failure === undefined) return null
  return (
    <section class="sheet getting" aria-labelledby="getting-title" data-phase={phase} tabIndex={-1} ref={view}>
      <h2 id="getting-title">Shared with you</h2>
      <div class="getting-bar">
        {target && (
          <p>
            <Peer id={target.peer} /> serves <code>{target.name}</code>
          </p>
        )}
        {phase === 'there' && target && (
          <button
            type="button"
            class={isPage ? '' : 'quiet'}
            onClick={() => void session.openSite(target.peer, protocolOf(target.name))}
          >
            Show here
          </button>
        )}
        <button type="button" class="quiet" onClick={() => getting.close()}>
          Close
        </button>
      </div>
      <p class="waiting" role="status">
        {waiting(phase, state)}
      </p>
      <Trouble failure={failure} />
      {phase === 'failed' && target && (
        <button type="button" onClick={() => void getting.look()}>
          Try again
        </button>
      )}
      {phase === 'there' && listing === undefined && <p>It does not list what it has; it can be shown.</p>}
      {phase === 'there' && listing && (
        <ul id="shared">
          {listing.files.map((file) => (
            <FileRow key={file.name} file={file} download={downloads.get(file.name)} getting={getting} />
          ))}
        </ul>
      )}
      {phase === 'there' && listing && listing.left > 0 && (
        <p class="form-note">
          {count(listing.left, 'more entry is', 'more entries are')} listed, and not shown: there is room for 500 files,
          each with a name of its own and a size.
        </p>
      )}
    </section>
  )
}

function waiting(phase: Getting['state']['phase'], state: State): string | undefined {
  if (phase === 'waiting')
    return state.phase === 'failed' ? 'This tab has no node to fetch it with.' : 'First this tab joins…'
  if (phase === 'looking') return 'Looking for the peer; that may take up to a minute…'
  return undefined
}

function FileRow({ file, download, getting }: { file: Listed; download: Download | undefined; getting: Getting }) {
  const how = download?.how
  return (
    <li class="shared" data-name={file.name} data-how={how ?? 'none'}>
      <span class="shared-name">{shownName(file)}</span>
      <span class="shared-size">{progress(file, download)}</span>
      <Act file={file} download={download} getting={getting} />
      {download && how !== 'done' && (
        <progress
          aria-label={`Download of ${shownName(file)}`}
          max={Math.max(1, download.total)}
          value={download.received}
        />
      )}
      <Trouble failure={download?.failure} />
    </li>
  )
}

function progress(file: Listed, download: Download | undefined): string {
  if (download === undefined) return size(file.size)
  if (download.how === 'done') return `${size(download.received)}, all here`
  return `${size(download.received)} of ${size(download.total)}`
}

/** Keys, since the same button for two acts would hear one double click as both. */
function Act({ file, download, getting }: { file: Listed; download: Download | undefined; getting: Getting }) {
  const named = <span class="hidden"> {shownName(file)}</span>
  if (download?.how === 'under way') {
    return (
      <button
        key="stop"
        type="button"
        class="quiet"
        onClick={({ detail }) => detail <= 1 && getting.stop(file.name)} // not the second of a double click on the other
      >
        Stop{named}
      </button>
    )
  }
  if (download?.url !== undefined) {
    return (
      <a key="save" href={download.url} download={shownName(file)}>
        Save again{named}
      </a>
    )
  }
  return (
    <button key="download" type="button" class="quiet" onClick={() => void getting.download(file)}>
      {download === undefined ? 'Download' : download.how === 'cut off' ? 'Go on' : 'Try again'}
      {named}
    </button>
  )
}
