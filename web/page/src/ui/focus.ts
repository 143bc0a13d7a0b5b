const FOCUSABLE = 'button:not(:disabled), a[href], input:not(:disabled), select, textarea, summary, [tabindex="0"]'

/**
 * Keeps the focus in place when the focused element is removed, such as a row by the button in it: it moves to the next element in the part
 * of the page that is left. The browser would start again at the top.
 */
export function keepFocus(root: HTMLElement): void {
  let last: Element[] = [] // the focused element, and all of its ancestors
  root.addEventListener('focusin', ({ target }) => {
    last = []
    for (let at = target as Element | null; at !== null && at !== root; at = at.parentElement) last.push(at)
  })
  // If somebody has clicked elsewhere meanwhile, the focus is left alone.
  document.addEventListener('pointerdown', ({ target }) => {
    if (document.activeElement === document.body || !document.activeElement?.contains(target as Element)) last = []
  })
  new MutationObserver(() => {
    if (last.length === 0 || last[0]!.isConnected || document.activeElement !== document.body) return
    const home = last.find((element) => element.isConnected && !isHidden(element)) as HTMLElement | undefined
    last = []
    if (home === undefined) return
    const next = [...home.querySelectorAll<HTMLElement>(FOCUSABLE)].find((element) => !isHidden(element))
    if (next !== undefined) return next.focus({ preventScroll: true })
    home.tabIndex = -1
    home.focus({ preventScroll: true })
  }).observe(root, { childList: true, subtree: true })
}

function isHidden(element: Element): boolean {
  return element.getClientRects().length === 0
}
