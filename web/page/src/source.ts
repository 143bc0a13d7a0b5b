import { createContext } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import { calmly } from './timers.js'

/** A value that changes by itself; what shows it is drawn again when it does, and nothing else is. It tells of changes when next there is something to be drawn, however many there were. */
export class Source<T> {
  #value: T
  readonly #watchers = new Set<(value: T) => void>()
  readonly #changed: () => void
  readonly #tell = () => this.#watchers.forEach((watcher) => watcher(this.#value))

  /** `calm`: it tells of changes once in so many ms at most, for what strangers can change as often as they like. */
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

/** A source of several fields, which change one by one. */
export class Store<T extends object> extends Source<T> {
  change(change: Partial<T>): void {
    this.set({ ...this.value, ...change })
  }
}

/** Whether a person can see it: what nobody sees is not drawn again. */
export const Shown = createContext(true)

export function useSource<T>(source: Source<T>): T {
  const [value, setValue] = useState(source.value)
  const shown = useContext(Shown)
  useEffect(() => {
    if (!shown) return undefined
    setValue(() => source.value) // it may have changed since it was drawn
    return source.watch((next) => setValue(() => next))
  }, [source, shown])
  return value
}

const due = new Set<() => void>()
// Nothing is drawn in a tab that nobody looks at, but its title is; unlike a timer, this is not slowed down there.
const turn = new MessageChannel()
turn.port1.onmessage = run
document.addEventListener('visibilitychange', () => {
  if (document.hidden && due.size > 0) turn.port2.postMessage(null) // the frame asked for does not come
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
