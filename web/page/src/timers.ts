/** Calls a function repeatedly until the signal aborts. */
export function every(ms: number, f: () => void, signal: AbortSignal): void {
  const timer = setInterval(f, ms)
  signal.addEventListener('abort', () => clearInterval(timer))
}

/** Limits a function to one call in this many ms. Calls in between are combined into one at the end. For what strangers can trigger. */
export function calmly(ms: number, f: () => void): () => void {
  let waiting = false
  let again = false
  const call = () => {
    if (waiting) {
      again = true
      return
    }
    f()
    waiting = true
    setTimeout(() => {
      waiting = false
      if (again) call()
      again = false
    }, ms)
  }
  return call
}

/** In ms; a frame takes 16. */
const BREATH_MS = 5

/**
 * For a loop that strangers feed. Await the returned function in each round: once the loop has run long enough, it lets the page draw and
 * handle input.
 */
export function breather(): () => Promise<void> | void {
  let begun = performance.now()
  return () => {
    const now = performance.now()
    // A short loop has not blocked the page.
    if (now - begun < BREATH_MS) return undefined
    return new Promise((resolve) =>
      setTimeout(() => {
        begun = performance.now()
        resolve()
      }),
    )
  }
}
