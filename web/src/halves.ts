import { TomboloError } from './errors.js'
import type { PeerStream } from './types.js'
import { isBuffer, isBytes } from './values.js'

/** The stream that two halves belong to. */
export interface Ends {
  /** Called when the reading half has room. */
  pull(halves: Halves): void | Promise<void>
  /** Called when the reading half was cancelled. */
  cancel(reason: unknown): void | Promise<void>
  write(chunk: Uint8Array, halves: Halves): Promise<void>
  /** Ends the writing half. */
  close(halves: Halves): Promise<void>
  /** Ends both halves, at the peer, too. After an abort, `cause` is its reason. */
  reset(cause?: unknown): void
  /** Called when both halves have failed. */
  failed(error: Error): void
}

/** How many chunks a writer may be ahead before it should wait, as in wasm/internal/jsio. */
const MAX_QUEUED = 8

/** The two halves of a stream, which fail together, with a reason. */
export class Halves {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly writable: WritableStream<Uint8Array>
  /** Whether the reading half is over: read to its end, cancelled or failed. */
  read = false
  /** The error that both halves have failed with. */
  failure: Error | undefined
  readonly #ends: Ends
  #reading!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>
  #writing!: WritableStreamDefaultController

  constructor(ends: Ends, ahead: QueuingStrategy<Uint8Array>) {
    this.#ends = ends
    this.readable = new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        start: (controller) => void (this.#reading = controller),
        pull: () => ends.pull(this),
        cancel: (reason) => {
          this.read = true
          return ends.cancel(reason)
        },
      },
      ahead,
    )
    this.writable = new WritableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#writing = controller
          // The signal fires even while a chunk waits for the peer to read, when a method `abort` of this sink would not be called. The
          // stream fails after its writer has, with the reason of the abort.
          const { signal } = controller
          signal.addEventListener('abort', () => queueMicrotask(() => this.#abort(signal.reason)))
        },
        write: (chunk) => ends.write(this.#bytes(chunk), this),
        close: () => ends.close(this),
      },
      { highWaterMark: MAX_QUEUED },
    )
  }

  /** Returns a stream with these halves. */
  of({ peer, protocol }: Pick<PeerStream, 'peer' | 'protocol'>): PeerStream {
    return { readable: this.readable, writable: this.writable, peer, protocol, reset: () => this.reset() }
  }

  /** The number of bytes that may still be queued for reading. */
  get room(): number {
    return this.read ? 0 : (this.#reading.desiredSize ?? 0)
  }

  enqueue(chunk: Uint8Array<ArrayBuffer>): void {
    if (!this.read) this.#reading.enqueue(chunk)
  }

  endReading(): void {
    if (!this.read) this.#reading.close()
    this.read = true
  }

  failReading(error: Error): void {
    if (!this.read) this.#reading.error(error)
    this.read = true
  }

  failWriting(error: Error): void {
    this.#writing.error(error)
  }

  /** Fails both halves, unless they have already failed. Returns the error that they failed with. */
  fail(error: Error): Error {
    if (this.failure !== undefined) return this.failure
    this.failure = error
    this.failReading(error)
    this.failWriting(error)
    this.#ends.failed(error)
    return error
  }

  reset(): void {
    this.#ends.reset()
    this.fail(new TomboloError('stream', 'the stream was reset', { reason: 'closed by hand' }))
  }

  #abort(cause: unknown): void {
    this.#ends.reset(cause)
    this.fail(new TomboloError('stream', 'the stream was aborted', { reason: 'closed by hand', cause }))
  }

  #bytes(chunk: unknown): Uint8Array {
    if (isBytes(chunk)) return chunk
    if (isBuffer(chunk)) return new Uint8Array(chunk)
    this.reset() // so that the stream does not look complete without this chunk
    throw new TypeError(`chunk must be a Uint8Array or an ArrayBuffer, not ${typeof chunk}`)
  }
}
