import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, request as ask, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { createServer } from 'node:http'
import { serveOn } from '../../src/http/server.js'
import { exchange, fetchPort, listen, PEER, serve } from './support/tcp.js'

const GET = (target: string, fields = '') => `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${fields}\r\n`
const POST = (fields: string, body = '') => `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${fields}\r\n${body}`
const CHUNKED = 'Transfer-Encoding: chunked\r\n'
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1])

test('a handler gets a Request of the platform, with all headers, which clones and copies keep', async (t) => {
  const fields = { 'x-own': 'yes', cookie: 'a=1', origin: 'http://o', 'content-type': 'text/x' }
  const names = [...Object.keys(fields), 'host', 'content-length']
  const { port, told } = await serve(t, async (request, { peer }) => {
    const copy = new Request(request.clone())
    const all = [request, request.clone(), request.clone().clone(), copy]
    const headers = all.map((r) => names.map((name) => r.headers.get(name)))
    request.headers.set('x-set', 'later')
    return Response.json({
      real: all.every((r) => r instanceof Request && Object.prototype.toString.call(r) === '[object Request]'),
      headers,
      set: new Request(request.clone()).headers.get('x-set'),
      types: [(await request.clone().blob()).type, (await copy.blob()).type],
      text: await request.text(),
      used: request.bodyUsed,
      method: request.method,
      peer,
    })
  })
  const response = await fetchPort(port, '/', { method: 'put', headers: fields, body: 'hello' })
  const told4 = [...Object.values(fields), PEER, '5']
  assert.deepEqual(await response.json(), {
    real: true,
    headers: [told4, told4, told4, told4],
    set: 'later',
    types: ['text/x', 'text/x'],
    text: 'hello',
    used: true,
    method: 'PUT',
    peer: PEER,
  })
  assert.deepEqual(told, [])
})

test('the signal tells that the caller is gone while a short body is unread', async () => {
  // A stream over a relay reports a reset only to a pending read.
  const sent = new TextEncoder().encode(POST('Content-Length: 3\r\n', 'abc'))
  let parts = 0
  let reset!: () => void
  const gone = new Promise<void>((resolve) => (reset = resolve))
  const readable = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        if (parts++ === 0) return controller.enqueue(sent)
        await gone
        controller.error(new Error('reset by the peer'))
      },
    },
    { highWaterMark: 0 },
  )
  const stream = { readable, writable: new WritableStream(), peer: PEER, protocol: '/x/http', reset() {} }
  let told: unknown
  await serveOn(
    stream,
    async ({ signal }) => {
      reset()
      await once(signal, 'abort')
      told = signal.reason
      return new Response()
    },
    () => {},
  )
  assert.match(String(told), /reset by the peer/)
})

test('a handler reads forms of both kinds', async (t) => {
  const { port } = await serve(t, async (request) => {
    const form = await request.formData()
    const file = form.get('file') as File | null
    return Response.json([form.get('a'), file && [file.name, file.type, await file.text()]])
  })
  const form = new FormData()
  form.set('a', 'ä')
  form.set('file', new Blob(['content'], { type: 'text/x' }), 'name.txt')
  const post = async (body: BodyInit) => (await fetchPort(port, '/', { method: 'POST', body })).json()
  assert.deepEqual(await post(form), ['ä', ['name.txt', 'text/x', 'content']])
  assert.deepEqual(await post(new URLSearchParams({ a: 'b c' })), ['b c', null])
})

test('a path keeps all of its segments, whatever it begins with', async (t) => {
  const { port } = await serve(t, (request) => new Response(request.url))
  const cases: [string, string][] = [
    ['//admin/x', 'http://a//admin/x'],
    ['///', 'http://a///'],
    ['/\\evil/x', 'http://a/%5Cevil/x'],
    ['/a\\..\\b', 'http://a/a%5C..%5Cb'],
    ['/caf\xc3\xa9?\xe9', 'http://a/caf%C3%A9?%E9'],
    ['http://b:81//x?y', 'http://b:81//x?y'],
    ['HTTP://b?y', 'http://b/?y'],
    ['/@b/', 'http://a/@b/'],
    ['/http://b/', 'http://a/http://b/'],
  ]
  for (const [target, url] of cases) {
    assert.equal((await exchange(port, GET(target))).split('\r\n\r\n')[1]?.split('\r\n')[1], url, target)
  }
  assert.equal(statusOf(await exchange(port, 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')), 204)
})

test('a request that two readers could understand differently is refused, and what follows it is not read', async (t) => {
  const asked: string[] = []
  const { port, told } = await serve(t, async (request) => {
    asked.push(new URL(request.url).pathname)
    return new Response(await request.text())
  })
  const refused: [string, number][] = [
    ['GET / HTTP/1.1\r\n\r\n', 400], // no Host
    [GET('/', 'Host: b\r\n'), 400],
    ['GET / HTTP/1.1\r\nHost: a/x?\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: b@a\r\n\r\n', 400],
    [GET('http://b@a/'), 400],
    [GET('a/b'), 400],
    [GET('/a#b'), 400],
    [GET('/a b'), 400],
    [GET('/\x01'), 400],
    ['GET / HTTP/2.0\r\nHost: a\r\n\r\n', 505],
    ['GET  / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['GET / HTTP/1.1\nHost: a\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n', 400],
    [GET('/', 'X : y\r\n'), 400],
    [GET('/', 'X: y\r\n folded\r\n'), 400],
    [GET('/', ' X: y\r\n'), 400],
    [GET('/', 'X\r\n'), 400],
    [GET('/', ': y\r\n'), 400],
    [GET('/', 'X\xe4: y\r\n'), 400],
    [GET('/', 'X: a\0b\r\n'), 400],
    [GET('/', 'X: a\x7f\r\n'), 400],
    [GET('/', 'Expect: tea\r\n'), 417],
    [POST('Content-Length: 3\r\nContent-Length: 4\r\n', 'abcd'), 400],
    [POST('Content-Length: 3\r\nContent-Length: 3\r\n', 'abc'), 400],
    [POST('Content-Length: 3, 3\r\n', 'abc'), 400],
    [POST('Content-Length: +3\r\n', 'abc'), 400],
    [POST('Content-Length: 0x3\r\n', 'abc'), 400],
    [POST('Content-Length: \r\n', 'abc'), 400],
    [POST('Content-Length: 99999999999999999999\r\n', 'abc'), 400],
    [POST('Content-Length: 3\r\n' + CHUNKED, '0\r\n\r\n'), 400],
    [POST('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'), 501],
    [POST('Transfer-Encoding: chunked, gzip\r\n', '0\r\n\r\n'), 400],
    [POST('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400],
    [POST('Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n'), 501],
    ['POST / HTTP/1.0\r\nHost: a\r\n' + CHUNKED + '\r\n0\r\n\r\n', 400],
    [POST(CHUNKED, '3\nabc\r\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '3;x\nabc\r\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '3\r\nabc\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '3\r\nabc\r\n0\r\n\n'), 400],
    [POST(CHUNKED, '3\r\nabc\r\n0\r\nX: y\n\r\n'), 400],
    [POST(CHUNKED, '3\r\nabc\r\n0\r\nX : y\r\n\r\n'), 400],
    [POST(CHUNKED, '3\r\nabcd\r\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '+3\r\nabc\r\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '0x3\r\nabc\r\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '\r\n'), 400],
    [POST(CHUNKED, ' 3\r\nabc\r\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '3 \r\nabc\r\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '3;\r\nabc\r\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '3;a="\rb"\r\nabc\r\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '3;a=' + 'b'.repeat(5000) + '\r\nabc\r\n0\r\n\r\n'), 400],
    [POST(CHUNKED, '0\r\n' + `X: ${'y'.repeat(4000)}\r\n`.repeat(20) + '\r\n'), 431],
    ['CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 501],
  ]
  const next = GET('/smuggled')
  for (const [sent, status] of refused) {
    const answer = await exchange(port, sent + next)
    assert.equal(statusOf(answer), status, JSON.stringify(sent.slice(0, 200)) + ' ' + answer)
    assert.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1)
  }
  assert.ok(!asked.includes('/smuggled'))
  assert.deepEqual(told, [], 'a bad request is no fault of the handler')
})

test('what RFC 9112 lets a client say is understood', async (t) => {
  const { port } = await serve(t, async (request) => new Response(request.method + ' ' + (await request.text())))
  const cases: [string, string][] = [
    ['\r\n' + GET('/'), 'GET '],
    ['\r\n\r\n' + GET('/'), 'GET '],
    ['GET / HTTP/1.2\r\nhOsT:a\r\nconnection: CLOSE\r\n\r\n', 'GET '],
    ['GET / HTTP/1.1\r\nHost:\r\nConnection: x, close\r\n\r\n', 'GET '],
    ['GET / HTTP/1.1\r\nHost: [::1]:80 \t\r\nConnection: close\r\n\r\n', 'GET '],
    [POST('Content-Length: 003\r\n', 'abc'), 'POST abc'],
    [POST('tRANSFER-eNCODING: Chunked\r\n', '0000A\r\n0123456789\r\n0\r\n\r\n'), 'POST 0123456789'],
    [POST(CHUNKED, '3 ; a = "b;\\"\t" ; c\r\nabc\r\n0;x\r\nX: y\r\n\r\n'), 'POST abc'],
    ['DELETE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 'DELETE '],
  ]
  for (const [sent, text] of cases) {
    const answer = await exchange(port, sent)
    assert.equal(answer.split('\r\n\r\n')[1]?.split('\r\n')[1], text, JSON.stringify(sent) + answer)
  }
})

test('a client of HTTP/1.0 gets no chunks, and the end of the connection is the end of its response', async (t) => {
  const { port } = await serve(t, (request) => {
    const init = new URL(request.url).pathname === '/length' ? { headers: { 'content-length': '5' } } : {}
    return new Response('hello', init)
  })
  for (const fields of ['', 'Connection: keep-alive\r\n', 'Expect: 100-continue\r\nContent-Length: 0\r\n']) {
    const answer = await exchange(port, `GET / HTTP/1.0\r\n${fields}\r\n`)
    assert.match(answer, /\r\n\r\nhello$/)
    assert.doesNotMatch(answer, /transfer-encoding|keep-alive|100 Continue/i)
  }
  assert.match(await exchange(port, 'GET /length HTTP/1.0\r\n\r\n'), /\r\nContent-Length: 5\r\n[^]*\r\n\r\nhello$/)
  assert.match(await exchange(port, GET('/')), /\r\nTransfer-Encoding: chunked\r\n/)
})

test('bytes beyond ASCII pass through headers as they are, both ways', async (t) => {
  let seen: string | null = ''
  const all = Array.from({ length: 0x80 }, (_, i) => String.fromCharCode(0x80 + i)).join('')
  const { port, told } = await serve(t, (request) => {
    seen = request.headers.get('x-in')
    return new Response(null, { headers: { 'x-out': all, 'x-utf8': seen! } })
  })
  const answer = await exchange(port, GET('/', `X-In: ${all}\r\n`))
  assert.equal(seen, all)
  assert.ok(answer.includes(`x-out: ${all}\r\n`))
  const response = await fetchPort(port, '/', { headers: { 'x-in': all } })
  assert.equal(response.headers.get('x-out'), all)
  assert.equal(response.headers.get('x-utf8'), all)
  await assert.rejects(fetchPort(port, '/', { headers: { 'x-ok': '1', 'x-euro': '€' } }), /header x-euro: /)
  assert.deepEqual(told, [])
})

test('a caller that goes away is told to a handler that waits, and to one whose events are idle', async (t) => {
  const reasons: string[] = []
  let asked!: () => void
  let went!: () => void
  let cancelled!: () => void
  const { port, told } = await serve(t, async (request) => {
    request.signal.addEventListener('abort', () => {
      reasons.push(new URL(request.url).pathname)
      went()
    })
    asked()
    if (request.url.endsWith('/wait')) return new Promise<Response>(() => {})
    if (request.url.endsWith('/read')) return new Response(await request.text())
    return new Response(new ReadableStream({ start: (c) => c.enqueue(new Uint8Array(1)), cancel: () => cancelled() }))
  })
  for (const path of ['/wait', '/read', '/idle']) {
    const called = new Promise<void>((resolve) => (asked = resolve))
    const gone = new Promise<void>((resolve) => (went = resolve))
    const stopped = new Promise<void>((resolve) => (cancelled = resolve))
    const stop = new AbortController()
    const body = path === '/read' ? new ReadableStream<Uint8Array>() : path === '/wait' ? 'x' : null
    const method = body === null ? 'GET' : 'POST'
    const response = fetchPort(port, path, { signal: stop.signal, method, body, duplex: 'half' } as RequestInit)
    response.catch(() => {})
    if (path === '/idle') await (await response).body!.getReader().read()
    await called
    stop.abort()
    await gone
    if (path === '/idle') await stopped
  }
  assert.deepEqual(reasons, ['/wait', '/read', '/idle'])
  assert.deepEqual(told, [])
})

test('a caller that ends its half after the request, or sends the next one early, has not gone', async (t) => {
  const aborted: string[] = []
  const { port } = await serve(t, async (request) => {
    const { pathname } = new URL(request.url)
    request.signal.addEventListener('abort', () => aborted.push(pathname))
    await new Promise((resolve) => setTimeout(resolve, 20))
    return new Response(pathname)
  })
  const answer = await exchange(
    port,
    'GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n' + GET('/3'),
  )
  assert.deepEqual(answer.match(/\r\n\/\d\r\n/g), ['\r\n/1\r\n', '\r\n/2\r\n', '\r\n/3\r\n'])
  assert.deepEqual(aborted, [])
})

test('a body that is left is read past, so that the connection can be used again', async (t) => {
  const { port } = await serve(t, async (request) => {
    const { pathname } = new URL(request.url)
    if (pathname === '/cancel') await request.body!.cancel()
    return new Response(pathname)
  })
  const post = (path: string) =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\nGET /smuggled HTTP/1.1\r\nHost:\r\n`
  const answer = await exchange(port, post('/cancel') + post('/leave') + GET('/last'))
  assert.deepEqual(answer.match(/\r\n\/\w+\r\n/g)?.slice(-1), ['\r\n/last\r\n'], answer)
  assert.ok(!answer.includes('/smuggled'))
})

test('a response that cannot be sent is a 500, and the handler is told why', async (t) => {
  const used = new Response('x')
  await used.text()
  /** Returns a response of a class of the program's own, whose members are not checked by the platform. */
  const own = (member: string, value: unknown) => {
    if (Array.isArray(value)) Object.assign(value, { get: () => null, has: () => false })
    return Object.defineProperty(new Response('x'), member, { value })
  }
  const bad: Record<string, () => unknown> = {
    '/error': () => Response.error(),
    '/none': () => undefined,
    '/used': () => used,
    '/zero': () => new Response('x', { headers: { 'content-length': '0' } }),
    '/length': () => new Response(null, { headers: { 'content-length': '5' } }),
    '/status': () => own('statusText', 'OK\r\nSet-Cookie: a=b'),
    '/name': () => own('headers', [['a: b\r\nSet-Cookie', 'c']]),
    '/value': () => own('headers', [['a', 'b\r\nSet-Cookie: c=d']]),
    '/control': () => new Response('x', { headers: { a: 'b\x01' } }),
    '/number': () => new Response('x', { headers: { 'content-length': 'many' } }),
    '/throws': () => {
      throw new Error('on purpose')
    },
    '/bare': () => {
      throw Object.create(null)
    },
  }
  const { port, told } = await serve(t, (request) => bad[new URL(request.url).pathname]!() as Response)
  for (const path of Object.keys(bad)) {
    const answer = await exchange(port, GET(path))
    assert.deepEqual([statusOf(answer), answer.includes('Cookie')], [500, false], path)
  }
  assert.equal(told.length, Object.keys(bad).length)
})

test('a response whose body fails, or is not as long as it says, never looks whole, and the handler is told', async (t) => {
  const { port, told } = await serve(t, (request) => {
    if (request.url.endsWith('/short')) return new Response('abc', { headers: { 'content-length': '5' } })
    if (request.url.endsWith('/long')) return new Response('abc', { headers: { 'content-length': '2' } })
    if (request.url.endsWith('/endless')) {
      const body = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(3)) })
      return new Response(body, { headers: { 'content-length': '3' } })
    }
    const pull = () => {
      throw new Error('on purpose')
    }
    return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }))
  })
  for (const path of ['/short', '/long', '/endless', '/fails']) {
    await assert.rejects(fetchPort(port, path).then((response) => response.text()))
  }
  assert.deepEqual(told.map(String), [
    'TypeError: the body has 3 bytes, and a content-length of 5',
    'TypeError: the body is longer than its content-length of 2',
    'TypeError: the body is longer than its content-length of 3',
    'Error: on purpose',
  ])
})

test('a handler may return what the platform has fetched, compressed or not', async (t) => {
  const upstream = createServer((req, res) => {
    const body = req.url === '/gzip' ? gzipSync('hello') : Buffer.from('hello')
    if (req.url === '/gzip') res.setHeader('content-encoding', 'gzip')
    res.setHeader('content-length', body.length)
    res.end(body)
  })
  const from = await listen(upstream, t)
  const { port } = await serve(t, (request) => fetch(`http://127.0.0.1:${from}${new URL(request.url).pathname}`))
  for (const path of ['/gzip', '/plain']) assert.equal(await (await fetchPort(port, path)).text(), 'hello')
})

test('a client that keeps its connection has each response in full', async (t) => {
  const { port } = await serve(t, async (request) => {
    const { pathname } = new URL(request.url)
    if (pathname === '/204') return new Response(null, { status: 204, headers: { 'content-length': '0' } })
    if (pathname === '/304') return new Response(null, { status: 304, headers: { 'content-length': '7' } })
    if (pathname === '/205') return new Response(null, { status: 205 })
    return new Response(pathname, { headers: { 'content-length': String(pathname.length), 'keep-alive': 'x' } })
  })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => agent.destroy())
  const sockets = new Set<unknown>()
  for (const [method, path, status, body] of [
    ['GET', '/a', 200, '/a'],
    ['HEAD', '/a', 200, ''],
    ['GET', '/204', 204, ''],
    ['GET', '/304', 304, ''],
    ['GET', '/205', 205, ''],
    ['POST', '/b', 200, '/b'],
  ] as const) {
    const req = ask({ host: '127.0.0.1', port, path, method, agent })
    req.end(method === 'POST' ? 'unread' : undefined)
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    sockets.add(res.socket)
    let got = ''
    for await (const part of res) got += part as string
    assert.deepEqual([res.statusCode, got], [status, body])
    if (path === '/204') assert.equal(res.headers['content-length'], undefined)
    if (method === 'HEAD') assert.equal(res.headers['content-length'], '2')
    assert.equal(res.headers['keep-alive'], undefined)
  }
  assert.equal(sockets.size, 1)
})

test('a client that waits for it is asked for its body', async (t) => {
  const { port } = await serve(t, async (request) => new Response(await request.text()))
  const socket = connect(port, '127.0.0.1')
  socket.write(POST('Expect: 100-Continue\r\nContent-Length: 3\r\n'))
  const [first] = (await once(socket, 'data')) as [Buffer]
  assert.equal(first.toString(), 'HTTP/1.1 100 Continue\r\n\r\n')
  socket.write('abc')
  const [second] = (await once(socket, 'data')) as [Buffer]
  assert.match(second.toString(), /^HTTP\/1\.1 200 /)
  socket.destroy()
})
