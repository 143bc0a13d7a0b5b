/** How long the page is left in peace with its own start, in ms. */
const LATER_MS = 5_000

/** Has the browser keep the page's files, so that it opens offline and can be installed. Whatever is in the way of that, the page does without. */
export function keepShell(): void {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return
  const options = { scope: '/', updateViaCache: 'none' } as const
  setTimeout(() => navigator.serviceWorker.register('/shell-sw.js', options).catch(() => {}), LATER_MS)
}
