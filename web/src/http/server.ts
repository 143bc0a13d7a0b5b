/** `node.serve`: answers HTTP on the streams of peers with a function. */
import type { PeerStream } from '../types.js'
import { MalformedError, MessageReader, MessageWriter } from './wire.js'

/**
 * Answers requests. A browser lets no Response set a cookie, so none can. `peer` is who asks, authenticated by the connection. `request.signal`
 * ends when the caller is gone.
 */
export type HttpHandler = (request: Request, context: { peer: string }) => Response | Promise<Response>

/** How much of a request's body is read that its handler left, in bytes. */
const MAX_UNREAD = 1 << 20

/** Methods that a Request cannot have. */
const REFUSED = /^(CONNECT|TRACE|TRACK)$/i

/** Answers the requests on a stream, one after the other. `tell` hears what the handler throws; the caller gets a 500 then. */
export async function serveOn(stream: PeerStream, handler: HttpHandler, tell: (error: unknown) => void): Promise<void> {
  const reader = new MessageReader(stream.readable)
  const writer = new MessageWriter(stream.writable)
  try {
    for (;;) {
      const head = await reader.head()
      if (head === null) break
      if (!(await answer(stream, reader, writer, head, handler, tell))) break
    }
    await writer.close()
    await reader.cancel()
  } catch (error) {
    if (error instanceof MalformedError) {
      const said = new Response(error.message + '\n', { status: error.status })
      await respond(writer, said, 'GET', false)
        .then(() => writer.close())
        .catch(() => {})
      await reader.cancel().catch(() => {})
      return
    }
    stream.reset() // what was cut short must not look complete
  }
}

/** Answers one request, and says whether another may follow. */
async function answer(
  stream: PeerStream,
  reader: MessageReader,
  writer: MessageWriter,
  head: { start: string; headers: Headers },
  handler: HttpHandler,
  tell: (error: unknown) => void,
): Promise<boolean> {
  const line = /^([!#$%&'*+.^_`|~\w-]+) (\S+) HTTP\/1\.([01])$/.exec(head.start)
  if (line === null) throw new MalformedError('the request line cannot be read')
  const [, method = '', target = '', minor] = line
  if (REFUSED.test(method)) throw new MalformedError(`the method ${method} is not answered here`, 501)
  if (!target.startsWith('/')) throw new MalformedError('the request is not for a path')
  const connection = (head.headers.get('connection') ?? '').toLowerCase()
  let body = reader.body(head.headers, false)
  let left = body !== null
  if (body !== null) {
    // Before the handler is asked: its response may begin before it reads.
    if (head.headers.get('expect')?.toLowerCase() === '100-continue') await writer.head('HTTP/1.1 100 Continue', [])
    body = watchEnd(body, () => (left = false))
  }

  const gone = new AbortController()
  const { request, unread } = makeRequest(method, target, head.headers, body, gone.signal)
  let response: Response
  try {
    response = await handler(request, { peer: stream.peer })
    if (!(response instanceof Response)) throw new TypeError('the handler did not return a Response')
  } catch (error) {
    tell(error)
    response = new Response('the handler failed\n', { status: 500 })
  }
  const more = minor === '1' && !connection.includes('close') && response.headers.get('connection') !== 'close'
  try {
    await respond(writer, response, method, more)
  } catch (error) {
    gone.abort(error)
    throw error
  }
  // After the response, which may be made of the request.
  const rest = unread ?? request.body
  return more && (!left || (rest !== null && !rest.locked && (await discard(rest))))
}

/** Reads what nobody wanted, if it is not too much, so that another request may follow. Says whether it is at its end. */
async function discard(body: ReadableStream<Uint8Array>): Promise<boolean> {
  const reader = body.getReader()
  for (let length = 0; length <= MAX_UNREAD;) {
    const { done, value } = await reader.read()
    if (done) return true
    length += value.length
  }
  return false
}

function makeRequest(
  method: string,
  target: string,
  headers: Headers,
  body: ReadableStream<Uint8Array> | null,
  signal: AbortSignal,
) {
  const host = headers.get('host') ?? 'peer.invalid'
  let url: URL
  try {
    url = new URL(target, `http://${host}`)
  } catch {
    throw new MalformedError('the host or the path cannot be read')
  }
  const takes = body !== null && !/^(GET|HEAD)$/i.test(method) // a Request of these has none
  const request = new Request(url, { method, signal, ...(takes && { body, duplex: 'half' }) } as RequestInit)
  Object.defineProperty(request, 'headers', { value: headers }) // all of them: a Request leaves out cookies and more
  return { request, unread: takes ? null : body }
}

/** A body that tells when it is at its end. */
function watchEnd(body: ReadableStream<Uint8Array>, last: () => void) {
  const reader = body.getReader()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read()
        if (!done) return controller.enqueue(value)
        last()
        controller.close()
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}

async function respond(writer: MessageWriter, response: Response, method: string, more: boolean): Promise<void> {
  const fields: [string, string][] = []
  for (const [name, value] of response.headers) {
    if (name !== 'connection' && name !== 'transfer-encoding') fields.push([name, value])
  }
  if (!response.headers.has('date')) fields.push(['Date', new Date().toUTCString()])
  fields.push(['Connection', more ? 'keep-alive' : 'close'])
  const none = method === 'HEAD' || response.status === 204 || response.status === 304
  const given = response.headers.get('content-length')
  if (!none && given === null)
    fields.push(response.body === null ? ['Content-Length', '0'] : ['Transfer-Encoding', 'chunked'])
  await writer.head(`HTTP/1.1 ${response.status} ${response.statusText}`, fields)
  if (none || response.body === null) return void response.body?.cancel().catch(() => {})
  await writer.body(response.body, given === null ? undefined : Number(given))
}
