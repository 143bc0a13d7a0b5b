/**
 * Sends the bytes of a body or of a stream between two threads of a browser: in parts over a port, with credit for what the other end has
 * taken, so that memory stays bounded. It does not use transferable Web Streams. These request each chunk by itself, so that a stream waits
 * for both threads every 64 KiB. They lose the class, the code and the reason of an error. And they do not end with their thread.
 */
import { copyBytes } from './bytes.js'
import { sendError, type SentError } from './errors.js'

export type Part =
  | { data: Uint8Array<ArrayBuffer>[] }
  /** This many more bytes may be sent. The buffers of earlier parts are returned for reuse. */
  | { credit: number; free?: ArrayBuffer[] }
  /** The sender has reached the end. */
  | { end: true }
  /** The source of the bytes has failed. */
  | { failed: SentError }
  /** The receiver wants no more bytes. */
  | { cancelled: SentError }

export type Post = (part: Part, transfer?: Transferable[]) => void

/** How many bytes may be under way, or wait to be read at the other end, in each direction. */
export const WINDOW = 1 << 20
/** While this many bytes are under way, smaller amounts wait until they make a batch. Credit is granted in batches of this size, too. */
export const BATCH = WINDOW / 4
/** The maximum size of a buffer. Larger chunks are split. */
export const MAX_BUFFER = 64 << 10
/** Smaller chunks are cloned one by one. Larger ones are copied into a buffer of MAX_BUFFER bytes, which is transferred and comes back. */
const MIN_BUFFER = 8 << 10

/**
 * Queues the bytes for the other end. While little is under way they are sent at once, and then in batches, because each message costs a
 * turn of both threads. Waiting bytes are sent when credit comes, which the other end grants once it has taken the batch that is under way.
 */
export class Outbox {
  readonly #post: Post
  /** Buffers for reuse: making a new one for each part would cost more than everything else in the crossing. */
  readonly #pool: ArrayBuffer[] = []
  #credit: number
  #data: Uint8Array<ArrayBuffer>[] = []
  #bytes = 0
  #waiting: (() => void) | undefined

  constructor(post: Post, credit = WINDOW) {
    this.#post = post
    this.#credit = credit
  }

  /** Resolves when more may be put in. Only one caller may wait at a time. */
  room(): Promise<void> | undefined {
    return this.#credit > this.#bytes ? undefined : new Promise((resolve) => (this.#waiting = resolve))
  }

  /** Sends at most MAX_BUFFER bytes. The buffer is transferred. */
  put(data: Uint8Array<ArrayBuffer>): void {
    this.#data.push(data)
    this.#bytes += data.byteLength
    if (WINDOW - this.#credit < BATCH || this.#bytes >= BATCH) this.flush()
  }

  /** Sends a copy, because the caller may reuse the buffer. */
  putCopy(piece: Uint8Array): void {
    if (piece.byteLength < MIN_BUFFER) return this.put(copyBytes(piece))
    const copy = new Uint8Array(this.#pool.pop() ?? new ArrayBuffer(MAX_BUFFER), 0, piece.byteLength)
    copy.set(piece)
    this.put(copy)
  }

  flush(): void {
    if (this.#data.length === 0) return
    const buffers = this.#data.map((data) => data.buffer).filter((buffer) => buffer.byteLength >= MIN_BUFFER)
    this.#post({ data: this.#data }, buffers)
    this.#credit -= this.#bytes
    this.#data = []
    this.#bytes = 0
  }

  grant({ credit, free = [] }: { credit: number; free?: ArrayBuffer[] }): void {
    this.#pool.push(...free)
    this.#credit += credit
    if (this.#credit > 0) this.flush()
    if (this.#credit > this.#bytes) this.release()
  }

  /** Ends the wait for room: nothing more will be sent. */
  release(): void {
    this.#waiting?.()
    this.#waiting = undefined
  }
}

/** Sends the bytes of a readable to the other end, as far as credit allows. */
export class Sending {
  /** Resolves when everything has been sent, or nothing more will be. */
  readonly over: Promise<void>
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #post: Post
  readonly #outbox: Outbox
  #over = false

  /** `put` puts a piece into the outbox, as it is or as a copy. */
  constructor(
    readable: ReadableStream<Uint8Array>,
    post: Post,
    put: (outbox: Outbox, piece: Uint8Array) => void,
    credit = WINDOW,
  ) {
    this.#reader = readable.getReader()
    this.#post = post
    this.#outbox = new Outbox(post, credit)
    this.over = this.#run((piece) => put(this.#outbox, piece))
  }

  grant(part: { credit: number; free?: ArrayBuffer[] }): void {
    this.#outbox.grant(part)
  }

  /** Stops sending, because the other end has cancelled or is gone. */
  cancel(reason: unknown): void {
    this.#over = true
    this.#outbox.release()
    this.#reader.cancel(reason).catch(() => {})
  }

  async #run(put: (piece: Uint8Array) => void): Promise<void> {
    const failed = (error: unknown) => {
      if (!this.#over) this.#post({ failed: sendError(error) })
      this.#over = true
      this.#outbox.release()
    }
    this.#reader.closed.catch(failed) // reports a failure at once, not only when there is credit
    for (;;) {
      await this.#outbox.room()
      if (this.#over) return
      const result = await this.#reader.read().catch(failed)
      if (result === undefined || this.#over) return
      if (result.done) break
      for (const piece of pieces(result.value)) put(piece)
    }
    this.#over = true
    this.#outbox.flush()
    this.#post({ end: true })
  }
}

/** Counts how much more the other end may send, and grants more as it is read. */
export class Inbox {
  readonly #post: Post
  #granted: number

  constructor(post: Post, granted = WINDOW) {
    this.#post = post
    this.#granted = granted
  }

  took({ byteLength }: Uint8Array): void {
    this.#granted -= byteLength
  }

  /** Grants credit for what has been read, if it is enough to be worth a message. `room` is how many bytes may wait here. */
  grant(room: number): void {
    const credit = room - this.#granted
    if (credit < BATCH) return
    this.#granted += credit
    this.#post({ credit })
  }
}

/** Returns the queuing strategy of the receiving end. */
export const waiting = () => new ByteLengthQueuingStrategy({ highWaterMark: WINDOW })

/** Splits a chunk into pieces that fit into a buffer. */
export function* pieces(chunk: Uint8Array): Generator<Uint8Array> {
  if (chunk.byteLength <= MAX_BUFFER) return yield chunk
  for (let at = 0; at < chunk.byteLength; at += MAX_BUFFER) yield chunk.subarray(at, at + MAX_BUFFER)
}
