import { TomboloError } from './errors.js'
import type { PeerStream } from './types.js'
import { isBuffer, isBytes } from './values.js'

/** The stream that the halves belong to. */
export interface Ends {
  /** The reading half has room. */
  pull(halves: Halves): void | Promise<void>
  /** The reading half was cancelled. */
  cancel(reason: unknown): void | Promise<void>
  write(chunk: Uint8Array, halves: Halves): Promise<void>
  /** Ends the writing half. */
  close(halves: Halves): Promise<void>
  /** Ends both halves, at the peer too; `cause` is that of an abort. */
  reset(cause?: unknown): void
  /** Both halves have failed. */
  failed(error: Error): void
}

/** How many chunks a writer may be ahead before it should wait; as wasm/internal/jsio has it. */
const MAX_QUEUED = 8

/** The two halves of a stream, which fail together and with a reason. */
export class Halves {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly writable: WritableStream<Uint8Array>
  /** Whether the reading half is over: read to its end, cancelled or failed. */
  read = false
  /** What both halves have failed with. */
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
          // Told even while a chunk waits for the peer to read, which `abort` of this would not be. It fails after its writer has, with the
          // reason of the abort.
          const { signal } = controller
          signal.addEventListener('abort', () => queueMicrotask(() => this.#abort(signal.reason)))
        },
        write: (chunk) => ends.write(this.#bytes(chunk), this),
        close: () => ends.close(this),
      },
      { highWaterMark: MAX_QUEUED },
    )
  }

  /** The stream that has these halves. */
  of({ peer, protocol }: Pick<PeerStream, 'peer' | 'protocol'>): PeerStream {
    return { readable: this.readable, writable: this.writable, peer, protocol, reset: () => this.reset() }
  }

  /** How many more bytes may wait to be read. */
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

  /** Fails both halves, unless they have. Returns what they have failed with. */
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
    this.reset() // what follows must not pass for the whole
    throw new TypeError(`chunk must be a Uint8Array or an ArrayBuffer, not ${typeof chunk}`)
  }
}
