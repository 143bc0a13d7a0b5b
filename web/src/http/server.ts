/** `node.serve` answers HTTP requests on the streams of peers with a function. */
import type { PeerStream } from '../types.js'
import { tagOf } from '../values.js'
import { makeRequest, parseLine, type Line } from './request.js'
import { PeerResponse } from './response.js'
import { encodeHead, MalformedError, MessageReader, MessageWriter, SourceError, tokens, type Head } from './wire.js'

/**
 * Answers requests. `peer` is the ID of the peer that asks, authenticated by the connection. `request.signal` aborts if the caller
 * disconnects before it has the whole response. A response cannot set cookies, because a browser removes them from every `Response`.
 */
export type HttpHandler = (request: Request, context: { peer: string }) => Response | Promise<Response>

/** How much of a request's body is read and discarded if its handler did not read it, in bytes. */
const MAX_UNREAD = 1 << 20

/** How much of a request's body is read before its handler asks for it, in bytes. */
const AHEAD = 64 << 10

/** Headers of the connection, which this module sets. */
const OWN = new Set('connection transfer-encoding keep-alive upgrade trailer te proxy-connection'.split(' '))

/** Answers the requests on a stream, one after the other. If the handler throws, `tell` gets the error and the caller gets a 500. */
export async function serveOn(stream: PeerStream, handler: HttpHandler, tell: (error: unknown) => void): Promise<void> {
  const line = new ServedStream(stream, handler, tell)
  try {
    await line.serve()
  } catch {
    stream.reset() // a response that was cut short must not look complete
  }
}

class ServedStream {
  readonly #peer: string
  readonly #reader: MessageReader
  readonly #writer: MessageWriter
  readonly #handler: HttpHandler
  readonly #tell: (error: unknown) => void
  /** The abort controller of the current request, aborted when the stream fails. */
  #gone = new AbortController()
  /** Holds the request while it is answered: Node.js does not abort the signal of a request that was garbage-collected. */
  readonly #held = new Set<Request>()
  #failure: { error: unknown } | undefined

  constructor(stream: PeerStream, handler: HttpHandler, tell: (error: unknown) => void) {
    this.#peer = stream.peer
    this.#reader = new MessageReader(stream.readable, 'requests')
    this.#writer = new MessageWriter(stream.writable)
    this.#handler = handler
    this.#tell = tell
    // The end of the reading half is not a failure: a caller may close it after its request.
    void Promise.race([this.#reader.failed, this.#writer.failed]).then((error) => {
      this.#failure = { error }
      this.#gone.abort(error)
    })
  }

  async serve(): Promise<void> {
    try {
      for (let more = true; more;) {
        const head = await this.#reader.head()
        if (head === null) break
        more = await this.#answer(head)
      }
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      await this.#respond(new Response(error.message + '\n', { status: error.status }), 'GET', 1, false)
    }
    await this.#writer.close()
    await this.#reader.cancel()
  }

  /** Answers one request, and reports whether another may follow. */
  async #answer(head: Head): Promise<boolean> {
    const line = parseLine(head)
    const { method, minor, url } = line
    const incoming = new IncomingBody(this.#reader, this.#reader.body(head, minor))
    const more = minor > 0 && !tokens(head.headers.get('connection')).includes('close')
    if (url === null) {
      await this.#respond(new Response(null, { status: 204 }), method, minor, more)
      return more && incoming.discard()
    }
    const expected = minor > 0 ? head.headers.get('expect')?.toLowerCase() : undefined
    if (expected !== undefined && expected !== '100-continue') {
      throw new MalformedError(`what is expected is not known: ${expected}`, 417)
    }
    // This comes before the handler is called, because its response may begin before it reads.
    if (expected !== undefined && incoming.stream !== null) await this.#writer.head('HTTP/1.1 100 Continue', [])

    this.#gone = new AbortController()
    if (this.#failure !== undefined) this.#gone.abort(this.#failure.error)
    const { signal } = this.#gone
    const response = await this.#handled(line, head.headers, incoming, signal)
    const last = !more || tokens(response.headers.get('connection')).includes('close')
    try {
      await this.#respond(response, method, minor, !last)
    } catch (error) {
      response.body?.cancel(error).catch(() => {}) // in case it was not begun
      if (error instanceof SourceError && !signal.aborted && incoming.failure === undefined) this.#tell(error.cause)
      this.#gone.abort(error)
      throw error
    }
    this.#gone = new AbortController()
    this.#held.clear()
    return !last && incoming.discard() // only now, because the response may be made from the request
  }

  /** Returns the handler's response, or a 500 if it has none. Rejects if the caller is gone or its request is malformed. */
  async #handled(line: Line, headers: Headers, incoming: IncomingBody, signal: AbortSignal): Promise<Response> {
    const takes = !/^(GET|HEAD)$/i.test(line.method) // with these methods, a Request has no body
    const gone = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
    gone.catch(() => {})
    let asked = false
    try {
      signal.throwIfAborted()
      const body = takes ? incoming.stream : null
      const request = await makeRequest(line.url!, line.method, headers, body, signal)
      this.#held.add(request)
      asked = true
      const response = await Promise.race([this.#call(request, signal), gone])
      assertUsable(response, line.method)
      // With a length of 0, the head alone would look whole. So the body is read before.
      const empty = line.method !== 'HEAD' && lengthOf(response) === 0
      if (empty && response.body !== null) await this.#writer.body(response.body, 0, signal)
      return response
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (incoming.failure !== undefined) throw incoming.failure // the handler's error is only a consequence
      if (!asked) throw error
      this.#tell(error instanceof SourceError ? error.cause : error)
      return new Response('the handler failed\n', { status: 500 })
    }
  }

  /** Calls the handler, and takes care of what it returns or throws after the caller is gone. */
  async #call(request: Request, signal: AbortSignal): Promise<Response> {
    const answer = (async () => this.#handler(request, { peer: this.#peer }))()
    answer.then(
      (response) => {
        if (signal.aborted && isResponse(response)) response.body?.cancel(signal.reason).catch(() => {})
      },
      (error: unknown) => {
        if (signal.aborted && error !== signal.reason) this.#tell(error)
      },
    )
    return answer
  }

  async #respond(response: Response, method: string, minor: number, more: boolean): Promise<void> {
    const { status, statusText, headers, body } = response
    const none = method === 'HEAD' || status === 204 || status === 304
    const given = status === 204 ? null : lengthOf(response)
    const fields: [string, string][] = []
    for (const [name, value] of headers) {
      if (OWN.has(name) || name === 'content-length' || (name === 'content-encoding' && isDecoded(response))) continue
      fields.push([name, value])
    }
    if (!headers.has('date')) fields.push(['Date', new Date().toUTCString()])
    const length = given ?? (body === null ? 0 : minor > 0 ? 'chunked' : 'until the end')
    if (given !== null || (!none && length === 0)) fields.push(['Content-Length', String(length)])
    else if (!none && length === 'chunked') fields.push(['Transfer-Encoding', 'chunked'])
    fields.push(['Connection', more && length !== 'until the end' ? 'keep-alive' : 'close'])
    await this.#writer.head(`HTTP/1.1 ${status} ${statusText}`, fields)
    if (none || length === 0 || body === null) return void body?.cancel().catch(() => {})
    await this.#writer.body(body, length, this.#gone.signal)
  }
}

/** The body of a request, which keeps track of what was read of it and whether it failed. */
class IncomingBody {
  /** The stream that the handler reads; null if there is no body. */
  readonly stream: ReadableStream<Uint8Array> | null
  /** The error that reading failed with. */
  failure: unknown
  readonly #messages: MessageReader
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  #left: boolean

  constructor(messages: MessageReader, body: ReadableStream<Uint8Array> | null) {
    this.#messages = messages
    this.#reader = body?.getReader()
    this.#left = body !== null
    this.stream = body === null ? null : this.#watched()
    if (body === null) messages.readAhead()
  }

  async #read(): Promise<Uint8Array | undefined> {
    try {
      const { done, value } = await this.#reader!.read()
      if (!done) return value
    } catch (error) {
      this.failure = error
      throw error
    }
    this.#left = false
    this.#messages.readAhead()
    return undefined
  }

  #watched() {
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
      const value = await this.#read()
      if (value === undefined) controller.close()
      else controller.enqueue(value)
    }
    // If it is cancelled, the rest can still be discarded. A short body is read even if the handler does not, because only a pending read
    // tells that the caller is gone.
    return new ReadableStream<Uint8Array>({ pull }, { highWaterMark: AHEAD, size: (part) => part.length })
  }

  /** Reads and drops the rest of the body, if it is not too long, so that another request may follow. Reports whether one may. */
  async discard(): Promise<boolean> {
    if (!this.#left) return true
    if (this.stream!.locked) return false
    try {
      for (let length = 0; length <= MAX_UNREAD;) {
        const value = await this.#read()
        if (value === undefined) return true
        length += value.length
      }
    } catch {
      // The response is complete, whatever follows the request's head.
    }
    return false
  }
}

function isResponse(value: unknown): value is Response {
  return value instanceof Response || tagOf(value) === 'Response'
}

/** Reports whether the platform has fetched a response: its body is then decoded, while its headers describe the encoded body. */
function isDecoded(response: Response): boolean {
  return response.url !== '' && !(response instanceof PeerResponse)
}

/** Returns the length of the body by its headers; null if they give none, or that of the encoded body. */
function lengthOf(response: Response): number | null {
  const given = response.headers.get('content-length')
  const hidden = isDecoded(response) && (response.type !== 'basic' || response.headers.has('content-encoding'))
  return given === null || hidden ? null : Number(given)
}

/** Throws if a response cannot be sent. */
function assertUsable(response: Response, method: string): void {
  if (!isResponse(response)) throw new TypeError('the handler did not return a Response')
  const { status, statusText, body, bodyUsed, headers } = response
  if (status < 200 || status > 599) throw new TypeError(`the handler returned a response of type ${response.type}`)
  if (bodyUsed || body?.locked) throw new TypeError('the handler returned a response whose body was read')
  encodeHead(statusText, headers)
  const length = headers.get('content-length')
  if (length === null) return
  if (!/^\d{1,15}$/.test(length)) throw new TypeError(`content-length ${length} is no number`)
  if (body === null && method !== 'HEAD' && status !== 304 && status !== 204 && Number(length) !== 0) {
    throw new TypeError(`the response has no body, and a content-length of ${length}`)
  }
}
