import { useEffect } from 'preact/hooks'
import type { State } from './state.js'
import { megabytes, transportName } from '../ui/format.js'

/** One sentence on how things stand, large enough to be read from across the room. */
export function Status({ state }: { state: State }) {
  const { title, detail } = words(state)
  useEffect(() => {
    document.title = `${title} · Tombolo`
  }, [title])
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
      aria-label="Download of the node's program"
      max={known ? load.total : undefined}
      value={known ? load.done : undefined}
    />
  )
}

function words(state: State): { title: string; detail: string } {
  const { load, peers, relay, self } = state
  switch (state.phase) {
    case 'loading':
      if (load.total === 0) return { title: 'Fetching the node', detail: 'Waiting for the first bytes' }
      if (load.done >= load.total) return { title: 'Starting the node', detail: `${megabytes(load.total)} MB received` }
      return { title: 'Fetching the node', detail: `${megabytes(load.done)} of ${megabytes(load.total)} MB` }
    case 'joining':
      if (relay === undefined) return { title: 'On its own', detail: 'The node runs, and has no relay to join' }
      return { title: 'Crossing to the relay', detail: 'Asking it for a reservation, so that this tab can be called' }
    case 'joined': {
      const link = peers.find((peer) => peer.id === relay?.id)
      const by = link === undefined ? '' : ` over ${transportName(link.transport)}`
      return {
        title: 'Joined',
        detail: `Part of the mesh “${self?.network ?? ''}”${by}: this tab can call and be called`,
      }
    }
    case 'adrift':
      return { title: 'Adrift', detail: 'The relay is gone. This tab keeps trying to get its reservation back' }
    case 'failed':
      return { title: 'No node', detail: 'What went wrong is said below' }
  }
}
