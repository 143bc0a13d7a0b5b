/**
 * How the streams of peers cross between a node's worker and its page: as parts on the wire of the calls, with credit for what the other end
 * has taken. Not as transferable Web Streams, which ask for each chunk by itself, so that a stream waits for a turn of both threads every
 * 64 KiB; which lose the class, the code and the reason of an error; and which do not end with their worker.
 */
import { TomboloError } from '../errors.js'
import { ownBytes, receiveError, sendError, type SentError } from './rpc.js'
import type { PeerStream } from '../types.js'
import { isBuffer, isBytes } from '../values.js'

/** A stream on its way. Its parts follow, in both directions, under its number. */
export interface CrossedStream {
  readonly id: number
  readonly peer: string
  readonly protocol: string
}

export type Part =
  | { data: Uint8Array<ArrayBuffer>[] }
  /** So many bytes more may be sent; the buffers in which others came are free again. */
  | { credit: number; free?: ArrayBuffer[] }
  /** There is no more to come: from the worker, the reading half's end; from the page, the writing half was closed. */
  | { end: true }
  /** The reading half has failed; from the page, it was cancelled. */
  | { failed: SentError }
  /** How the writing half has ended, at the worker. */
  | { written: SentError | null }
  /** From the page: ends both halves. */
  | { reset: true }

type Post = (part: Part, transfer?: Transferable[]) => void

/** How many bytes of a stream may be under way, or wait to be read at the other end, in each direction. */
const WINDOW = 1 << 20
/** While so many bytes are under way, less than so many wait for more to go with; and credit is given for so many at once. */
const BATCH = WINDOW / 4
/** No buffer is larger, whatever a chunk is. */
const MAX_BUFFER = 64 << 10
/** Smaller chunks are cloned, each by itself; larger ones are in a buffer of MAX_BUFFER bytes, which is given away and comes back. */
const MIN_BUFFER = 8 << 10
/** How many chunks a writer may be ahead before it should wait, as of other streams. */
const MAX_QUEUED = 8

/**
 * What goes to the other end: at once while little is under way, and then in batches, since each message is a turn of both threads. What waits
 * goes when credit comes, and that comes once the other end has taken a batch, which is under way.
 */
class Outbox {
  readonly #post: Post
  #credit = WINDOW
  #data: Uint8Array<ArrayBuffer>[] = []
  #bytes = 0
  #waiting: (() => void) | undefined

  constructor(post: Post) {
    this.#post = post
  }

  /** Resolves when something may be put in. There is one who waits. */
  room(): Promise<void> | undefined {
    return this.#credit > this.#bytes ? undefined : new Promise((resolve) => (this.#waiting = resolve))
  }

  put(data: Uint8Array<ArrayBuffer>): void {
    this.#data.push(data)
    this.#bytes += data.byteLength
    if (WINDOW - this.#credit < BATCH || this.#bytes >= BATCH) this.flush()
  }

  flush(): void {
    if (this.#data.length === 0) return
    const buffers = this.#data.map((data) => data.buffer).filter((buffer) => buffer.byteLength >= MIN_BUFFER)
    this.#post({ data: this.#data }, buffers)
    this.#credit -= this.#bytes
    this.#data = []
    this.#bytes = 0
  }

  grant(bytes: number): void {
    this.#credit += bytes
    if (this.#credit > 0) this.flush()
    if (this.#credit > this.#bytes) this.release()
  }

  /** Lets go whoever waits, for there is nothing more to wait for. */
  release(): void {
    this.#waiting?.()
    this.#waiting = undefined
  }
}

/** The end of a stream where its node is. */
export class SentStream {
  readonly #stream: PeerStream
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #post: Post
  readonly #outbox: Outbox
  #read = false
  #taken = 0
  #free: ArrayBuffer[] = []

  /** `over` hears that both halves have ended. */
  constructor(stream: PeerStream, post: Post, over: () => void) {
    this.#stream = stream
    this.#post = post
    this.#outbox = new Outbox(post)
    this.#reader = stream.readable.getReader()
    this.#writer = stream.writable.getWriter()
    const reading = this.#send()
    const writing = this.#writer.closed.then(
      () => post({ written: null }),
      (error: unknown) => post({ written: sendError(error) }),
    )
    void Promise.allSettled([reading, writing]).then(over)
  }

  take(part: Part): void {
    if ('data' in part) part.data.forEach((data) => this.#write(data))
    else if ('credit' in part) this.#outbox.grant(part.credit)
    else if ('end' in part)
      this.#writer.close().catch(() => {}) // `closed` says so
    else if ('failed' in part) this.#cancel(receiveError(part.failed))
    else this.reset()
  }

  reset(): void {
    this.#stream.reset()
  }

  /** Sends what is read, as far as there is credit. */
  async #send(): Promise<void> {
    const failed = (error: unknown) => {
      if (!this.#read) this.#post({ failed: sendError(error) })
      this.#read = true
      this.#outbox.release()
    }
    this.#reader.closed.catch(failed) // at once, and not when there is credit
    for (;;) {
      await this.#outbox.room()
      if (this.#read) return
      const result = await this.#reader.read().catch(failed)
      if (result === undefined || this.#read) return
      if (result.done) break
      for (const piece of pieces(result.value)) this.#outbox.put(ownBytes(piece, true))
    }
    this.#read = true
    this.#outbox.flush()
    this.#post({ end: true })
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
    this.#writer.write(data).then(taken, () => {}) // `closed` says so
  }

  #cancel(reason: Error): void {
    this.#read = true
    this.#outbox.release()
    this.#reader.cancel(reason).catch(() => {})
  }
}

/** The end of a stream where it is used. */
export class ReceivedStream {
  readonly stream: PeerStream
  readonly #post: Post
  readonly #over: () => void
  readonly #outbox: Outbox
  /** Buffers to send in: to make a new one for each part costs more than all the rest of the crossing. */
  readonly #pool: ArrayBuffer[] = []
  /** How the writing half has ended at the worker. */
  readonly #written: Promise<SentError | null>
  #setWritten!: (error: SentError | null) => void
  #reading!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>
  #writing!: WritableStreamDefaultController
  /** What both halves have failed with. */
  #failure: Error | undefined
  /** What is written fails with this from now on. */
  #refused: Error | undefined
  #read = false // to its end, or cancelled
  #writeOver = false
  /** How much the worker may still send. */
  #granted = WINDOW

  /** `over` hears that both halves have ended. */
  constructor({ peer, protocol }: CrossedStream, post: Post, over: () => void) {
    this.#post = post
    this.#outbox = new Outbox(post)
    this.#over = over
    this.#written = new Promise((resolve) => (this.#setWritten = resolve))
    const readable = new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        start: (controller) => void (this.#reading = controller),
        pull: () => this.#grant(),
        cancel: (reason) => {
          this.#readOver()
          this.#post({ failed: sendError(reason) })
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: WINDOW }),
    )
    const writable = new WritableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#writing = controller
          // Told even while a chunk waits for credit, which the sink's own abort would not be.
          // It fails after its writer has, with the reason of the abort.
          const { signal } = controller
          signal.addEventListener('abort', () => queueMicrotask(() => this.#abort(signal.reason)))
        },
        write: (chunk) => this.#write(chunk),
        close: () => this.#close(),
      },
      { highWaterMark: MAX_QUEUED },
    )
    this.stream = { readable, writable, peer, protocol, reset: () => this.#reset() }
  }

  take(part: Part): void {
    if ('data' in part) {
      for (const data of part.data) {
        this.#granted -= data.byteLength
        if (!this.#read) this.#reading.enqueue(data)
      }
    } else if ('credit' in part) {
      this.#pool.push(...(part.free ?? []))
      this.#outbox.grant(part.credit)
    } else if ('end' in part) {
      if (!this.#read) this.#reading.close()
      this.#readOver()
    } else if ('failed' in part) this.#readFailed(receiveError(part.failed))
    else if ('written' in part) this.#writeEnded(part.written)
  }

  /** Fails both halves, if they have not ended. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    if (!this.#read) this.#reading.error(error)
    this.#readOver()
    this.#writeEnded(sendError(error))
  }

  /** Lets the worker send as much as has been read. */
  #grant(): void {
    const room = (this.#reading.desiredSize ?? 0) - this.#granted
    if (this.#read || room < BATCH) return
    this.#granted += room
    this.#post({ credit: room })
  }

  /** What a stream fails with fails both halves, and the writing one may hear of it later. */
  #readFailed(error: Error): void {
    if (this.#read) return
    if (error instanceof TomboloError && error.code === 'stream') return this.fail(error)
    this.#reading.error(error)
    this.#readOver()
  }

  #readOver(): void {
    this.#read = true
    if (this.#writeOver) this.#over()
  }

  #writeEnded(error: SentError | null): void {
    if (this.#writeOver) return
    this.#writeOver = true
    if (error !== null) {
      this.#refused = this.#failure ?? receiveError(error)
      this.#writing.error(this.#refused)
    }
    this.#setWritten(error)
    this.#outbox.release()
    if (this.#read) this.#over()
  }

  async #write(chunk: unknown): Promise<void> {
    if (!isBytes(chunk) && !isBuffer(chunk)) {
      this.#reset() // what follows must not pass for the whole
      throw new TypeError(`chunk must be a Uint8Array or an ArrayBuffer, not ${typeof chunk}`)
    }
    for (const piece of pieces(isBytes(chunk) ? chunk : new Uint8Array(chunk))) {
      await this.#outbox.room()
      if (this.#refused !== undefined) throw this.#refused
      this.#outbox.put(this.#copy(piece))
    }
  }

  #copy(piece: Uint8Array): Uint8Array<ArrayBuffer> {
    if (piece.byteLength < MIN_BUFFER) return new Uint8Array(piece) // a Buffer's slice is a view
    const copy = new Uint8Array(this.#pool.pop() ?? new ArrayBuffer(MAX_BUFFER), 0, piece.byteLength)
    copy.set(piece)
    return copy
  }

  async #close(): Promise<void> {
    this.#outbox.flush()
    this.#post({ end: true })
    const error = await this.#written
    if (error !== null) throw this.#refused
  }

  #abort(cause: unknown): void {
    this.#post({ reset: true })
    this.fail(new TomboloError('stream', 'the stream was aborted', { reason: 'closed by hand', cause }))
  }

  #reset(): void {
    this.#post({ reset: true })
    this.fail(new TomboloError('stream', 'the stream was reset', { reason: 'closed by hand' }))
  }
}

function* pieces(chunk: Uint8Array): Generator<Uint8Array> {
  if (chunk.byteLength <= MAX_BUFFER) return yield chunk
  for (let at = 0; at < chunk.byteLength; at += MAX_BUFFER) yield chunk.subarray(at, at + MAX_BUFFER)
}
