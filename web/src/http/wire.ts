/**
 * HTTP/1.1 on a pair of byte streams (RFC 9112), for one message after the other. It is written here because Go's `net/http` would make the
 * program an eighth larger, and because over WebTransport the bytes of a stream never pass through the program.
 *
 * Messages that two readers could understand differently are refused, especially requests: lines that do not end in CRLF, two different
 * lengths of a body, lengths and chunk sizes that are not plain numbers.
 */
import { TomboloError } from '../errors.js'
import { tagOf, textOf } from '../values.js'

/** Limits of the parts of a message that are buffered, in bytes. */
const MAX_HEAD = 64 << 10
const MAX_CHUNK_LINE = 4 << 10

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
/** The value has spaces around it, which `Headers` trims: an expression that did so would take quadratic time. */
const FIELD = new RegExp(`^(${TOKEN}):([\\t -~\\x80-\\xff]*)$`)
const VALUE = /^[\t -~\x80-\xff]*$/
const QUOTED = '"(?:[\\t !#-\\[\\]-~\\x80-\\xff]|\\\\[\\t -~\\x80-\\xff])*"'
const EXTENSIONS = `(?:[ \\t]*;[ \\t]*${TOKEN}(?:[ \\t]*=[ \\t]*(?:${TOKEN}|${QUOTED}))?)*`
const CHUNK = new RegExp(`^([0-9A-Fa-f]{1,12})${EXTENSIONS}$`)
/** Old servers pad the size with spaces. */
const PADDED_CHUNK = new RegExp(`^([0-9A-Fa-f]{1,12})${EXTENSIONS} *$`)

/** The error of a malformed message. A server answers with the status. */
export class MalformedError extends Error {
  constructor(
    message: string,
    readonly status = 400,
  ) {
    super(message)
    this.name = 'MalformedError'
  }
}

/** The error if a body could not be sent because of its source, not because of the stream. `cause` is the error of the source. */
export class SourceError extends Error {
  constructor(override readonly cause: unknown) {
    super(textOf(cause))
    this.name = 'SourceError'
  }
}

/** The start line and the fields of a message. The bytes of both are the characters U+0000 to U+00FF, as in `Headers`. */
export interface Head {
  start: string
  headers: Headers
  /** The number of Host fields, which `headers` has joined. */
  hosts: number
}

/** Reads messages from a stream, one call at a time. A body must be read to its end before the next message can be read. */
export class MessageReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #responses: boolean
  #buffer = new Uint8Array(0)
  #ahead: Promise<ReadableStreamReadResult<Uint8Array>> | undefined
  /** Resolves to the error if the stream fails. A stream that ends does not fail. */
  readonly failed: Promise<unknown>

  constructor(readable: ReadableStream<Uint8Array>, kind: 'requests' | 'responses') {
    this.#reader = readable.getReader()
    this.#responses = kind === 'responses'
    this.failed = failureOf(this.#reader.closed)
  }

  /** Cancels the stream's reading half. */
  cancel(reason?: unknown): Promise<void> {
    return this.#reader.cancel(reason)
  }

  /** Begins to read what follows the message, because some streams report a failure only to a reader. */
  readAhead(): void {
    this.#ahead ??= this.#reader.read()
    this.#ahead.catch(() => {}) // the next read rejects with it
  }

  /** Reads the next head. Resolves to null if the stream ends before one begins. */
  async head(): Promise<Head | null> {
    let from = 0
    for (;;) {
      // RFC 9112, 2.2: a server ignores an empty line before a request.
      while (!this.#responses && this.#buffer[0] === 13 && this.#buffer[1] === 10) {
        this.#buffer = this.#buffer.subarray(2)
        from = 0
      }
      const end = find(this.#buffer, from)
      if (end >= 0 && end <= MAX_HEAD) {
        const text = decode(this.#buffer.subarray(0, end))
        this.#buffer = this.#buffer.subarray(end + 4)
        return this.#parseHead(text)
      }
      if (this.#buffer.length > MAX_HEAD) throw new MalformedError(`the head is longer than ${MAX_HEAD} bytes`, 431)
      from = Math.max(0, this.#buffer.length - 3)
      if (!(await this.#more())) {
        if (this.#buffer.length === 0) return null
        throw new MalformedError('the stream ended within a head')
      }
    }
  }

  #parseHead(text: string): Head {
    // RFC 9112, 5.2: a folded field is refused in a request, and joined in a response.
    if (this.#responses) text = text.replace(/\r\n[ \t]+/g, ' ')
    const [start = '', ...lines] = text.split('\r\n')
    const headers = new Headers()
    let hosts = 0
    for (const [name, value] of lines.map(parseField)) {
      if (name.toLowerCase() === 'host') hosts++
      headers.append(name, value)
    }
    return { start, headers, hosts }
  }

  /** Returns the body of the message whose head was read, or null if it has none. `minor` is the minor version of HTTP/1 of the message. */
  body({ headers }: Head, minor: number): ReadableStream<Uint8Array> | null {
    const length = this.#length(headers.get('content-length'))
    const coding = headers.get('transfer-encoding')
    if (coding !== null) {
      if (minor === 0) throw new MalformedError('HTTP/1.0 has no transfer codings')
      if (length !== null) throw new MalformedError('there is both a length and a transfer coding')
      if (coding.toLowerCase() === 'chunked') return this.#stream(this.#chunks())
      const early = tokens(coding).slice(0, -1).includes('chunked')
      throw new MalformedError(`the transfer coding ${coding} is not known`, early ? 400 : 501)
    }
    if (length !== null) return length === 0 ? null : this.#stream(this.#exactly(length))
    return this.#responses ? this.#stream(this.#rest()) : null
  }

  #length(given: string | null): number | null {
    if (given === null) return null
    // RFC 9110, 8.6: if the same length is given several times, it may be taken as one. This is done for servers that send it twice.
    const [length = '', ...others] = this.#responses ? tokens(given) : [given]
    if (!/^\d{1,15}$/.test(length) || others.some((other) => other !== length)) {
      throw new MalformedError(`content-length ${given} is not one number`)
    }
    return Number(length)
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
      const size = (this.#responses ? PADDED_CHUNK : CHUNK).exec(await this.#line())
      if (size === null) throw new MalformedError('the size of a chunk cannot be read')
      const length = parseInt(size[1]!, 16)
      if (length === 0) break
      yield* this.#exactly(length)
      while (this.#buffer.length < 2) if (!(await this.#more())) throw truncated()
      if (decode(this.#take(2)) !== '\r\n') throw new MalformedError('a chunk is longer than it says')
    }
    let trailers = 0
    for (;;) {
      const line = await this.#line()
      if (line === '') return
      parseField(line) // only checked: a Request or Response has no trailers
      if ((trailers += line.length) > MAX_HEAD) throw new MalformedError('the trailers are too long', 431)
    }
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#buffer.indexOf(10)
      if (end > MAX_CHUNK_LINE || (end < 0 && this.#buffer.length > MAX_CHUNK_LINE)) {
        throw new MalformedError('a line of a chunked body is too long')
      }
      if (end >= 0) {
        if (this.#buffer[end - 1] !== 13) throw new MalformedError('a line of a chunked body does not end in CRLF')
        const line = decode(this.#buffer.subarray(0, end - 1))
        this.#buffer = this.#buffer.subarray(end + 1)
        return line
      }
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
      const reading = this.#ahead ?? this.#reader.read()
      this.#ahead = undefined
      const { done, value } = await reading
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

/** Returns the position of the line break that begins the empty line after a head, or -1. */
function find(buffer: Uint8Array, from: number): number {
  for (let at = buffer.indexOf(13, from); at >= 0; at = buffer.indexOf(13, at + 1)) {
    if (buffer[at + 1] === 10 && buffer[at + 2] === 13 && buffer[at + 3] === 10) return at
  }
  return -1
}

function parseField(line: string): [name: string, value: string] {
  const field = FIELD.exec(line)
  if (field === null) throw new MalformedError(`the header field ${JSON.stringify(line.slice(0, 100))} cannot be read`)
  return [field[1]!, field[2]!]
}

/** Returns the items of a list, in lower case. */
export function tokens(field: string | null): string[] {
  return (field ?? '')
    .toLowerCase()
    .split(',')
    .map((item) => item.trim())
}

/** Resolves to the error if `closed` rejects, and never otherwise. */
function failureOf(closed: Promise<unknown>): Promise<unknown> {
  return closed.then(
    () => new Promise(() => {}),
    (error: unknown) => error,
  )
}

/** Decodes bytes as the characters U+0000 to U+00FF. A browser's latin1 decoder is really windows-1252, which differs at 80 to 9F. */
export function decode(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096))
  return text
}

/** Does the reverse. */
function encode(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}

/** Encodes a head. Throws if something in it cannot be sent, such as a line break: a `Headers` refuses only some of the characters. */
export function encodeHead(start: string, headers: Iterable<[string, string]>): Uint8Array {
  let text = start + '\r\n'
  if (!VALUE.test(start)) throw new TypeError(`${JSON.stringify(start)} has a character that cannot be sent`)
  for (const [name, value] of headers) {
    const field = `${name}: ${value}`
    if (!FIELD.test(field)) throw new TypeError(`header ${name}: a character cannot be sent`)
    text += field + '\r\n'
  }
  return encode(text + '\r\n')
}

/** Percent-encodes all bytes that are not ASCII. A URL would treat each of them as a character. */
export function escapeBytes(text: string): string {
  return text.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** Returns the path and the query of a URL as they are sent. `search` does not tell an empty query from none. */
export function targetOf({ href }: URL): string {
  return href.slice(href.indexOf('/', 8)).split('#', 1)[0]!
}

/** Writes messages to a stream. */
export class MessageWriter {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>
  /** Resolves to the error if the stream fails. */
  readonly failed: Promise<unknown>

  constructor(writable: WritableStream<Uint8Array>) {
    this.#writer = writable.getWriter()
    this.failed = failureOf(this.#writer.closed)
  }

  async head(start: string, headers: Iterable<[string, string]>): Promise<void> {
    await this.#write(encodeHead(start, headers))
  }

  /**
   * Writes a body: with a given length, in chunks, or as it is up to the end of the stream. If its length differs from the given one, that
   * is a `SourceError`.
   */
  async body(
    body: ReadableStream<Uint8Array>,
    length: number | 'chunked' | 'until the end',
    signal: AbortSignal,
  ): Promise<void> {
    const reader = body.getReader()
    const stop = () => void reader.cancel(signal.reason).catch(() => {})
    signal.addEventListener('abort', stop)
    try {
      signal.throwIfAborted()
      await this.#copy(reader, length, signal)
    } catch (error) {
      reader.cancel(error).catch(() => {})
      throw error
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  async #copy(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    length: number | 'chunked' | 'until the end',
    signal: AbortSignal,
  ): Promise<void> {
    let written = 0
    let last: Uint8Array | undefined
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw new SourceError(error)
      })
      signal.throwIfAborted()
      if (done) break
      if (tagOf(value) !== 'Uint8Array') throw new SourceError(new TypeError('a body must be of Uint8Arrays'))
      if (value.length === 0) continue
      written += value.length
      if (typeof length === 'number' && written > length) {
        throw new SourceError(new TypeError(`the body is longer than its content-length of ${length}`))
      }
      // The last part is held back up to the end of the source, because a body that is too long must not look whole.
      if (written === length) last = value
      else await this.#write(length === 'chunked' ? chunk(value) : value)
    }
    if (last !== undefined) await this.#write(last)
    if (length === 'chunked') await this.#write(encode('0\r\n\r\n'))
    else if (typeof length === 'number' && written < length) {
      throw new SourceError(new TypeError(`the body has ${written} bytes, and a content-length of ${length}`))
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

/** Returns a chunk with its size and line breaks in one piece, because each write crosses to the program. */
function chunk(value: Uint8Array): Uint8Array {
  const before = encode(value.length.toString(16) + '\r\n')
  const whole = new Uint8Array(before.length + value.length + 2)
  whole.set(before)
  whole.set(value, before.length)
  whole.set([13, 10], before.length + value.length)
  return whole
}
