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
