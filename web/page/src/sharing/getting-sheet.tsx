import { useEffect, useRef, useState } from 'preact/hooks'
import type { All, Download, Getting } from './getting.js'
import { MAX_FILES } from './items.js'
import { protocolOf } from './share-link.js'
import { shownName, type Listing } from './listing.js'
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

/** The files that the page's link leads to. */
export function GettingSheet({ state, session, getting }: Props) {
  const { target, phase, listing, failure, again } = useSource(getting.view)
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
            <Peer id={target.peer} /> shares <code>{target.name}</code>
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
      {phase === 'failed' && again && (
        <p class="getting-again">
          <button type="button" onClick={() => void getting.look()}>
            Try again
          </button>{' '}
          <span class="form-note">It is tried again by itself, too.</span>
        </p>
      )}
      {phase === 'there' && listing === undefined && <p>It does not list what it has; it can be shown.</p>}
      {listing && phase === 'there' && <Files listing={listing} getting={getting} />}
      {phase === 'there' && listing && listing.left > 0 && (
        <p class="form-note">
          {count(listing.left, 'more entry is', 'more entries are')} listed, and not shown: there is room for{' '}
          {MAX_FILES.toLocaleString()} files, each with a name of its own and a size.
        </p>
      )}
    </section>
  )
}

/** The most rows that are drawn until somebody asks for more. */
const MAX_DRAWN = 100
/** In bytes; anything smaller fits into a browser's memory. */
const LARGE_BYTES = 64 << 20

function Files({ listing: { files }, getting }: { listing: Listing; getting: Getting }) {
  const { downloads, all, toDisk } = useSource(getting.view)
  const [drawn, setDrawn] = useState(MAX_DRAWN)
  const total = files.reduce((sum, file) => sum + file.size, 0)
  return (
    <>
      {files.length > 1 && (
        <div class="getting-all" data-how={all?.how ?? 'none'}>
          <AllButton all={all} getting={getting} />
          <span role="status">
            {count(files.length, 'file')}, {size(total)}
            {allWords(all)}
          </span>
          <Trouble failure={all?.failure} />
        </div>
      )}
      {!toDisk && total > LARGE_BYTES && (
        <p class="form-note">
          This browser cannot put on disk what is on its way: {size(total)} are in its memory until they are whole.
        </p>
      )}
      <ul id="shared">
        {files.slice(0, drawn).map((file) => (
          <FileRow key={file.name} file={file} download={downloads.get(file.name)} getting={getting} />
        ))}
      </ul>
      {files.length > drawn && (
        <button type="button" class="quiet" onClick={() => setDrawn(drawn + 5 * MAX_DRAWN)}>
          Show more of the {(files.length - drawn).toLocaleString()} others
        </button>
      )}
    </>
  )
}

function allWords(all: All | undefined): string {
  if (all === undefined) return ''
  if (all.how === 'packing') return '. All are here; they are packed into one…'
  if (all.how === 'done') return ', all here'
  return `; ${all.done.toLocaleString()} of ${all.of.toLocaleString()} are here`
}

function AllButton({ all, getting }: { all: All | undefined; getting: Getting }) {
  if (all?.how === 'packing') return null
  if (all?.how === 'under way') {
    return (
      <button key="stop" type="button" class="quiet" onClick={({ detail }) => detail <= 1 && getting.stopAll()}>
        Stop all
      </button>
    )
  }
  return (
    <button key="all" type="button" onClick={() => void getting.downloadAll()}>
      {all === undefined ? 'Download all' : all.how === 'done' ? 'Download all again' : 'Go on with all'}
    </button>
  )
}

function waiting(phase: Getting['state']['phase'], state: State): string | undefined {
  if (phase === 'waiting')
    return state.phase === 'failed' ? 'This tab is not running, and cannot get it.' : 'First this tab connects…'
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

/** The buttons have keys, because a single button for both actions would take a double click for both. */
function Act({ file, download, getting }: { file: Listed; download: Download | undefined; getting: Getting }) {
  const named = <span class="hidden"> {shownName(file)}</span>
  if (download?.how === 'under way') {
    return (
      <button
        key="stop"
        type="button"
        class="quiet"
        onClick={({ detail }) => detail <= 1 && getting.stop(file.name)} // not the second click of a double click on the other button
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
