/** `node.fetch` sends a request to the HTTP service of a peer, on a stream of its own. */
import { TomboloError } from '../errors.js'
import type { PeerStream } from '../types.js'
import { outgoingBody, type OutgoingBody } from './body.js'
import { decompressed, PeerResponse } from './response.js'
import {
  encodeHead,
  escapeBytes,
  MalformedError,
  MessageReader,
  MessageWriter,
  SourceError,
  targetOf,
  type Head,
} from './wire.js'

/** How many redirects are followed, as in the Fetch standard. */
const MAX_REDIRECTS = 20

/** How many interim responses may come before the final one. */
const MAX_INTERIM = 100

/** How much of a response's body is read before anybody asks for it, in bytes. */
const AHEAD = 64 << 10

const REDIRECTS = [301, 302, 303, 307, 308]

/** Headers that describe a body. If a redirect drops the body, they are dropped, too. */
const OF_A_BODY = ['content-encoding', 'content-language', 'content-location', 'content-type']

/** Headers that this module sets, and those of the connection. If a program sets them, they are ignored, as in the platform's `fetch`. */
const OWN = new Set(
  'host connection content-length transfer-encoding upgrade expect keep-alive proxy-connection te trailer'.split(' '),
)

type Open = (signal: AbortSignal) => Promise<PeerStream>

interface Outgoing {
  /** The URL. Its host stands for the peer. */
  url: URL
  method: string
  headers: Headers
  body: OutgoingBody | null
  redirect: RequestRedirect
  redirected: boolean
  signal: AbortSignal
}

/**
 * Requests a path of a peer's service, and resolves to its response once the head has arrived; the body streams. Redirects within the
 * service are followed, unless `init.redirect` says otherwise. A redirect to another host is returned as it is.
 */
export async function fetchFrom(open: Open, peer: string, path: string, init?: RequestInit | null): Promise<Response> {
  if (typeof path !== 'string' || !path.startsWith('/')) {
    throw new TomboloError('argument', `path: ${JSON.stringify(path)} does not begin with a slash`)
  }
  const request = makeRequest(peer, path, init ?? {})
  try {
    for (let hops = 0; ; hops++) {
      request.signal.throwIfAborted()
      const response = await exchange(open, peer, request)
      if (!REDIRECTS.includes(response.status) || request.redirect === 'manual') return response
      if (await goesOn(request, response, hops)) await response.body?.cancel()
      else return response
    }
  } catch (error) {
    // A body that nobody has begun to read must be cancelled.
    if (request.body !== null && !request.body.stream.locked) request.body.stream.cancel(error).catch(() => {})
    throw error
  }
}

/** Makes the request. The platform's own Request checks and normalises everything but the body. */
function makeRequest(peer: string, path: string, init: RequestInit): Outgoing {
  const { body, integrity, signal } = init
  signal?.throwIfAborted()
  if (integrity) throw new TypeError('integrity: what a peer answers is not checked against a hash')
  const checked = new Request('http://peer.invalid' + path, {
    method: init.method ?? 'GET',
    redirect: init.redirect ?? 'follow',
  })
  const { method, redirect } = checked
  if (body != null && (method === 'GET' || method === 'HEAD')) throw new TypeError(`a ${method} request has no body`)
  const headers = makeHeaders(init.headers)
  encodeHead('', headers)
  const outgoing = body == null ? null : outgoingBody(body)
  const request: Outgoing = {
    url: new URL(`http://${/^\w+$/.test(peer) ? peer : 'peer.invalid'}${path}`),
    method,
    headers,
    body: null,
    redirect,
    redirected: false,
    signal: signal ?? new AbortController().signal,
  }
  if (!headers.has('accept')) headers.set('accept', '*/*')
  setBody(request, outgoing, !headers.has('content-type'))
  return request
}

function setBody(request: Outgoing, body: OutgoingBody | null, typed: boolean): void {
  request.body = body
  if (typed && body !== null && body.type !== null) request.headers.set('content-type', body.type)
}

/**
 * Makes the headers. They are not those of a Request, which would leave out what pages may not set on the web. If one is invalid, the error
 * says which.
 */
function makeHeaders(init: HeadersInit | undefined): Headers {
  try {
    return new Headers(init)
  } catch (cause) {
    if (typeof init !== 'object') throw cause
    const fields = Symbol.iterator in init ? init : Object.entries(init)
    for (const [name, value] of fields as Iterable<[string, string]>) {
      try {
        new Headers([[name, value]])
      } catch {
        throw new TypeError(`header ${name}: ${(cause as Error).message}`, { cause })
      }
    }
    throw cause
  }
}

/**
 * Turns the request into the one that follows a redirect, by the Fetch standard's "HTTP-redirect fetch". Resolves to false if the response
 * is to be returned, because it has no location or one at another host. Throws if the standard has a network error.
 */
async function goesOn(request: Outgoing, response: Response, hops: number): Promise<boolean> {
  const refuse = async (why: string) => {
    await response.body?.cancel()
    throw new TypeError(why)
  }
  const location = response.headers.get('location')
  const to = location === null ? null : resolve(location, request.url)
  const within = to?.host === request.url.host && /^https?:$/.test(to.protocol)
  const is = `the response is a redirect to ${within ? targetOf(to) : (to?.href ?? location ?? 'nowhere')}`
  if (request.redirect === 'error') return refuse(is)
  if (location === null) return false
  if (to === null) return refuse(`${is}, which is no URL`)
  if (!/^https?:$/.test(to.protocol)) return refuse(`${is}, which is not HTTP`)
  if (!within) return false
  if (hops === MAX_REDIRECTS) return refuse('there were too many redirects')

  const { status } = response
  const again = request.body?.again() ?? null
  if (status !== 303 && request.body !== null && again === null) {
    return refuse(`${is} (${status}), and a body that is a stream cannot be sent twice`)
  }
  const { method, headers } = request
  const becomesGet = status === 303 ? method !== 'GET' && method !== 'HEAD' : status < 303 && method === 'POST'
  if (becomesGet) {
    request.method = 'GET'
    request.body = null
    for (const name of OF_A_BODY) headers.delete(name)
  } else setBody(request, again, headers.get('content-type') === request.body?.type)
  to.protocol = 'http:'
  request.url = to
  request.redirected = true
  return true
}

function resolve(location: string, base: URL): URL | null {
  try {
    return new URL(escapeBytes(location), base)
  } catch {
    return null
  }
}

async function exchange(open: Open, peer: string, request: Outgoing): Promise<Response> {
  const { signal } = request
  const stream = await open(signal)
  let broken: { error: unknown } | undefined // the error of the request's own body
  const abort = () => stream.reset()
  signal.addEventListener('abort', abort, { once: true })
  const over = () => signal.removeEventListener('abort', abort)
  const explain = (error: unknown): unknown => {
    if (signal.aborted) return signal.reason
    if (broken !== undefined) return broken.error
    return error instanceof MalformedError ? new TomboloError('stream', `the peer's answer: ${error.message}`) : error
  }
  try {
    signal.throwIfAborted()
    const sending = send(stream, peer, request)
    sending.catch((error: unknown) => {
      // Any other error is ignored here: a server may answer, and end the stream, before it has read everything.
      if (!(error instanceof SourceError)) return
      broken = { error: error.cause }
      stream.reset()
    })
    const reader = new MessageReader(stream.readable, 'responses')
    const status = await finalHead(reader, sending)
    return makeResponse(status, reader, request, {
      explain,
      end() {
        over()
        stream.reset() // the response is complete, but the request's half may not be at its end
      },
    })
  } catch (error) {
    over()
    stream.reset()
    throw explain(error)
  }
}

async function send(stream: PeerStream, peer: string, { url, method, headers, body, signal }: Outgoing): Promise<void> {
  const writer = new MessageWriter(stream.writable)
  const fields: [string, string][] = [
    ['Host', peer],
    ['Connection', 'close'],
  ]
  if (!headers.has('accept-encoding')) fields.push(['Accept-Encoding', 'identity'])
  if (body !== null) {
    if (body.length === undefined) fields.push(['Transfer-Encoding', 'chunked'])
    else fields.push(['Content-Length', String(body.length)])
  } else if (!['GET', 'HEAD', 'OPTIONS'].includes(method)) fields.push(['Content-Length', '0'])
  for (const [name, value] of headers) if (!OWN.has(name)) fields.push([name, value])
  await writer.head(`${method} ${targetOf(url)} HTTP/1.1`, fields)
  if (body !== null) await writer.body(body.stream, body.length ?? 'chunked', signal)
  // The writing half stays open, because some servers take its end for a caller that has disconnected.
}

interface Status {
  status: number
  text: string
  minor: number
  head: Head
}

/** Reads heads up to the first one that is not of an interim response. */
async function finalHead(reader: MessageReader, sending: Promise<void>): Promise<Status> {
  for (let interim = 0; interim <= MAX_INTERIM; interim++) {
    const head = await reader.head()
    if (head === null) {
      await sending // if it failed, its error says why
      throw new TomboloError('stream', 'the peer ended the stream without an answer', { reason: 'reset by the peer' })
    }
    const line = /^HTTP\/1\.(\d) ([1-9]\d\d)(?: ([\t -~\x80-\xff]*))?$/.exec(head.start)
    if (line === null) throw new MalformedError('it is not HTTP/1.1')
    const status = Number(line[2])
    if (status === 101) throw new MalformedError('it changes the protocol, which was not asked for')
    const text = line[3] ?? ''
    const minor = Number(line[1])
    // RFC 9110, 15: these are taken for 5xx. A Response cannot have them.
    if (status > 599) return { status: 500, text: `${status} ${text}`, minor, head }
    if (status >= 200) return { status, text, minor, head }
  }
  throw new MalformedError(`there are more than ${MAX_INTERIM} interim responses`)
}

function makeResponse(
  { status, text, minor, head }: Status,
  reader: MessageReader,
  { method, url, redirected, signal }: Outgoing,
  { explain, end }: { explain: (error: unknown) => unknown; end: () => void },
): Response {
  const { headers } = head
  const from = { url: url.href.replace(/#.*/, ''), redirected }
  const none = method === 'HEAD' || status === 204 || status === 205 || status === 304
  const body = none ? null : reader.body(head, minor)
  if (body === null) {
    reader.cancel().catch(() => {})
    end()
    // In Fetch, a response that may have a body has one, even if it is empty.
    return new PeerResponse(none ? null : new Blob([]).stream(), { status, statusText: text, headers }, from)
  }
  const read = handedOut(readAhead(body, end), signal, explain)
  return new PeerResponse(decompressed(read, headers), { status, statusText: text, headers }, from)
}

interface Ahead {
  parts: ReadableStreamDefaultReader<Uint8Array>
  /** Set when the parts end early. */
  failed?: { error: unknown }
}

/** Begins to read a body. `end` is called at its end, which for a short body comes even if nobody reads it. */
function readAhead(body: ReadableStream<Uint8Array>, end: () => void): Ahead {
  const inner = body.getReader()
  const source: UnderlyingDefaultSource<Uint8Array> = {
    async pull(controller) {
      try {
        const { done, value } = await inner.read()
        if (!done) return controller.enqueue(value)
      } catch (error) {
        ahead.failed = { error } // an error of the stream would drop the parts before it
      }
      controller.close()
      end()
    },
    async cancel(reason) {
      await inner.cancel(reason).catch(() => {})
      end()
    },
  }
  const size = (part: Uint8Array) => part.length
  const ahead: Ahead = { parts: new ReadableStream(source, { highWaterMark: AHEAD, size }).getReader() }
  return ahead
}

/** Gives up bodies that were neither read to their end nor cancelled when they were garbage-collected. */
const unread = new FinalizationRegistry<Ahead>(({ parts }) => void parts.cancel().catch(() => {}))

/** Returns the stream that a program reads. What is read ahead does not refer to it, so that it can be garbage-collected. */
function handedOut(
  ahead: Ahead,
  signal: AbortSignal,
  explain: (error: unknown) => unknown,
): ReadableStream<Uint8Array> {
  const source: UnderlyingDefaultSource<Uint8Array> = {
    async pull(controller) {
      const { done, value } = await ahead.parts.read()
      if (signal.aborted) controller.error(signal.reason)
      else if (!done) controller.enqueue(value)
      else if (ahead.failed === undefined) controller.close()
      else controller.error(explain(ahead.failed.error))
    },
    cancel: (reason) => ahead.parts.cancel(reason),
  }
  // The source stays as long as anything can read from the stream. In WebKit, the stream's own object may not.
  unread.register(source, ahead)
  return new ReadableStream(source, { highWaterMark: 0 })
}
