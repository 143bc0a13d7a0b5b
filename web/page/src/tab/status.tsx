import { useEffect } from 'preact/hooks'
import { nameOf } from '../nav.js'
import type { View } from '../router.js'
import type { State } from './state.js'
import { megabytes, transportName } from '../ui/format.js'

/** The connection's status, as a word and a sentence. */
export function Status({ state, view }: { state: State; view: View }) {
  const { title, detail } = words(state)
  useEffect(() => {
    document.title = state.phase === 'joined' ? `${nameOf(view)} · Tombolo` : `${title} · Tombolo`
  }, [title, view, state.phase])
  return (
    <section class="status" data-phase={state.phase} aria-label="Status">
      <p class="status-title" role="status">
        {title}
      </p>
      <p class="status-detail">{detail}</p>
      {state.phase === 'loading' && <Progress state={state} />}
    </section>
  )
}

function Progress({ state: { load } }: { state: State }) {
  const known = load.total > 0
  return (
    <progress
      aria-label="Download of the page’s program"
      max={known ? load.total : undefined}
      value={known ? load.done : undefined}
    />
  )
}

function words(state: State): { title: string; detail: string } {
  const { load, peers, relay, self } = state
  switch (state.phase) {
    case 'loading':
      if (load.total === 0) return { title: 'Starting', detail: 'Waiting for the first bytes' }
      if (load.done >= load.total) return { title: 'Starting', detail: `${megabytes(load.total)} MB received` }
      return { title: 'Starting', detail: `${megabytes(load.done)} of ${megabytes(load.total)} MB` }
    case 'joining':
      if (relay === undefined)
        return { title: 'On its own', detail: 'This page knows no relay through which to reach others' }
      return { title: 'Connecting', detail: 'Asking the relay to let others reach this tab' }
    case 'joined': {
      const link = peers.find((peer) => peer.id === relay?.id)
      const by = link === undefined ? '' : ` over ${transportName(link.transport)}`
      return { title: 'Connected', detail: `Others on “${self?.network ?? ''}” can reach this tab${by}` }
    }
    case 'adrift':
      return { title: 'Cut off', detail: 'The relay is gone. This tab keeps trying to reach it' }
    case 'failed':
      return { title: 'Not running', detail: 'What went wrong is said below' }
  }
}
