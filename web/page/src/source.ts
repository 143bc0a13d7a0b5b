import { useEffect, useState } from 'preact/hooks'

/** A value that changes by itself; what shows it is drawn again when it does, and nothing else is. */
export class Source<T> {
  #value: T
  readonly #watchers = new Set<(value: T) => void>()

  constructor(value: T) {
    this.#value = value
  }

  get value(): T {
    return this.#value
  }

  set(value: T): void {
    this.#value = value
    for (const watcher of this.#watchers) watcher(value)
  }

  watch(watcher: (value: T) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }
}

export function useSource<T>(source: Source<T>): T {
  const [value, setValue] = useState(source.value)
  useEffect(() => {
    setValue(() => source.value) // it may have changed since it was drawn
    return source.watch((next) => setValue(() => next))
  }, [source])
  return value
}
