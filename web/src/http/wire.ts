/**
 * HTTP/1.1 on a pair of byte streams (RFC 9112), as far as one message after the other needs it. It is written here because Go's
 * `net/http` would add an eighth to the program, and because over WebTransport the bytes of a stream never pass the program.
 */
import { TomboloError } from '../errors.js'

/** Bounds of what a peer may send before it is read, in bytes. */
const MAX_HEAD = 64 << 10
const MAX_CHUNK_LINE = 4 << 10

const encoder = new TextEncoder()
const decoder = new TextDecoder('latin1') // of heads, whose bytes beyond ASCII have no meaning

/** What is wrong with what came; a server answers with the status. */
export class MalformedError extends Error {
  constructor(
    message: string,
    readonly status = 400,
  ) {
    super(message)
    this.name = 'MalformedError'
  }
}

/** The start line and the fields of a message. */
export interface Head {
  start: string
  headers: Headers
}

/** Reads messages off a stream. One call at a time; a body must be read to its end, or the reader is of no more use. */
export class MessageReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  #buffer = new Uint8Array(0)

  constructor(readable: ReadableStream<Uint8Array>) {
    this.#reader = readable.getReader()
  }

  /** Gives up: the stream's reading half is cancelled. */
  cancel(reason?: unknown): Promise<void> {
    return this.#reader.cancel(reason)
  }

  /** The next head; null where the stream ends before one begins. */
  async head(): Promise<Head | null> {
    let from = 0
    for (;;) {
      const end = find(this.#buffer, from)
      if (end >= 0) {
        const text = decoder.decode(this.#buffer.subarray(0, end))
        this.#buffer = this.#buffer.subarray(end + 4)
        return parseHead(text)
      }
      if (this.#buffer.length > MAX_HEAD) throw new MalformedError(`the head is longer than ${MAX_HEAD} bytes`, 431)
      from = Math.max(0, this.#buffer.length - 3)
      if (!(await this.#more())) {
        if (this.#buffer.length === 0) return null
        throw new MalformedError('the stream ended within a head')
      }
    }
  }

  /** The body of the message whose head was read, or null where it has none. */
  body(headers: Headers, untilEnd: boolean): ReadableStream<Uint8Array> | null {
    const length = headers.get('content-length')
    const coding = headers.get('transfer-encoding')
    if (coding !== null) {
      if (coding.toLowerCase() !== 'chunked')
        throw new MalformedError(`the transfer coding ${coding} is not known`, 501)
      if (length !== null) throw new MalformedError('there is both a length and a transfer coding')
      return this.#stream(this.#chunks())
    }
    if (length !== null) {
      if (!/^\d{1,15}$/.test(length)) throw new MalformedError(`content-length ${length} is no number`)
      return Number(length) === 0 ? null : this.#stream(this.#exactly(Number(length)))
    }
    return untilEnd ? this.#stream(this.#rest()) : null
  }

  #stream(parts: AsyncGenerator<Uint8Array, void>): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const { done, value } = await parts.next()
          if (done) controller.close()
          else controller.enqueue(value)
        },
        cancel: (reason) => this.cancel(reason),
      },
      { highWaterMark: 0 },
    )
  }

  async *#exactly(length: number): AsyncGenerator<Uint8Array, void> {
    while (length > 0) {
      if (this.#buffer.length === 0 && !(await this.#more())) throw truncated(length)
      const part = this.#take(length)
      length -= part.length
      yield part
    }
  }

  async *#rest(): AsyncGenerator<Uint8Array, void> {
    while (this.#buffer.length > 0 || (await this.#more())) yield this.#take(Infinity)
  }

  async *#chunks(): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const size = /^([0-9a-f]{1,12})\s*(?:;.*)?$/i.exec(await this.#line())
      if (size === null) throw new MalformedError('a chunk has no size')
      const length = parseInt(size[1]!, 16)
      if (length === 0) break
      yield* this.#exactly(length)
      if ((await this.#line()) !== '') throw new MalformedError('a chunk is longer than it says')
    }
    while ((await this.#line()) !== '') {
      // trailers, of which nobody here has use
    }
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#buffer.indexOf(10)
      if (end >= 0) {
        const line = decoder.decode(this.#buffer.subarray(0, end)).replace(/\r$/, '')
        this.#buffer = this.#buffer.subarray(end + 1)
        return line
      }
      if (this.#buffer.length > MAX_CHUNK_LINE) throw new MalformedError('a line of a chunk is too long')
      if (!(await this.#more())) throw truncated()
    }
  }

  #take(most: number): Uint8Array {
    const part = this.#buffer.subarray(0, Math.min(most, this.#buffer.length))
    this.#buffer = this.#buffer.subarray(part.length)
    return part
  }

  async #more(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.#reader.read()
      if (done) return false
      if (value.length === 0) continue
      if (this.#buffer.length === 0) {
        this.#buffer = value as Uint8Array<ArrayBuffer>
        return true
      }
      const joined = new Uint8Array(this.#buffer.length + value.length)
      joined.set(this.#buffer)
      joined.set(value, this.#buffer.length)
      this.#buffer = joined
      return true
    }
  }
}

function truncated(missing?: number): TomboloError {
  const what = missing === undefined ? '' : `; ${missing} bytes are missing`
  return new TomboloError('stream', `the stream ended within a body${what}`, { reason: 'reset by the peer' })
}

/** Where the empty line after a head begins, or -1. */
function find(buffer: Uint8Array, from: number): number {
  for (let at = buffer.indexOf(13, from); at >= 0; at = buffer.indexOf(13, at + 1)) {
    if (buffer[at + 1] === 10 && buffer[at + 2] === 13 && buffer[at + 3] === 10) return at
  }
  return -1
}

function parseHead(text: string): Head {
  const [start = '', ...lines] = text.split('\r\n')
  const headers = new Headers()
  for (const line of lines) {
    const field = /^([^\s:]+):[ \t]*(.*?)[ \t]*$/.exec(line)
    if (field === null) throw new MalformedError('a header field cannot be read')
    try {
      headers.append(field[1]!, field[2]!)
    } catch {
      throw new MalformedError(`the header field ${field[1]} cannot be read`)
    }
  }
  return { start, headers }
}

/** Writes messages to a stream. */
export class MessageWriter {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>

  constructor(writable: WritableStream<Uint8Array>) {
    this.#writer = writable.getWriter()
  }

  async head(start: string, headers: Iterable<[string, string]>): Promise<void> {
    let text = start + '\r\n'
    for (const [name, value] of headers) text += `${name}: ${value}\r\n`
    await this.#write(encoder.encode(text + '\r\n'))
  }

  /** Writes a body of known length, which is an error if it has another, or in chunks. */
  async body(body: ReadableStream<Uint8Array>, length: number | undefined): Promise<void> {
    const reader = body.getReader()
    try {
      let written = 0
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        if (!(value instanceof Uint8Array)) throw new TypeError('a body must be of Uint8Arrays')
        if (value.length === 0) continue
        written += value.length
        if (length === undefined) await this.#write(chunk(value))
        else if (written > length) throw new TypeError(`the body is longer than its content-length of ${length}`)
        else await this.#write(value)
      }
      if (length === undefined) await this.#write(encoder.encode('0\r\n\r\n'))
      else if (written < length) throw new TypeError(`the body has ${written} bytes, and a content-length of ${length}`)
    } catch (error) {
      reader.cancel(error).catch(() => {})
      throw error
    }
  }

  /** Ends the writing half. */
  close(): Promise<void> {
    return this.#writer.close()
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#writer.ready
    await this.#writer.write(bytes)
  }
}

/** A chunk with what is around it, in one piece: each write crosses to the program. */
function chunk(value: Uint8Array): Uint8Array {
  const before = encoder.encode(value.length.toString(16) + '\r\n')
  const whole = new Uint8Array(before.length + value.length + 2)
  whole.set(before)
  whole.set(value, before.length)
  whole.set([13, 10], before.length + value.length)
  return whole
}
