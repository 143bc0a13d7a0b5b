/** `node.serve`: answers HTTP on the streams of peers with a function. */
import type { PeerStream } from '../types.js'
import { MalformedError, MessageReader, MessageWriter } from './wire.js'

/** Answers requests. `peer` is who asks, authenticated by the connection. `request.signal` ends when the caller is gone. */
export type HttpHandler = (request: Request, context: { peer: string }) => Response | Promise<Response>

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
  const asked = head.headers.get('expect')?.toLowerCase() === '100-continue'
  let body = reader.body(head.headers, false)
  let left = body !== null
  if (body !== null)
    body = watch(body, asked ? () => writer.head('HTTP/1.1 100 Continue', []) : undefined, () => (left = false))

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
  if (left && !asked) await (unread ?? request.body)?.pipeTo(new WritableStream()).catch(() => {})
  const more = !left && minor === '1' && !connection.includes('close') && response.headers.get('connection') !== 'close'
  try {
    await respond(writer, response, method, more)
  } catch (error) {
    gone.abort(error)
    throw error
  }
  return more
}

function makeRequest(
  method: string,
  target: string,
  headers: Headers,
  body: ReadableStream | null,
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

/** A body that tells when it is first read, and when it is at its end. */
function watch(body: ReadableStream<Uint8Array>, first: (() => Promise<void>) | undefined, last: () => void) {
  const reader = body.getReader()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        await first?.()
        first = undefined
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
