/** Streams of peers between a node's worker and its page. They use the wire of the calls: see `credit.ts`. */
import { TomboloError } from '../errors.js'
import { Halves } from '../halves.js'
import type { PeerStream } from '../types.js'
import { ownBytes } from './bytes.js'
import { BATCH, Inbox, MAX_BUFFER, Outbox, type Part as BytesPart, pieces, Sending, waiting } from './credit.js'
import { receiveError, sendError, type SentError } from './errors.js'

/** A stream that crosses. Its parts follow in both directions, under its number. */
export interface CrossedStream {
  readonly id: number
  readonly peer: string
  readonly protocol: string
}

export type Part =
  | BytesPart
  /** From the worker: how the writing half has ended there. */
  | { written: SentError | null }
  /** From the page: ends both halves. */
  | { reset: true }

type Post = (part: Part, transfer?: Transferable[]) => void

/** The end of a stream on the side of its node. */
export class SentStream {
  readonly #stream: PeerStream
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>
  readonly #post: Post
  readonly #sending: Sending
  #taken = 0
  #free: ArrayBuffer[] = []

  /** `over` is called when both halves have ended. */
  constructor(stream: PeerStream, post: Post, over: () => void) {
    this.#stream = stream
    this.#post = post
    this.#sending = new Sending(stream.readable, post, (outbox, piece) => outbox.put(ownBytes(piece, true)))
    this.#writer = stream.writable.getWriter()
    const writing = this.#writer.closed.then(
      () => post({ written: null }),
      (error: unknown) => post({ written: sendError(error) }),
    )
    void Promise.allSettled([this.#sending.over, writing]).then(over)
  }

  take(part: Part): void {
    if ('data' in part) part.data.forEach((data) => this.#write(data))
    else if ('credit' in part) this.#sending.grant(part)
    else if ('end' in part)
      this.#writer.close().catch(() => {}) // `closed` reports it
    else if ('cancelled' in part) this.#sending.cancel(receiveError(part.cancelled))
    else this.reset()
  }

  reset(): void {
    this.#stream.reset()
  }

  #write(data: Uint8Array<ArrayBuffer>): void {
    const taken = () => {
      this.#taken += data.byteLength
      if (data.buffer.byteLength === MAX_BUFFER) this.#free.push(data.buffer)
      if (this.#taken < BATCH) return
      this.#post({ credit: this.#taken, free: this.#free }, this.#free)
      this.#taken = 0
      this.#free = []
    }
    this.#writer.write(data).then(taken, () => {}) // `closed` reports it
  }
}

/** The end of a stream on the side that uses it. */
export class ReceivedStream {
  readonly stream: PeerStream
  readonly #halves: Halves
  readonly #over: () => void
  readonly #inbox: Inbox
  readonly #outbox: Outbox
  /** How the writing half has ended at the worker. */
  readonly #written: Promise<Error | null>
  #setWritten!: (error: Error | null) => void
  #writeOver = false
  /** The error with which all further writes fail. */
  #refused: Error | undefined

  /** `over` is called when both halves have ended. */
  constructor(crossed: CrossedStream, post: Post, over: () => void) {
    this.#inbox = new Inbox(post)
    this.#outbox = new Outbox(post)
    this.#over = over
    this.#written = new Promise((resolve) => (this.#setWritten = resolve))
    this.#halves = new Halves(
      {
        pull: (halves) => this.#inbox.grant(halves.room),
        cancel: (reason) => {
          this.#checkOver()
          post({ cancelled: sendError(reason) })
        },
        write: (chunk) => this.#write(chunk),
        close: async () => {
          this.#outbox.flush()
          post({ end: true })
          const error = await this.#written
          if (error !== null) throw error
        },
        reset: () => post({ reset: true }),
        failed: (error) => this.#writeEnded(error),
      },
      waiting(),
    )
    this.stream = this.#halves.of(crossed)
  }

  take(part: Part): void {
    if ('data' in part) {
      for (const data of part.data) {
        this.#inbox.took(data)
        this.#halves.enqueue(data)
      }
    } else if ('credit' in part) this.#outbox.grant(part)
    else if ('end' in part) {
      this.#halves.endReading()
      this.#checkOver()
    } else if ('failed' in part) this.#readFailed(receiveError(part.failed))
    else if ('written' in part) {
      const error = part.written && (this.#halves.failure ?? receiveError(part.written))
      if (error !== null && !this.#writeOver) this.#halves.failWriting(error)
      this.#writeEnded(error)
    }
  }

  /** Fails both halves, unless they have ended. */
  fail(error: Error): void {
    this.#halves.fail(error)
  }

  /** The error of a stream fails both halves, although the report about the writing half may come later. */
  #readFailed(error: Error): void {
    if (this.#halves.read) return
    if (error instanceof TomboloError && error.code === 'stream') return this.fail(error)
    this.#halves.failReading(error)
    this.#checkOver()
  }

  #writeEnded(error: Error | null): void {
    if (this.#writeOver) return
    this.#writeOver = true
    if (error !== null) this.#refused = error
    this.#setWritten(error)
    this.#outbox.release()
    this.#checkOver()
  }

  #checkOver(): void {
    if (this.#halves.read && this.#writeOver) this.#over()
  }

  async #write(chunk: Uint8Array): Promise<void> {
    for (const piece of pieces(chunk)) {
      await this.#outbox.room()
      if (this.#refused !== undefined) throw this.#refused
      this.#outbox.putCopy(piece)
    }
  }
}
