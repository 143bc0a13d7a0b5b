/** Calls a function again and again, until the signal. */
export function every(ms: number, f: () => void, signal: AbortSignal): void {
  const timer = setInterval(f, ms)
  signal.addEventListener('abort', () => clearInterval(timer))
}

/** The function, called once in so long at most; where it is wanted more often, once more at the end. For what a stranger can bring about. */
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

/** In ms: a frame has 16. */
const BREATH_MS = 5

/** For a loop that strangers feed: what it returns lets the page draw, and hear whoever sits before it, once the loop has taken long enough. */
export function breather(): () => Promise<void> | void {
  let begun = performance.now()
  return () => {
    const now = performance.now()
    // A loop that had to wait has left the page in peace.
    if (now - begun < BREATH_MS) return undefined
    return new Promise((resolve) =>
      setTimeout(() => {
        begun = performance.now()
        resolve()
      }),
    )
  }
}
