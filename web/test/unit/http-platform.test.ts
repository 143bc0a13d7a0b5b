import assert from 'node:assert/strict'
import { test } from 'node:test'

// Imitates Requests of other platforms: in Firefox a body cannot be seen, and a stream as the body becomes its string form; in browsers,
// headers that a page may not set are missing. This must be in place before the code is loaded, hence the imports below.
const Whole = globalThis.Request
const FORBIDDEN = ['cookie', 'host', 'origin', 'content-length', 'connection']

globalThis.Request = class extends Whole {
  constructor(input: RequestInfo | URL, { body, ...init }: RequestInit = {}) {
    const headers = new Headers(init.headers)
    for (const name of FORBIDDEN) headers.delete(name)
    const given = body instanceof ReadableStream ? String(body) : body
    super(input, { ...init, ...(init.headers && { headers }), ...(given != null && { body: given }) } as RequestInit)
  }
}
Object.defineProperty(globalThis.Request.prototype, 'body', { get: () => undefined })

const { fetchPort, serve, exchange, PEER } = await import('./support/tcp.js')

test('where a Request shows no body, GET announces none and POST is sent', async (t) => {
  const { port } = await serve(t, async (request) => {
    const { headers } = request
    return Response.json([headers.get('content-length'), headers.get('transfer-encoding'), await request.text()])
  })
  const send = async (method: string, body?: BodyInit) =>
    (await fetchPort(port, '/', { method, ...(body !== undefined && { body }) })).json()
  assert.deepEqual(await send('GET'), [null, null, ''])
  assert.deepEqual(await send('POST', 'text'), ['4', null, 'text'])
  assert.deepEqual(await send('POST', new Blob(['blob'])), ['4', null, 'blob'])
  assert.deepEqual(await send('POST', new Response('stream').body!), [null, 'chunked', 'stream'])
})

test('where a Request takes no stream, a handler has the body all the same, in every form', async (t) => {
  const { port, told } = await serve(t, async (request) => {
    const copies = [request.clone(), request.clone(), request.clone(), new Request(request.clone())] as const
    let streamed = ''
    for await (const part of copies[2].body!) streamed += new TextDecoder().decode(part)
    const all = [await copies[0].text(), (await copies[1].blob()).type, streamed, await copies[3].text()]
    const form = await request.formData()
    return Response.json([...all, form.get('a'), request.bodyUsed])
  })
  const response = await fetchPort(port, '/', { method: 'POST', body: new URLSearchParams({ a: 'b' }) })
  const type = 'application/x-www-form-urlencoded;charset=utf-8'
  const [text, blobType, streamed, copied, a, used] = (await response.json()) as unknown[]
  assert.deepEqual([text, streamed, copied, a, used], ['a=b', 'a=b', 'a=b', 'b', true])
  assert.equal(String(blobType).toLowerCase(), type)
  assert.deepEqual(told, [])
})

test('where a Request leaves out headers, those of a handler and its clones have them', async (t) => {
  const { port } = await serve(t, (request) => {
    const names = ['cookie', 'host', 'origin', 'x-own']
    const of = (r: Request) => names.map((name) => r.headers.get(name))
    request.headers.set('x-set', 'yes')
    const copy = new Request(request)
    return Response.json([
      of(request),
      of(request.clone()),
      of(request.clone().clone()),
      of(copy),
      copy.headers.get('x-set'),
    ])
  })
  const headers = { cookie: 'a=1', origin: 'http://o', 'x-own': 'yes' }
  const all = ['a=1', PEER, 'http://o', 'yes']
  const got = await (await fetchPort(port, '/', { headers })).json()
  assert.deepEqual(got, [all, all, all, [null, null, null, 'yes'], 'yes'])
})

test('where bodies have to be held, no more than 64 MiB of one are', async (t) => {
  const { port } = await serve(t, async (request) => new Response(String((await request.blob()).size)))
  let sent = 0
  const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    sent += 1 << 20
    controller.enqueue(new Uint8Array(1 << 20))
  }
  const body = new ReadableStream<Uint8Array>({ pull }, { highWaterMark: 0 })
  const response = await fetchPort(port, '/', { method: 'POST', body })
  assert.equal(response.status, 413)
  assert.ok(sent < 100 << 20)
  const answer = await exchange(port, 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc')
  assert.match(answer, /\r\n3\r\n/)
})
