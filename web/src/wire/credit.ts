/**
 * How the bytes of a body or of a stream cross between two threads of a browser: in parts over a port, with credit for what the other end has
 * taken, so that memory stays bounded. Not as transferable Web Streams, which ask for each chunk by itself, so that a stream waits for a turn
 * of both threads every 64 KiB; which lose the class, the code and the reason of an error; and which do not end with their thread.
 */
import { copyBytes } from './bytes.js'
import { sendError, type SentError } from './errors.js'

export type Part =
  | { data: Uint8Array<ArrayBuffer>[] }
  /** So many bytes more may be sent; the buffers in which others came are free again. */
  | { credit: number; free?: ArrayBuffer[] }
  /** There is no more to come. */
  | { end: true }
  /** What was to come has failed. */
  | { failed: SentError }
  /** No more of it is wanted. */
  | { cancelled: SentError }

export type Post = (part: Part, transfer?: Transferable[]) => void

/** How many bytes may be under way, or wait to be read at the other end, in each direction. */
export const WINDOW = 1 << 20
/** While so many bytes are under way, less than so many wait for more to go with; and credit is given for so many at once. */
export const BATCH = WINDOW / 4
/** No buffer is larger, whatever a chunk is. */
export const MAX_BUFFER = 64 << 10
/** Smaller chunks are cloned, each by itself; larger ones are in a buffer of MAX_BUFFER bytes, which is given away and comes back. */
const MIN_BUFFER = 8 << 10

/**
 * What goes to the other end: at once while little is under way, and then in batches, since each message is a turn of both threads. What waits
 * goes when credit comes, and that comes once the other end has taken a batch, which is under way.
 */
export class Outbox {
  readonly #post: Post
  /** Buffers to send in: to make a new one for each part costs more than all the rest of the crossing. */
  readonly #pool: ArrayBuffer[] = []
  #credit: number
  #data: Uint8Array<ArrayBuffer>[] = []
  #bytes = 0
  #waiting: (() => void) | undefined

  constructor(post: Post, credit = WINDOW) {
    this.#post = post
    this.#credit = credit
  }

  /** Resolves when something may be put in. There is one who waits. */
  room(): Promise<void> | undefined {
    return this.#credit > this.#bytes ? undefined : new Promise((resolve) => (this.#waiting = resolve))
  }

  /** Sends at most MAX_BUFFER bytes. They are given away. */
  put(data: Uint8Array<ArrayBuffer>): void {
    this.#data.push(data)
    this.#bytes += data.byteLength
    if (WINDOW - this.#credit < BATCH || this.#bytes >= BATCH) this.flush()
  }

  /** Sends a copy: whoever made them may use their buffer again. */
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

/** Sends what can be read to the other end, as far as there is credit. */
export class Sending {
  /** Resolves when all has been sent, or no more will be. */
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

  /** Sends no more: the other end does not want it, or is gone. */
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
    this.#reader.closed.catch(failed) // at once, and not when there is credit
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

  /** Lets the other end send as much as has been read, where that is worth a message. `room` is how much may wait here. */
  grant(room: number): void {
    const credit = room - this.#granted
    if (credit < BATCH) return
    this.#granted += credit
    this.#post({ credit })
  }
}

/** How what is read here waits to be read. */
export const waiting = () => new ByteLengthQueuingStrategy({ highWaterMark: WINDOW })

/** A chunk in pieces that go into a buffer. */
export function* pieces(chunk: Uint8Array): Generator<Uint8Array> {
  if (chunk.byteLength <= MAX_BUFFER) return yield chunk
  for (let at = 0; at < chunk.byteLength; at += MAX_BUFFER) yield chunk.subarray(at, at + MAX_BUFFER)
}
