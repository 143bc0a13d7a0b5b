import type { Router, View } from './router.js'
import { VIEWS } from './router.js'
import { useSource } from './source.js'
import type { Talk } from './talk/talk.js'

const NAMES: Record<View, string> = { share: 'Share', talk: 'Talk', play: 'Play', mesh: 'Mesh', console: 'Console' }

/** The bar of the views. index.html already has its links before any script runs. */
export function Nav({ router, talk }: { router: Router; talk: Talk }) {
  const shown = useSource(router.view)
  const { rooms } = useSource(talk.view)
  const unread = rooms.reduce((sum, room) => sum + room.unread, 0)
  return (
    <>
      {VIEWS.map((view) => (
        <a
          key={view}
          href={`#${view}`}
          aria-current={view === shown ? 'page' : undefined}
          onClick={() => window.scrollTo(0, 0)}
        >
          {NAMES[view]}
          {view === 'talk' && unread > 0 && (
            <span class="nav-mark">
              {' '}
              {unread > 99 ? '99+' : unread}
              <span class="hidden"> not read</span>
            </span>
          )}
        </a>
      ))}
    </>
  )
}

export function nameOf(view: View): string {
  return NAMES[view]
}
