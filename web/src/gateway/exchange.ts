/**
 * One request and its response on a `MessagePort`, between the service worker and the tab whose node answers. Bodies are sent with credit:
 * see `wire/credit.ts`. Chromium has no `close` event for ports, so one side sends heartbeats and the other answers: that is how each
 * notices that the other tab or worker has ended.
 */
import { Inbox, type Part as BytesPart, Sending, waiting } from '../wire/credit.js'
import { receiveError, sendError } from '../wire/errors.js'

/** A request that the service worker hands on. */
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

/** A message beside the bodies. `taken` is sent at once; `gone` is sent by a tab that no longer has a node. */
export type Word = { taken: true } | { gone: true } | { head: Head } | { abort: true }

type Part = BytesPart | { call: true } | { here: true } | { bye: true }

/** How often the worker sends a heartbeat, in milliseconds. */
const CALL_MS = 2_000
/**
 * After how many heartbeats in a row without a message the other side counts as gone. A busy page may take a while to answer. They are
 * counted, not timed, because the machine may sleep and its clock may be set.
 */
const MAX_SILENT = 5
/** How late a heartbeat must be, in milliseconds, for the count to start again: then this side was suspended, and heard nothing. */
const SUSPENDED_MS = 10_000

const GONE_TEXT = 'the other side of the gateway has gone'

/** One side of an exchange. At most one body goes out, and one comes in. */
export class Exchange {
  readonly #port: MessagePort
  readonly #hear: (word: Word) => void
  readonly #inbox: Inbox
  #sending: Sending | undefined
  #credit = 0 // credit that came before there was a body to send
  #receiving: ReadableStreamDefaultController<Uint8Array> | undefined
  #closed = false
  #silent = 0
  readonly #watch: ReturnType<typeof setInterval>

  /**
   * `over` is called when the other side is gone or `close` was called on this side.
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
    this.#inbox = new Inbox(this.#post, 0) // no bytes come before somebody reads
    port.addEventListener('message', ({ data }: MessageEvent<Word | Part>) => this.#take(data))
    port.addEventListener('close', () => this.#lost())
    port.start()
    let beat = Date.now()
    this.#watch = setInterval(() => {
      const late = Date.now() - beat - CALL_MS
      beat += late + CALL_MS
      if (late > SUSPENDED_MS) this.#silent = 0
      if (this.#silent >= MAX_SILENT) return this.close()
      this.#silent++
      if (calls) this.#post({ call: true })
    }, CALL_MS)
  }

  say(word: Word): void {
    this.#port.postMessage(word)
  }

  /** Ends the exchange, even if a body is under way. */
  close(): void {
    this.#post({ bye: true })
    this.#port.close()
    this.#lost()
  }

  /** Sends a body. Resolves when all of it has been posted, or when the other side has cancelled it. */
  send(body: ReadableStream<Uint8Array>): Promise<void> {
    const sending = new Sending(body, this.#post, (outbox, piece) => outbox.putCopy(piece), this.#credit)
    this.#sending = sending
    if (this.#closed) sending.cancel(new TypeError(GONE_TEXT))
    return sending.over
  }

  /** Returns the body that comes in. Cancelling it informs the other side. `ended` is called once no more of it will come. */
  receive(ended: () => void): ReadableStream<Uint8Array> {
    this.#ended = ended
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => void (this.#receiving = controller),
        pull: (controller) => this.#inbox.grant(controller.desiredSize ?? 0),
        cancel: (reason) => {
          this.#receiving = undefined
          this.#post({ cancelled: sendError(reason) })
          ended()
        },
      },
      waiting(),
    )
  }
  #ended: () => void = () => {}

  readonly #post = (part: Part, transfer: Transferable[] = []): void => {
    if (!this.#closed) this.#port.postMessage(part, transfer)
  }

  #take(data: Word | Part): void {
    this.#silent = 0
    if ('call' in data) {
      this.#post({ here: true })
    } else if ('here' in data) {
      return
    } else if ('bye' in data) {
      this.#port.close()
      this.#lost()
    } else if ('credit' in data) {
      if (this.#sending === undefined) this.#credit += data.credit
      else this.#sending.grant(data)
    } else if ('data' in data) {
      for (const bytes of data.data) {
        this.#inbox.took(bytes)
        this.#receiving?.enqueue(bytes)
      }
    } else if ('end' in data) {
      this.#finish((controller) => controller.close())
    } else if ('failed' in data) {
      this.#finish((controller) => controller.error(receiveError(data.failed)))
    } else if ('cancelled' in data) {
      this.#sending?.cancel(receiveError(data.cancelled))
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
    this.#sending?.cancel(new TypeError(GONE_TEXT))
    this.#finish((controller) => controller.error(new TypeError(GONE_TEXT)))
    this.over()
  }
}
