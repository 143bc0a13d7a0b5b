import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { test } from 'node:test'
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { answerWith, fetchPort, listen, PEER } from './support/tcp.js'

type Context = { after(f: () => void): void }

interface Asked {
  method: string
  url: string
  headers: IncomingHttpHeaders
  body: string
}

/** Starts a real server that records its requests. */
async function server(t: Context, listener: RequestListener) {
  const asked: Asked[] = []
  const http = createServer((req, res) => {
    const parts: Buffer[] = []
    req.on('data', (part: Buffer) => parts.push(part))
    req.on('end', () => {
      const { method = '', url = '', headers } = req
      asked.push({ method, url, headers, body: Buffer.concat(parts).toString('latin1') })
      listener(req, res)
    })
  })
  return { port: await listen(http, t), asked }
}

/** Starts a server on which every path except /end redirects to /end with this status. */
const redirecting = (t: Context, status: number, location: string | null = '/end') =>
  server(t, (req, res) => {
    if (req.url === '/end') return void res.end('done')
    res.writeHead(status, location === null ? {} : { location })
    res.end('moved')
  })

const stream = (text: string) => new Response(text).body!

test('a redirect changes the method and the body as the Fetch standard says', async (t) => {
  const kept = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']
  const same = Object.fromEntries(kept.map((method) => [method, method]))
  const only303 = Object.fromEntries(kept.map((method) => [method, method === 'HEAD' ? 'HEAD' : 'GET']))
  const table: [number, Record<string, string>][] = [
    [301, { ...same, POST: 'GET' }],
    [302, { ...same, POST: 'GET' }],
    [303, only303],
    [307, same],
    [308, same],
  ]
  for (const [status, becomes] of table) {
    const { port, asked } = await redirecting(t, status)
    for (const [method, then] of Object.entries(becomes)) {
      asked.length = 0
      const body = method === 'GET' || method === 'HEAD' ? null : 'body'
      const headers = {
        'content-type': 'text/x',
        'content-language': 'en',
        'content-encoding': 'x',
        'content-location': '/',
        'x-kept': 'yes',
        authorization: 'kept',
      }
      const response = await fetchPort(port, '/start', { method, body, headers })
      await response.text()
      const row = `${status} ${method}`
      assert.deepEqual([response.status, response.redirected], [200, true], row)
      assert.equal(response.url, `http://${PEER.toLowerCase()}/end`)
      const dropped = method !== then
      assert.deepEqual([asked[1]?.method, asked[1]?.body], [then, dropped ? '' : (body ?? '')], row)
      const sent = asked[1]!.headers
      for (const name of ['content-type', 'content-language', 'content-encoding', 'content-location'] as const) {
        assert.equal(sent[name], dropped ? undefined : headers[name], `${row} ${name}`)
      }
      assert.deepEqual([sent['x-kept'], sent.authorization], ['yes', 'kept'])
      assert.equal(sent['content-length'], dropped || body === null ? undefined : '4', row)
    }
  }
})

test('a body of any kind but a stream is sent again after a redirect', async (t) => {
  const { port, asked } = await redirecting(t, 307)
  const form = new FormData()
  form.set('a', 'b')
  const bodies: BodyInit[] = [
    'text',
    new Blob(['blob'], { type: 'text/x' }),
    new Uint8Array(3),
    new URLSearchParams({ a: 'b' }),
    form,
    ...([42, false, new URL('http://a/b'), { toString: () => 'own' }] as unknown as BodyInit[]),
  ]
  for (const body of bodies) {
    asked.length = 0
    assert.equal((await fetchPort(port, '/start', { method: 'POST', body })).status, 200)
    const [first, second] = asked.map(({ body, headers }) => [body, headers['content-type'], headers['content-length']])
    assert.deepEqual(second, first)
    assert.equal(second![2], String(second![0]!.length))
  }
  assert.equal(asked[1]!.body, 'own')
})

test('a form is sent as the platform sends it', async (t) => {
  const { port, asked } = await server(t, (_, res) => res.end())
  const form = new FormData()
  form.set('a"\n\r\u00e9', 'b"\r\n\nc\rd')
  form.append('file', new Blob(['\r\n\x01'], { type: 'text/x' }), 'n"\n\u00e9.txt')
  form.append('file', new Blob([]))
  await fetchPort(port, '/', { method: 'POST', body: form })
  await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: form })
  const [ours, platform] = asked.map(({ body, headers }) => {
    const boundary = headers['content-type']!.split('boundary=')[1]!
    return [body.replaceAll(boundary, '-'), Number(headers['content-length']) - body.length]
  })
  assert.deepEqual(ours, platform)
})

test('a stream is not sent again: where a redirect would need it, the request fails, and 303 does not need it', async (t) => {
  for (const status of [301, 302, 307, 308]) {
    const { port, asked } = await redirecting(t, status)
    await assert.rejects(fetchPort(port, '/start', { method: 'POST', body: stream('x') }), TypeError)
    assert.equal(asked.length, 1)
  }
  const { port, asked } = await redirecting(t, 303)
  assert.equal((await fetchPort(port, '/start', { method: 'POST', body: stream('x') })).status, 200)
  assert.deepEqual([asked[1]?.method, asked[1]?.body], ['GET', ''])
})

test('twenty redirects are followed, and no more', async (t) => {
  const { port, asked } = await server(t, (req, res) => {
    const left = Number(req.url!.slice(1))
    if (left === 0) return void res.end('done')
    res.writeHead(302, { location: `/${left - 1}` }).end()
  })
  assert.equal(await (await fetchPort(port, '/20')).text(), 'done')
  asked.length = 0
  await assert.rejects(fetchPort(port, '/21'), TypeError)
  assert.equal(asked.length, 21)
})

test('redirect: error refuses every redirect, manual hands it out, and others are a TypeError', async (t) => {
  for (const location of ['/end', null]) {
    const { port, asked } = await redirecting(t, 302, location)
    await assert.rejects(fetchPort(port, '/start', { redirect: 'error' }), TypeError)
    const manual = await fetchPort(port, '/start', { redirect: 'manual' })
    assert.deepEqual([manual.status, manual.redirected, await manual.text()], [302, false, 'moved'])
    assert.equal(manual.headers.get('location'), location)
    assert.equal(asked.length, 2)
    await assert.rejects(fetchPort(port, '/start', { redirect: 'maybe' as RequestRedirect }), TypeError)
  }
})

test('a redirect leads where its Location says, seen from the response', async (t) => {
  const cases: [string, string][] = [
    ['next?x#fragment', '/dir/next?x'],
    ['?x', '/dir/start?x'],
    ['../up', '/up'],
    ['/caf\xc3\xa9', '/caf%C3%A9'],
    [`http://${PEER}//two`, '//two'],
    [`//${PEER}/p`, '/p'],
    [`https://${PEER.toLowerCase()}/p`, '/p'],
    [`http://${PEER}`, '/'],
  ]
  for (const [location, to] of cases) {
    const { port, asked } = await server(t, (req, res) => {
      if (req.url !== '/dir/start') return void res.end()
      res.writeHead(302, { location }).end()
    })
    const response = await fetchPort(port, '/dir/start')
    assert.equal(asked[1]?.url, to)
    assert.equal(response.url, `http://${PEER.toLowerCase()}${to}`)
  }
})

test('the path and the query are asked for as they are given', async (t) => {
  const { port, asked } = await server(t, (_, res) => res.end())
  const paths = ['/', '/?', '//a?b#c', '/a?#c', '/%2F?/x']
  for (const path of paths) await fetchPort(port, path, null)
  assert.deepEqual(
    asked.map(({ url }) => url),
    paths.map((path) => path.replace('#c', '')),
  )
  for (const path of ['a', new URL('http://a/') as unknown as string]) {
    await assert.rejects(fetchPort(port, path), { code: 'argument' })
  }
})

test('a redirect that names nothing, or another host, is handed out, and one that is not HTTP fails', async (t) => {
  for (const location of [null, 'https://elsewhere.example/', '//elsewhere.example', `http://${PEER}:81/`]) {
    const { port } = await redirecting(t, 302, location)
    const response = await fetchPort(port, '/start')
    assert.deepEqual([response.status, response.redirected, await response.text()], [302, false, 'moved'])
  }
  for (const location of ['data:,x', 'javascript:x', 'ftp://a/', 'http://[', 'http://a:99999/']) {
    const { port } = await redirecting(t, 302, location)
    await assert.rejects(fetchPort(port, '/start'), TypeError, location)
  }
  const { port } = await redirecting(t, 300)
  assert.equal((await fetchPort(port, '/start')).status, 300)
})

test('a response is what fetch gives: where it is from, a body that can be read once, and clones that know as much', async (t) => {
  const { port } = await server(t, (_, res) => res.writeHead(201, 'Made \xe9', { 'x-a': 'b' }).end('body'))
  const response = await fetchPort(port, '/a?b#c')
  const clone = response.clone()
  for (const each of [response, clone]) {
    assert.ok(each instanceof Response)
    const { status, ok, statusText, url, redirected, type, bodyUsed } = each
    const is = { status, ok, statusText, url, redirected, type, bodyUsed }
    const from = `http://${PEER.toLowerCase()}/a?b`
    const wanted = { status: 201, ok: true, statusText: 'Made \xe9', url: from, redirected: false, type: 'basic' }
    assert.deepEqual(is, { ...wanted, bodyUsed: false })
    assert.equal(each.headers.get('x-a'), 'b')
    assert.equal(await each.text(), 'body')
    assert.ok(each.bodyUsed)
    assert.throws(() => each.clone(), TypeError)
    await assert.rejects(each.text(), TypeError)
  }
})

test('a status that a Response cannot have is a 500 whose text has it', async (t) => {
  for (const status of [600, 999]) {
    const answer = `HTTP/1.1 ${status} Request denied\r\nContent-Length: 2\r\n\r\nno`
    const response = await fetchPort(await answerWith(t, answer), '/')
    assert.deepEqual([response.status, response.statusText], [500, `${status} Request denied`])
    assert.equal(await response.text(), 'no')
  }
})

test('only a response that can have no body has none', async (t) => {
  const { port } = await server(t, (req, res) => res.writeHead(Number(req.url!.slice(1))).end())
  for (const status of [200, 404]) {
    const response = await fetchPort(port, `/${status}`)
    assert.deepEqual([response.body === null, await response.text()], [false, ''])
    assert.equal((await fetchPort(port, `/${status}`, { method: 'HEAD' })).body, null)
  }
  for (const status of [204, 205, 304]) assert.equal((await fetchPort(port, `/${status}`)).body, null)
})

test('a compressed body is decompressed', async (t) => {
  const { port, asked } = await server(t, (req, res) => {
    const coding = req.url!.slice(1)
    const body =
      coding === 'deflate' ? deflateSync('hello') : coding === 'own' ? Buffer.from('hello') : gzipSync('hello')
    res.writeHead(200, { 'content-encoding': coding, 'content-length': body.length }).end(body)
  })
  for (const coding of ['gzip', 'x-gzip', 'deflate', 'own']) {
    const response = await fetchPort(port, `/${coding}`)
    assert.equal(await response.text(), 'hello')
    assert.equal(response.headers.get('content-encoding'), coding === 'own' ? 'own' : null)
  }
  assert.equal(asked[0]!.headers['accept-encoding'], 'identity')
})

test('a compressed body is understood as servers send it, and one that is damaged fails', async (t) => {
  const large = Buffer.alloc(1 << 20, 'large')
  const whole: [string, Buffer, Buffer | string][] = [
    ['gzip', Buffer.alloc(0), ''],
    ['deflate', Buffer.alloc(0), ''],
    ['deflate', deflateRawSync('hello'), 'hello'],
    ['gzip, deflate', deflateSync(gzipSync('hello')), 'hello'],
    ['gzip', gzipSync(large), large],
  ]
  const kept: [string, Buffer, Buffer | string][] = [
    ['constructor', Buffer.from('own'), 'own'],
    [Array(100).fill('gzip').join(), Buffer.from('many'), 'many'],
  ]
  const chunks = (body: Buffer) =>
    (body.length ? `${body.length.toString(16)}\r\n${body.toString('latin1')}\r\n` : '') + '0\r\n\r\n'
  const get = async (coding: string, body: Buffer) => {
    const head = `HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\nTransfer-Encoding: chunked\r\n\r\n`
    return fetchPort(await answerWith(t, head + chunks(body)), '/')
  }
  for (const [coding, body, text] of [...whole, ...kept]) {
    const response = await get(coding, body)
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), Buffer.from(text), coding)
  }
  for (const damaged of [gzipSync(large).subarray(0, -9), Buffer.from('no gzip')]) {
    const response = await get('gzip', damaged)
    await assert.rejects(response.text())
  }
})

test('what is asked for is checked as fetch checks it', async (t) => {
  const { port, asked } = await server(t, (_, res) => res.end())
  const rejected: RequestInit[] = [
    { method: 'CONNECT' },
    { method: 'TRACE' },
    { method: 'a b' },
    { body: 'x' },
    { method: 'HEAD', body: 'x' },
    { headers: { 'a b': 'c' } },
    { headers: { a: 'b\nc' } },
    { headers: { a: 'b\x01c' } },
    { headers: [['a']] as unknown as HeadersInit },
    { integrity: 'sha256-x' },
  ]
  for (const init of rejected) await assert.rejects(fetchPort(port, '/', init), TypeError, JSON.stringify(init))
  assert.equal(asked.length, 0)
  await fetchPort(port, '/', { method: 'post', headers: { host: 'evil', connection: 'x', te: 'y', cookie: 'a=1' } })
  const { method, headers } = asked[0]!
  assert.deepEqual([method, headers.host, headers.connection, headers.te], ['POST', PEER, 'close', undefined])
  assert.deepEqual([headers.cookie, headers.accept, headers['content-length']], ['a=1', '*/*', '0'])
  await fetchPort(port, '/')
  assert.deepEqual(
    [asked[1]!.headers['content-length'], asked[1]!.headers['transfer-encoding']],
    [undefined, undefined],
  )
})

test('a request whose own body fails, or was never begun, ends with that error', async (t) => {
  const { port } = await server(t, (_, res) => res.end())
  const wrong = new Error('on purpose')
  const pull = () => {
    throw wrong
  }
  const failing = new ReadableStream<Uint8Array>({ pull }, { highWaterMark: 0 })
  await assert.rejects(fetchPort(port, '/', { method: 'POST', body: failing }), wrong)
  const texts = new ReadableStream({ start: (controller) => controller.enqueue('text') })
  await assert.rejects(fetchPort(port, '/', { method: 'POST', body: texts }), TypeError)
  let cancelled: unknown
  const waiting = new ReadableStream<Uint8Array>({ cancel: (reason) => void (cancelled = reason) })
  const signal = AbortSignal.abort(wrong)
  await assert.rejects(fetchPort(1, '/', { method: 'POST', body: waiting }))
  assert.ok(cancelled instanceof Error)
  await assert.rejects(fetchPort(port, '/', { signal }), wrong)
})

test('a stream that was read, cancelled or sent is refused, and never sent as an empty body', async (t) => {
  const { port, asked } = await server(t, (_, res) => res.end())
  const put = (body: BodyInit, to = port) => fetchPort(to, '/', { method: 'PUT', body })
  const half = stream('half')
  const reader = half.getReader()
  await reader.read()
  reader.releaseLock()
  const cancelled = stream('cancelled')
  await cancelled.cancel()
  const locked = stream('locked')
  locked.getReader()
  const sent = stream('sent')
  await put(sent)
  const unsent = stream('the service could not be reached')
  await assert.rejects(put(unsent, 1))
  for (const body of [half, cancelled, locked, sent, unsent]) await assert.rejects(put(body), TypeError)
  assert.deepEqual(
    asked.map(({ body }) => body),
    ['sent'],
  )
})

test('a response of HTTP/1.1 is understood as RFC 9112 has it', async (t) => {
  const cases: [string, string][] = [
    ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi', 'hi'],
    ['HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi', 'hi'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi', 'hi'],
    ['HTTP/1.1 200 OK\r\n\r\nto the end', 'to the end'],
    ['HTTP/1.0 200 OK\r\n\r\nto the end', 'to the end'],
    ['HTTP/1.1 200 OK\r\nX: a\r\n\t b\r\nContent-Length: 2\r\n\r\nhi', 'hi'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2  \r\nhi\r\n0;a=b\r\nX: y\r\n\r\n', 'hi'],
    [
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi',
      'hi',
    ],
  ]
  for (const [answer, text] of cases) {
    const response = await fetchPort(await answerWith(t, answer), '/')
    assert.equal(await response.text(), text, answer)
    if (answer.includes('X: a')) assert.equal(response.headers.get('x'), 'a b')
  }
})

test('a response that is not whole, or not HTTP, fails with the code of a stream', async (t) => {
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n'
  const cases = [
    'SSH-2.0-OpenSSH\r\n\r\n',
    'HTTP/2 200 OK\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 099 OK\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    'HTTP/1.1 200 O\x01K\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nhi!',
    'HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi',
    'HTTP/1.1 200 OK\r\nX : y\r\n\r\n',
    'HTTP/1.1 200 OK\nX: y\r\n\r\n',
    'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n',
    chunked + 'Content-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
    chunked + '\r\n2\r\nhi',
    chunked + '\r\n2\nhi\r\n0\r\n\r\n',
    chunked + '\r\n2\r\nhi!\r\n0\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\n'.repeat(101),
    'HTTP/1.1 100 Continue\r\n\r\n',
    'HTTP/1.1 200 OK\r\nX: ' + 'x'.repeat(70_000) + '\r\n\r\n',
  ]
  for (const answer of cases) {
    const port = await answerWith(t, answer)
    const reading = fetchPort(port, '/').then(async ({ body }) => {
      for await (const part of body!) void part
    })
    await assert.rejects(reading, { code: 'stream' }, JSON.stringify(answer.slice(0, 100)))
  }
})
