/** `node.fetch`: a request to the HTTP service of a peer, on a stream of its own. */
import { TomboloError } from '../errors.js'
import type { PeerStream } from '../types.js'
import { MalformedError, MessageReader, MessageWriter } from './wire.js'

/** How many redirects are followed, as the browser's `fetch` has it. */
const MAX_REDIRECTS = 20

type Open = (signal: AbortSignal) => Promise<PeerStream>

/** The host in URLs of requests. It names nothing: peers are known by their ids. */
const BASE = 'http://peer.invalid'

/**
 * Requests a path of a peer's service, and resolves to its response once the head is there; the body streams. Redirects within the service
 * are followed, unless `init.redirect` says otherwise; one that leads elsewhere is handed out as it is.
 */
export async function fetchFrom(open: Open, peer: string, path: string, init: RequestInit = {}): Promise<Response> {
  if (typeof path !== 'string' || !path.startsWith('/')) {
    throw new TomboloError('option', `path: ${JSON.stringify(path)} does not begin with a slash`)
  }
  init.signal?.throwIfAborted()
  let request = makeRequest(path, init)
  const redirect = init.redirect ?? 'follow'
  for (let hops = 0; ; hops++) {
    const response = await exchange(open, peer, request)
    const to = redirect === 'manual' ? null : within(response, request, peer)
    if (to === null) return response
    if (redirect === 'error' || hops === MAX_REDIRECTS) {
      await response.body?.cancel()
      throw new TypeError(
        redirect === 'error' ? `the response is a redirect to ${to}` : 'there were too many redirects',
      )
    }
    const keeps = response.status === 307 || response.status === 308
    if (keeps && request.body !== null) return response // a body that was sent is gone
    await response.body?.cancel()
    const method = keeps || request.method === 'HEAD' ? request.method : 'GET'
    request = makeRequest(to, { ...init, method, body: null })
  }
}

interface Outgoing {
  path: string
  method: string
  headers: Headers
  body: ReadableStream<Uint8Array> | null
  length: number | undefined
  signal: AbortSignal
}

/** Lets the platform's own Request check and normalise what was given. */
function makeRequest(path: string, init: RequestInit): Outgoing {
  const { body, signal } = init
  const request = new Request(BASE + path, {
    method: init.method ?? 'GET',
    body: body ?? null,
    ...(body instanceof ReadableStream && { duplex: 'half' }),
    ...(signal && { signal }),
  } as RequestInit)
  // Of its own, for a Request's would leave out what only pages on the web may not set.
  const headers = new Headers(init.headers)
  const type = request.headers.get('content-type')
  if (type !== null && !headers.has('content-type')) headers.set('content-type', type)
  const url = new URL(request.url)
  return {
    path: url.pathname + url.search,
    method: request.method,
    headers,
    body: request.body,
    length: lengthOf(body),
    signal: signal ?? new AbortController().signal,
  }
}

/** How many bytes a body has, where that is known beforehand. */
function lengthOf(body: BodyInit | null | undefined): number | undefined {
  if (typeof body === 'string') return new TextEncoder().encode(body).length
  if (body instanceof URLSearchParams) return new TextEncoder().encode(body.toString()).length
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return body.byteLength
  if (body instanceof Blob) return body.size
  return undefined
}

/** Where a redirect leads, if that is within the service; else null. */
function within(response: Response, request: Outgoing, peer: string): string | null {
  const location = response.headers.get('location')
  if (location === null || ![301, 302, 303, 307, 308].includes(response.status)) return null
  try {
    const to = new URL(location, BASE + request.path)
    const here = to.host === new URL(BASE).host || to.host === peer.toLowerCase()
    return here ? to.pathname + to.search : null
  } catch {
    return null
  }
}

async function exchange(open: Open, peer: string, request: Outgoing): Promise<Response> {
  const { signal } = request
  const stream = await open(signal)
  const abort = () => stream.reset()
  signal.addEventListener('abort', abort, { once: true })
  const over = () => signal.removeEventListener('abort', abort)
  try {
    signal.throwIfAborted()
    const sending = send(stream, peer, request)
    sending.catch(() => {}) // a server may answer, and end, before it has read all
    const reader = new MessageReader(stream.readable)
    const head = await finalHead(reader, sending)
    return response(head, reader, request, over, () => stream.reset())
  } catch (error) {
    over()
    stream.reset()
    if (signal.aborted) throw signal.reason
    throw error instanceof MalformedError ? new TomboloError('stream', `the peer's answer: ${error.message}`) : error
  }
}

async function send(stream: PeerStream, peer: string, request: Outgoing): Promise<void> {
  const writer = new MessageWriter(stream.writable)
  const fields: [string, string][] = [
    ['Host', peer],
    ['Connection', 'close'],
  ]
  if (!request.headers.has('accept-encoding')) fields.push(['Accept-Encoding', 'identity'])
  if (request.body !== null) {
    if (request.length === undefined) fields.push(['Transfer-Encoding', 'chunked'])
    else fields.push(['Content-Length', String(request.length)])
  } else if (!['GET', 'HEAD', 'OPTIONS'].includes(request.method)) fields.push(['Content-Length', '0'])
  const own = new Set([
    'host',
    'connection',
    'content-length',
    'transfer-encoding',
    'upgrade',
    'expect',
    'keep-alive',
    'te',
  ])
  for (const [name, value] of request.headers) if (!own.has(name)) fields.push([name, value])
  await writer.head(`${request.method} ${request.path} HTTP/1.1`, fields)
  if (request.body !== null) await writer.body(request.body, request.length)
  // The stream stays open: some servers take a closed writing half for a caller that is gone.
}

interface Status {
  status: number
  text: string
  headers: Headers
}

/** The first head that is not of an interim answer. */
async function finalHead(reader: MessageReader, sending: Promise<void>): Promise<Status> {
  for (;;) {
    const head = await reader.head()
    if (head === null) {
      await sending // which may know why
      throw new TomboloError('stream', 'the peer ended the stream without an answer', { reason: 'reset by the peer' })
    }
    const line = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(head.start)
    if (line === null) throw new MalformedError('it is not HTTP/1.1')
    const status = Number(line[1])
    if (status === 101) throw new MalformedError('it changes the protocol, which was not asked for')
    if (status >= 200) return { status, text: line[2] ?? '', headers: head.headers }
  }
}

function response(
  head: Status,
  reader: MessageReader,
  request: Outgoing,
  over: () => void,
  reset: () => void,
): Response {
  const none = request.method === 'HEAD' || head.status === 204 || head.status === 205 || head.status === 304
  const body = none ? null : reader.body(head.headers, true)
  const init = { status: head.status, statusText: head.text, headers: head.headers }
  if (body === null) {
    over()
    reader.cancel().catch(() => {})
    reset()
    return new Response(null, init)
  }
  const inner = body.getReader()
  const watched = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await inner.read()
          if (!done) return controller.enqueue(value)
          controller.close()
        } catch (error) {
          controller.error(request.signal.aborted ? request.signal.reason : error)
        }
        over()
        reset() // all that was wanted is here; the request's own half may not be at its end
      },
      async cancel(reason) {
        over()
        await inner.cancel(reason).catch(() => {})
        reset()
      },
    },
    { highWaterMark: 0 },
  )
  return new Response(watched, init)
}
