import type { RawNode } from '../program.js'

/**
 * Passes the events of a page on to its node in a worker: that the page is left or frozen, that it is back, and that the network is back.
 * If the node is in the page, the program listens itself.
 */
export function followPage(node: Pick<RawNode, 'rest' | 'wake'>, signal: AbortSignal): void {
  if (!('document' in globalThis)) return // the caller is itself a worker
  // A node that is closed or has crashed has no connections to close or to check.
  const rest = () => void node.rest().catch(() => {})
  const wake = () => void node.wake().catch(() => {})
  addEventListener('pagehide', rest, { signal })
  addEventListener('pageshow', ({ persisted }) => persisted && wake(), { signal })
  addEventListener('online', wake, { signal }) // Chromium's devtools do not report this to a worker
  document.addEventListener('freeze', rest, { signal })
  document.addEventListener('resume', wake, { signal })
}
