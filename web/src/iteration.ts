/** A sequence of batches that the program hands out. */
export interface RawIteration<Batch> {
  /** Resolves to the next batch once there is one, or to null at the end. Rejects if the sequence ended with an error. */
  next(): Promise<Batch | null>
  close(): Promise<void>
}

type Call = <T>(f: () => Promise<T>) => Promise<T>

const EMPTY: readonly never[] = []

/** Items that arrive in batches, yielded one by one. */
export class Iteration<Item> implements AsyncIterableIterator<Item, undefined> {
  readonly #read: () => Promise<Iterable<Item> | null>
  readonly #close: () => Promise<void>
  readonly #signal: AbortSignal | undefined
  #batch: Iterator<Item> = EMPTY.values()
  #closing: Promise<void> | undefined
  /** The last of the pending calls of `next`; undefined while none is pending. */
  #last: Promise<unknown> | undefined

  protected constructor(
    raw: RawIteration<unknown>,
    read: () => Promise<Iterable<Item> | null>,
    protected readonly call: Call,
    signal?: AbortSignal,
  ) {
    this.#read = () => call(read)
    this.#close = () => call(() => raw.close())
    this.#signal = signal
    signal?.addEventListener('abort', this.#letGo, { once: true })
    if (signal?.aborted) this.#letGo()
  }

  readonly #letGo = () => void this.close().catch(() => {})

  /** Ends the iteration: nothing more is yielded. May be called more than once. */
  close(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#letGo)
    return (this.#closing ??= this.#close())
  }

  next(): Promise<IteratorResult<Item, undefined>> {
    if (this.#last === undefined && this.#closing === undefined) {
      const next = this.#batch.next()
      if (!next.done) return Promise.resolve(next)
    }
    // Concurrent calls are answered in order.
    const result = this.#last === undefined ? this.#take() : this.#last.then(() => this.#take())
    const over = () => {
      if (this.#last === last) this.#last = undefined
    }
    const last = result.then(over, over)
    this.#last = last
    return result
  }

  async return(): Promise<IteratorResult<Item, undefined>> {
    await this.close()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async #take(): Promise<IteratorResult<Item, undefined>> {
    while (this.#closing === undefined) {
      const next = this.#batch.next()
      if (!next.done) return next
      const batch = await this.#read().catch((error: unknown) => {
        this.#letGo() // `for await` does not close an iterator after an error or at the end
        throw error
      })
      if (batch === null) break
      this.#batch = batch[Symbol.iterator]()
    }
    this.#letGo()
    this.#batch = EMPTY.values()
    return { done: true, value: undefined }
  }
}
