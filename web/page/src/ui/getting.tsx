import { useEffect, useRef } from 'preact/hooks'
import type { Download, Getting } from '../getting.js'
import { protocolOf } from '../link.js'
import type { Session } from '../session.js'
import type { Listed } from '../shelf.js'
import type { State } from '../state.js'
import { Flag } from './flag.js'
import { shortId, size } from './format.js'
import { Trouble } from './trouble.js'

interface Props {
  state: State
  session: Session
  getting: Getting
}

/** What the link that this page was opened with leads to. */
export function GettingSheet({ state, session, getting }: Props) {
  const { target, phase, files, failure, downloads } = getting.state
  const isPage = files?.some(({ name }) => name === 'index.html')
  const view = useRef<HTMLElement>(null)
  useEffect(() => view.current?.focus({ preventScroll: true }), [target])
  return (
    <section class="sheet getting" aria-labelledby="getting-title" data-phase={phase} tabIndex={-1} ref={view}>
      <h2 id="getting-title">Shared with you</h2>
      <div class="getting-bar">
        {target && (
          <p>
            <Flag id={target.peer} /> <code title={target.peer}>{shortId(target.peer)}</code> serves{' '}
            <code>{target.name}</code>
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
      {phase === 'there' && files === undefined && <p>It does not list what it has; it can be shown.</p>}
      {phase === 'there' && files && (
        <ul id="shared">
          {files.map((file) => (
            <FileRow key={file.name} file={file} download={downloads.get(file.name)} getting={getting} />
          ))}
        </ul>
      )}
    </section>
  )
}

function waiting(phase: Getting['state']['phase'], state: State): string | undefined {
  if (phase === 'waiting')
    return state.phase === 'failed' ? 'This tab has no node to fetch it with.' : 'First this tab joins…'
  if (phase === 'looking') return 'Looking for the peer; that may take some seconds…'
  return undefined
}

function FileRow({ file, download, getting }: { file: Listed; download: Download | undefined; getting: Getting }) {
  const how = download?.how
  return (
    <li class="shared" data-name={file.name} data-how={how ?? 'none'}>
      <span class="shared-name">{file.name}</span>
      <span class="shared-size">{progress(file, download)}</span>
      <Act file={file} download={download} getting={getting} />
      {download && how !== 'done' && (
        <progress aria-label={`Download of ${file.name}`} max={Math.max(1, download.total)} value={download.received} />
      )}
      <Trouble failure={download?.failure} />
    </li>
  )
}

function progress(file: Listed, download: Download | undefined): string {
  if (download === undefined) return size(file.size)
  if (download.how === 'done') return `${size(download.total)}, all here`
  return `${size(download.received)} of ${size(download.total)}`
}

function Act({ file, download, getting }: { file: Listed; download: Download | undefined; getting: Getting }) {
  const named = <span class="hidden"> {file.name}</span>
  if (download?.how === 'under way') {
    return (
      <button type="button" class="quiet" onClick={() => getting.stop(file.name)}>
        Stop{named}
      </button>
    )
  }
  if (download?.url !== undefined) {
    return (
      <a href={download.url} download={file.name}>
        Save again{named}
      </a>
    )
  }
  return (
    <button type="button" class="quiet" onClick={() => void getting.download(file)}>
      {download === undefined ? 'Download' : download.how === 'cut off' ? 'Go on' : 'Try again'}
      {named}
    </button>
  )
}
