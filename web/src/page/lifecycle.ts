import type { RawNode } from '../program.js'

/**
 * Tells a node in a worker what its page is told: that the page is left or frozen, that it is back, and that the network is. In a page the
 * program listens itself.
 */
export function followPage(node: Pick<RawNode, 'rest' | 'wake'>, signal: AbortSignal): void {
  if (!('document' in globalThis)) return // a worker, that has another one for its node
  // One that is closed, or has crashed, has no connections to end or to look after.
  const rest = () => void node.rest().catch(() => {})
  const wake = () => void node.wake().catch(() => {})
  addEventListener('pagehide', rest, { signal })
  addEventListener('pageshow', ({ persisted }) => persisted && wake(), { signal })
  addEventListener('online', wake, { signal }) // of which Chromium's devtools do not tell a worker
  document.addEventListener('freeze', rest, { signal })
  document.addEventListener('resume', wake, { signal })
}
