/**
 * One request and its response on a `MessagePort`, between the service worker and the tab whose node answers. A body goes chunk by chunk,
 * and only as many as the other side has asked for: so memory stays bounded, and a tab or a worker that ends is noticed, which a
 * transferred stream does not tell. Nor does the port in Chromium, which has no `close` event: so the one side calls and the other answers.
 */

/** A request, as the service worker hands it on. */
export interface Ask {
  method: string
  url: string
  headers: [string, string][]
  body: boolean
}

/** The beginning of a response. */
export interface Head {
  status: number
  statusText: string
  headers: [string, string][]
  body: boolean
}

/** What is said beside bodies: `taken` comes at once, `gone` of a tab that has no node any more. */
export type Word = { taken: true } | { gone: true } | { head: Head } | { abort: true }

type Part =
  | { call: true }
  | { here: true }
  | { bye: true }
  | { more: true }
  | { chunk: Uint8Array }
  | { end: true }
  | { failed: string }
  | { cancel: true }

/** How many chunks may be on their way that nobody has read yet. */
const WINDOW = 8

/** How often the worker calls, and after how long a silence the other side has gone. A busy page may take a while to answer. */
const CALL_MS = 2_000
const SILENCE_MS = 10_000

/** One side of an exchange: at most one body goes out, and one comes in. */
export class Exchange {
  readonly #port: MessagePort
  readonly #hear: (word: Word) => void
  #credit = 0
  #credited: (() => void) | undefined
  #sending: ReadableStreamDefaultReader<Uint8Array> | undefined
  #receiving: ReadableStreamDefaultController<Uint8Array> | undefined
  #asked = 0
  #closed = false
  #heard = Date.now()
  readonly #watch: ReturnType<typeof setInterval>

  /**
   * `over` is called when the other side has gone, or `close` was called here.
   * @internal
   */
  constructor(
    port: MessagePort,
    hear: (word: Word) => void,
    readonly over: () => void,
    { calls = false } = {},
  ) {
    this.#port = port
    this.#hear = hear
    port.addEventListener('message', ({ data }: MessageEvent<Word | Part>) => this.#take(data))
    port.addEventListener('close', () => this.#lost())
    port.start()
    this.#watch = setInterval(() => {
      if (Date.now() - this.#heard > SILENCE_MS) this.close()
      else if (calls) this.#post({ call: true })
    }, CALL_MS)
  }

  say(word: Word): void {
    this.#port.postMessage(word)
  }

  /** Ends the exchange, whatever is under way. */
  close(): void {
    this.#post({ bye: true })
    this.#port.close()
    this.#lost()
  }

  /** Sends a body. Resolves when all of it has been posted, or the other side wants no more. */
  async send(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = (this.#sending = body.getReader())
    try {
      for (;;) {
        while (this.#credit === 0 && !this.#closed) await new Promise<void>((resolve) => (this.#credited = resolve))
        if (this.#closed) return
        const { done, value } = await reader.read()
        if (done) return this.#post({ end: true })
        this.#credit--
        const chunk = value.slice() // who made it may use its buffer again
        this.#post({ chunk }, [chunk.buffer])
      }
    } catch (error) {
      this.#post({ failed: error instanceof Error ? error.message : String(error) })
    } finally {
      this.#sending = undefined
    }
  }

  /** The body that comes. Cancelling it tells the other side; `ended` is called once nothing of it is to come any more. */
  receive(ended: () => void): ReadableStream<Uint8Array> {
    const more = () => {
      for (; this.#asked < WINDOW && !this.#closed; this.#asked++) this.#post({ more: true })
    }
    this.#ended = ended
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#receiving = controller
        },
        pull: more,
        cancel: () => {
          this.#receiving = undefined
          this.#post({ cancel: true })
          ended()
        },
      },
      { highWaterMark: 1 },
    )
  }
  #ended: () => void = () => {}

  #post(part: Part, transfer: Transferable[] = []): void {
    if (!this.#closed) this.#port.postMessage(part, transfer)
  }

  #take(data: Word | Part): void {
    this.#heard = Date.now()
    if ('call' in data) {
      this.#post({ here: true })
    } else if ('here' in data) {
      return
    } else if ('bye' in data) {
      this.#port.close()
      this.#lost()
    } else if ('more' in data) {
      this.#credit++
      this.#credited?.()
    } else if ('chunk' in data) {
      this.#asked--
      this.#receiving?.enqueue(data.chunk)
    } else if ('end' in data) {
      this.#finish((controller) => controller.close())
    } else if ('failed' in data) {
      this.#finish((controller) => controller.error(new TypeError(data.failed)))
    } else if ('cancel' in data) {
      void this.#sending?.cancel().catch(() => {})
      this.#sending = undefined
    } else {
      this.#hear(data)
    }
  }

  #finish(how: (controller: ReadableStreamDefaultController<Uint8Array>) => void): void {
    const controller = this.#receiving
    if (controller === undefined) return
    this.#receiving = undefined
    how(controller)
    this.#ended()
  }

  #lost(): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#watch)
    this.#credited?.()
    void this.#sending?.cancel().catch(() => {})
    this.#finish((controller) => controller.error(new TypeError('the other side of the gateway has gone')))
    this.over()
  }
}
