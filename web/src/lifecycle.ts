import type { RawNode } from './program.js'

/**
 * Tells a node in a worker what only its page is told: that the page is left or frozen, and that it is back. Of the network a worker is told
 * itself, and the program in a page of all. Returns what ends it.
 */
export function followPage(node: Pick<RawNode, 'rest' | 'wake'>): () => void {
  const over = new AbortController()
  const { signal } = over
  // One that is closed, or has crashed, has no connections to end or to look after.
  const rest = () => void node.rest().catch(() => {})
  const wake = () => void node.wake().catch(() => {})
  addEventListener('pagehide', rest, { signal })
  addEventListener('pageshow', ({ persisted }) => persisted && wake(), { signal })
  if (!('document' in globalThis)) return () => over.abort() // a worker, that has another one for its node
  document.addEventListener('freeze', rest, { signal })
  document.addEventListener('resume', wake, { signal })
  return () => over.abort()
}
