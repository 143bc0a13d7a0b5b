import { createContext } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import { calmly } from './timers.js'

/**
 * A value that components redraw on. Only the components that use it redraw when it changes. Watchers are called before the next frame,
 * once for any number of changes.
 */
export class Source<T> {
  #value: T
  readonly #watchers = new Set<(value: T) => void>()
  readonly #changed: () => void
  readonly #tell = () => this.#watchers.forEach((watcher) => watcher(this.#value))

  /** `calm`: watchers are called at most once in this many ms, for values that strangers can change as often as they like. */
  constructor(value: T, calm = 0) {
    this.#value = value
    this.#changed = calm === 0 ? () => soon(this.#tell) : calmly(calm, () => soon(this.#tell))
  }

  get value(): T {
    return this.#value
  }

  set(value: T): void {
    this.#value = value
    this.#changed()
  }

  watch(watcher: (value: T) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }
}

/** A source of several fields that change one by one. */
export class Store<T extends object> extends Source<T> {
  change(change: Partial<T>): void {
    this.set({ ...this.value, ...change })
  }
}

/** Whether a person can see a component. A hidden component is not redrawn. */
export const Shown = createContext(true)

export function useSource<T>(source: Source<T>): T {
  const [value, setValue] = useState(source.value)
  const shown = useContext(Shown)
  useEffect(() => {
    if (!shown) return undefined
    setValue(() => source.value) // the value may have changed since it was drawn
    return source.watch((next) => setValue(() => next))
  }, [source, shown])
  return value
}

const due = new Set<() => void>()
// A hidden tab draws no frames, but its title must change. Unlike timers, messages are not throttled there.
const turn = new MessageChannel()
turn.port1.onmessage = run
document.addEventListener('visibilitychange', () => {
  if (document.hidden && due.size > 0) turn.port2.postMessage(null) // the requested frame will not come
})

function soon(f: () => void): void {
  due.add(f)
  if (due.size > 1) return
  if (document.hidden) turn.port2.postMessage(null)
  else requestAnimationFrame(run)
}

function run(): void {
  const now = [...due]
  due.clear()
  for (const f of now) f()
}
