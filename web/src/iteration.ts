/** What the program hands out as something to be read to its end. */
export interface RawIteration<Batch> {
  /** Resolves to what is there, once something is; to null at the end. Rejects where it ended early. */
  next(): Promise<Batch | null>
  close(): Promise<void>
}

type Call = <T>(f: () => Promise<T>) => Promise<T>

/** What comes in batches, yielded one by one. */
export class Iteration<Item> implements AsyncIterableIterator<Item, undefined> {
  readonly #read: () => Promise<Item[] | null>
  readonly #close: () => Promise<void>
  readonly #signal: AbortSignal | undefined
  #batch: Item[] = []
  #at = 0
  #closing: Promise<void> | undefined
  #last: Promise<unknown> = Promise.resolve()

  protected constructor(
    raw: RawIteration<unknown>,
    read: () => Promise<Item[] | null>,
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

  /** Ends it: nothing more is yielded. May be called more than once. */
  close(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#letGo)
    return (this.#closing ??= this.#close())
  }

  next(): Promise<IteratorResult<Item, undefined>> {
    const result = this.#last.then(() => this.#take()) // several calls at once are answered in turn
    this.#last = result.catch(() => {})
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
      if (this.#at < this.#batch.length) return { done: false, value: this.#batch[this.#at++]! }
      const batch = await this.#read().catch((error: unknown) => {
        this.#letGo() // `for await` does not, at an error or at the end
        throw error
      })
      if (batch === null) break
      this.#batch = batch
      this.#at = 0
    }
    this.#letGo()
    this.#batch = []
    return { done: true, value: undefined }
  }
}
