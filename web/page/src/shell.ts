/** How long to wait after the page has started, in ms. */
const LATER_MS = 5_000

/** Makes the browser store the page's files, so that it opens offline and can be installed. If that fails, the page works without it. */
export function keepShell(): void {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return
  const options = { scope: '/', updateViaCache: 'none' } as const
  setTimeout(() => navigator.serviceWorker.register('/shell-sw.js', options).catch(() => {}), LATER_MS)
}
