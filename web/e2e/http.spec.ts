import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request, type IncomingMessage, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { expect, join, LONG, CORE, test } from './support/crossing.js'
import { type Messenger, natively } from './support/messengers.js'
import type { Tab } from './support/node-tab.js'

// HTTP between a tab and real servers and clients behind a native node: `fetch` from the tab, and `serve` in it.

const MIB = 1 << 20
const MUCH = (LONG ? 100 : 16) * MIB

const web = test.extend<{ peer: string; id: string }, { native: Messenger }>({
  native: [
    async ({ relay }, use) => {
      const native = await natively(relay)
      await use(native)
      await native.stop()
    },
    { scope: 'worker' },
  ],
  id: async ({ tab, relay }, use) => use(await join(tab, relay.url)),
  peer: async ({ tab, native, id }, use) => {
    void id
    await tab.evaluate((id) => window.tombolo!.connect(id), native.id)
    await use(native.id)
  },
})

let names = 0

/** Offers a real server of this process through the native node, and returns the protocol. */
async function offer(native: Messenger, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  server.unref()
  const protocol = `/x/served${++names}/http`
  await native.call('listen', protocol, `127.0.0.1:${(server.address() as AddressInfo).port}`, {})
  return protocol
}

async function body(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of message) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

web.describe('fetch', () => {
  web('brings status, headers and body of a real server', async ({ tab, native, peer }) => {
    const protocol = await offer(native, (req, res) => {
      res.writeHead(203, 'So Be It', { 'x-path': req.url!, 'x-host': req.headers.host!, 'set-cookie': ['a=1', 'b=2'] })
      res.end('hello')
    })
    const got = await tab.evaluate(
      async ([peer, protocol]) => {
        const res = await window.tombolo!.fetch(peer!, protocol!, '/a%20b/c?d=e&f')
        const headers = ['x-path', 'x-host'].map((name) => res.headers.get(name))
        return {
          real: res instanceof Response,
          ok: res.ok,
          status: res.status,
          text: res.statusText,
          headers,
          body: await res.text(),
        }
      },
      [peer, protocol],
    )
    expect(got).toEqual({
      real: true,
      ok: true,
      status: 203,
      text: 'So Be It',
      headers: ['/a%20b/c?d=e&f', peer],
      body: 'hello',
    })
  })

  web('streams both bodies', CORE, async ({ tab, native, peer }) => {
    const protocol = await offer(native, (req, res) => {
      req.pipe(res) // each piece is returned before the next one arrives
    })
    const got = await tab.evaluate(
      async ([peer, protocol]) => {
        const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
        const writer = writable.getWriter()
        void writer.write(new TextEncoder().encode('one'))
        const init = { method: 'POST', body: readable, duplex: 'half' } as RequestInit
        const res = await window.tombolo!.fetch(peer!, protocol!, '/', init)
        const reader = res.body!.getReader()
        const text = async () => new TextDecoder().decode((await reader.read()).value)
        const first = await text()
        void writer.write(new TextEncoder().encode('two'))
        const second = await text()
        await writer.close()
        return [first, second, (await reader.read()).done]
      },
      [peer, protocol],
    )
    expect(got).toEqual(['one', 'two', true])
  })

  web('sends bodies of every kind, with the length where that is known', async ({ tab, native, peer }) => {
    const protocol = await offer(native, (req, res) => {
      void body(req).then((bytes) => {
        const { 'content-length': length, 'content-type': type, 'transfer-encoding': coding } = req.headers
        res.setHeader('content-type', 'application/json')
        res.end(JSON.stringify({ method: req.method, length, type, coding, bytes: bytes.length }))
      })
    })
    const got = await tab.evaluate(
      async ([peer, protocol]) => {
        const send = async (method: string, body?: BodyInit) =>
          (await window.tombolo!.fetch(peer!, protocol!, '/', { method, ...(body !== undefined && { body }) })).json()
        const form = new FormData()
        form.set('file', new Blob(['x'.repeat(1000)]), 'name.txt')
        return [
          await send('POST', 'ä'),
          await send('PUT', new Uint8Array(3)),
          await send('POST', new URLSearchParams({ a: 'b c' })),
          await send('PATCH', new Blob(['12345'], { type: 'text/x' })),
          await send('POST', ''),
          await send('DELETE'),
          await send('POST', form),
        ] as Record<string, unknown>[]
      },
      [peer, protocol],
    )
    expect(got.slice(0, 6)).toEqual([
      { method: 'POST', length: '2', type: 'text/plain;charset=UTF-8', bytes: 2 },
      { method: 'PUT', length: '3', bytes: 3 },
      { method: 'POST', length: '5', type: 'application/x-www-form-urlencoded;charset=UTF-8', bytes: 5 },
      { method: 'PATCH', length: '5', type: 'text/x', bytes: 5 },
      expect.objectContaining({ method: 'POST', length: '0', bytes: 0 }),
      { method: 'DELETE', length: '0', bytes: 0 },
    ])
    expect(got[6]).toMatchObject({
      length: String(got[6]!['bytes']),
      type: expect.stringContaining('multipart/form-data; boundary=') as unknown,
    })
  })

  web(`sends and gets ${MUCH / MIB} MiB, and nothing`, async ({ tab, native, peer }) => {
    const hashes: string[] = []
    const protocol = await offer(native, (req, res) => {
      const hash = createHash('sha256')
      req.on('data', (piece: Buffer) => hash.update(piece)).on('end', () => hashes.push(hash.digest('hex')))
      req.pipe(res)
    })
    const got = await tab.evaluate(
      async ({ peer, protocol, size }) => {
        const hex = (digest: ArrayBuffer) =>
          [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
        const bytes = new Uint8Array(size)
        for (let at = 0; at < bytes.length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536))
        const results: [number, string][] = []
        for (const body of [bytes, new Uint8Array(0)]) {
          const res = await window.tombolo!.fetch(peer, protocol, '/', { method: 'POST', body })
          const back = await res.arrayBuffer()
          results.push([back.byteLength, hex(await crypto.subtle.digest('SHA-256', back))])
        }
        return [...results, hex(await crypto.subtle.digest('SHA-256', bytes))]
      },
      { peer, protocol, size: MUCH },
    )
    const empty = createHash('sha256').digest('hex')
    expect(got).toEqual([[MUCH, hashes[0]], [0, empty], hashes[0]])
    expect(hashes[1]).toBe(empty)
  })

  web('gets ranges and 16 MiB whole from a folder', async ({ tab, native, peer }) => {
    const dir = mkdtempSync(joinPath(tmpdir(), 'tombolo-site-'))
    try {
      const bytes = randomBytes(16 * MIB)
      writeFileSync(joinPath(dir, 'big.bin'), bytes)
      await native.call('listen', '/x/folder/http', `file:${dir}`, {})
      const got = await tab.evaluate(async (peer) => {
        const get = (headers: Record<string, string> = {}) =>
          window.tombolo!.fetch(peer, '/x/folder/http', '/big.bin', { headers })
        const whole = await (await get()).arrayBuffer()
        const part = await get({ range: 'bytes=5-9' })
        const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', whole))
        const head = await window.tombolo!.fetch(peer, '/x/folder/http', '/big.bin', { method: 'HEAD' })
        const missing = await window.tombolo!.fetch(peer, '/x/folder/http', '/none')
        return {
          digest: [...digest],
          part: [part.status, part.headers.get('content-range'), [...new Uint8Array(await part.arrayBuffer())]],
          head: [head.status, head.headers.get('content-length'), head.body],
          missing: missing.status,
        }
      }, peer)
      expect(Buffer.from(got.digest)).toEqual(createHash('sha256').update(bytes).digest())
      expect(got.part).toEqual([206, `bytes 5-9/${16 * MIB}`, [...bytes.subarray(5, 10)]])
      expect(got.head).toEqual([200, String(16 * MIB), null])
      expect(got.missing).toBe(404)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  web('follows redirects within the service, and hands out others', async ({ tab, native, peer }) => {
    const protocol = await offer(native, (req, res) => {
      const to = { '/in': 'there?x', '/out': 'https://elsewhere.example/', '/loop': '/loop' }[req.url!]
      if (to === undefined) return void res.end(`${req.method} ${req.url}`)
      res.writeHead(302, { location: to }).end()
    })
    const got = await tab.evaluate(
      async ([peer, protocol]) => {
        const node = window.tombolo!
        const tell = (f: Promise<Response>) =>
          f.then(
            async (r) => [r.status, await r.text()],
            (error: Error) => error.message,
          )
        return [
          await tell(node.fetch(peer!, protocol!, '/in', { method: 'POST', body: 'x' })),
          await tell(node.fetch(peer!, protocol!, '/out')),
          await tell(node.fetch(peer!, protocol!, '/in', { redirect: 'manual' })),
          await tell(node.fetch(peer!, protocol!, '/in', { redirect: 'error' })),
          await tell(node.fetch(peer!, protocol!, '/loop')),
        ]
      },
      [peer, protocol],
    )
    expect(got).toEqual([
      [200, 'GET /there?x'],
      [302, ''],
      [302, ''],
      'the response is a redirect to /there?x',
      'there were too many redirects',
    ])
  })

  web('ends the request at the peer when it is aborted', async ({ tab, native, peer }) => {
    let ended!: () => void
    const gone = new Promise<void>((resolve) => (ended = resolve))
    const protocol = await offer(native, (_, res) => {
      res.on('close', ended)
      res.write('so far')
    })
    const got = await tab.evaluate(
      async ([peer, protocol]) => {
        const stop = new AbortController()
        const res = await window.tombolo!.fetch(peer!, protocol!, '/', { signal: stop.signal })
        const reader = res.body!.getReader()
        const first = new TextDecoder().decode((await reader.read()).value)
        const failing = reader.read().catch((error: Error) => error.message)
        stop.abort(new Error('enough'))
        const before = await window
          .tombolo!.fetch(peer!, protocol!, '/', { signal: AbortSignal.abort(new Error('before')) })
          .catch((error: Error) => error.message)
        return [first, await failing, before]
      },
      [peer, protocol],
    )
    expect(got).toEqual(['so far', 'enough', 'before'])
    await gone
  })

  web('never takes a body that is cut short for a whole one', async ({ tab, native, peer }) => {
    const protocol = await offer(native, (req, res) => {
      if (req.url === '/length') res.writeHead(200, { 'content-length': 1000 })
      res.write('some', () => res.destroy())
    })
    const got = await tab.evaluate(
      async ([peer, protocol]) => {
        const read = async (path: string) => {
          const res = await window.tombolo!.fetch(peer!, protocol!, path)
          const reader = res.body!.getReader() // the platform's text() would hide its reason
          for (;;) {
            const ended = await reader.read().then(
              ({ done }) => done && ['no error'],
              (error: { name: string; code?: string }) => [error.name, error.code],
            )
            if (ended) return ended
          }
        }
        return [await read('/length'), await read('/chunked')]
      },
      [peer, protocol],
    )
    expect(got).toEqual([
      ['TomboloError', 'stream'],
      ['TomboloError', 'stream'],
    ])
  })

  web('says what is wrong, and the node lives on', async ({ tab, native, peer }) => {
    const nonsense = await offer(native, (req) => req.socket.end('SSH-2.0-OpenSSH\r\n\r\n'))
    await native.call('listen', '/x/dead/http', 'closed', {})
    const got = await tab.evaluate(
      async ([peer, nonsense]) => {
        const node = window.tombolo!
        const why = (f: () => Promise<unknown>) =>
          Promise.resolve()
            .then(f)
            .then(
              () => 'nothing',
              (error: { message: string; reason?: string }) => error.reason ?? error.message,
            )
        return [
          await why(() => node.fetch(peer!, '/x/none/http', '/')),
          await why(() => node.fetch(peer!, '/x/dead/http', '/')),
          await why(() => node.fetch(peer!, nonsense!, '/')),
          await why(() => node.fetch(peer!, nonsense!, 'no-slash')),
          await why(() => node.fetch(peer!, nonsense!, 7 as unknown as string)),
          await why(() => node.fetch('nobody', nonsense!, '/')),
          await why(() => node.fetch(peer!, '/elsewhere', '/')),
          await why(() => node.serve('/x/a/http', 7 as never)),
          await why(() => node.peers()),
        ]
      },
      [peer, nonsense],
    )
    expect(got).toEqual([
      'no such protocol',
      'target refused',
      "the peer's answer: it is not HTTP/1.1",
      'path: "no-slash" does not begin with a slash',
      'path: 7 does not begin with a slash',
      expect.stringContaining('peer'),
      expect.stringContaining('/x/'),
      'handler must be a function, not number',
      'nothing',
    ])
  })
})

/** Makes a function of the tab answer HTTP, and returns the port of a native forward to it. */
async function serve(tab: Tab, native: Messenger, id: string): Promise<number> {
  const protocol = `/x/app${++names}/http`
  await tab.evaluate(async (protocol) => {
    const record = window as unknown as { aborted?: number; told?: string[] }
    record.told = []
    window.tombolo!.addEventListener('error', ({ detail }) => record.told!.push(detail.message))
    await window.tombolo!.serve(protocol, async (request, { peer }) => {
      const { pathname } = new URL(request.url)
      if (pathname === '/throw') throw new Error('on purpose')
      if (pathname === '/echo')
        return new Response(request.body, { headers: { 'x-type': request.headers.get('content-type')! } })
      if (pathname === '/none') return new Response(null, { status: 204 })
      if (pathname === '/text') return new Response('unread')
      if (pathname === '/never') {
        request.signal.addEventListener('abort', () => (record.aborted = (record.aborted ?? 0) + 1))
        const filler = new Uint8Array(65536)
        return new Response(new ReadableStream({ pull: (controller) => controller.enqueue(filler) }))
      }
      const told = { method: request.method, path: pathname, cookie: request.headers.get('cookie'), peer }
      return Response.json(told, { headers: { 'x-tab': 'yes' } })
    })
  }, protocol)
  const addr = await native.call<string>('forward', protocol, id)
  return Number(addr.split('/').at(-1))
}

interface Answer {
  status: number
  headers: IncomingMessage['headers']
  body: Buffer
}

function ask(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: Buffer; agent?: Agent } = {},
) {
  const { body: sent, ...rest } = options
  return new Promise<Answer>((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port, path, ...rest }, (res) => {
      body(res).then((bytes) => resolve({ status: res.statusCode!, headers: res.headers, body: bytes }), reject)
    })
    req.on('error', reject)
    req.end(sent)
  })
}

web.describe('serve', () => {
  web('answers any HTTP client through a native forward', CORE, async ({ tab, native, id }) => {
    const port = await serve(tab, native, id)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const told = await ask(port, '/some/path', { agent, headers: { cookie: 'a=b' } })
    expect(told.status).toBe(200)
    expect(told.headers['x-tab']).toEqual('yes')
    expect(JSON.parse(told.body.toString())).toEqual({
      method: 'GET',
      path: '/some/path',
      cookie: 'a=b',
      peer: native.id,
    })
    expect((await ask(port, '/x', { agent, method: 'HEAD' })).body.length).toBe(0)
    expect((await ask(port, '/none', { agent })).status).toBe(204)
    const unread = await ask(port, '/text', { agent, method: 'POST', body: Buffer.alloc(100_000) })
    expect(unread.body.toString()).toBe('unread')
    const empty = await ask(port, '/echo', { agent, method: 'POST', headers: { 'content-type': 'a/b' } })
    expect([empty.body.length, empty.headers['x-type']]).toEqual([0, 'a/b'])
    const streams = await tab.evaluate(() => window.tombolo!.streams())
    expect(streams.length, 'the requests came one after the other on one stream').toBe(1)
    agent.destroy()
  })

  web(`streams ${MUCH / MIB} MiB in and out`, async ({ tab, native, id }) => {
    const port = await serve(tab, native, id)
    const bytes = randomBytes(MUCH)
    const got = await ask(port, '/echo', {
      method: 'POST',
      body: bytes,
      headers: { 'content-type': 'x/y', expect: '100-continue' },
    })
    expect(got.status).toBe(200)
    expect(got.body.equals(bytes)).toBe(true)
    const chunked = await ask(port, '/echo', {
      method: 'PUT',
      body: bytes.subarray(0, MIB),
      headers: { 'content-type': 'x/y', 'transfer-encoding': 'chunked' },
    })
    expect(chunked.body.equals(bytes.subarray(0, MIB))).toBe(true)
  })

  web('answers for a handler that fails, and refuses what is no request', async ({ tab, native, id }) => {
    const port = await serve(tab, native, id)
    const failed = await ask(port, '/throw')
    expect([failed.status, failed.body.toString()]).toEqual([500, 'the handler failed\n'])
    expect(await tab.evaluate(() => (window as unknown as { told: string[] }).told)).toEqual([
      expect.stringMatching(/^handler of \/x\/app\d+\/http: Error: on purpose$/),
    ])
    expect((await ask(port, '/', { method: 'TRACE' })).status).toBe(501)
    expect(
      (await ask(port, '/', { headers: { 'transfer-encoding': 'gzip', 'content-type': 'a' }, method: 'POST' })).status,
    ).toBe(501)
    expect((await ask(port, '/', { headers: { big: 'x'.repeat(70_000) } })).status).toBe(431)
    expect((await ask(port, '/still')).status).toBe(200)
  })

  web('gives the handler a Request with all headers, in clones, too', async ({ tab, native, id }) => {
    const protocol = `/x/app${++names}/http`
    await tab.evaluate(async (protocol) => {
      await window.tombolo!.serve(protocol, async (request) => {
        const names = ['cookie', 'host', 'origin', 'x-own', 'content-type']
        const of = (r: Request) => names.map((name) => r.headers.get(name))
        const copy = new Request(request.clone())
        const form = await request.clone().formData()
        return Response.json({
          url: request.url.replace(/^http:\/\/[^/]*/, ''),
          headers: [of(request), of(request.clone())],
          copied: [copy.headers.get('x-own'), (await copy.blob()).type, form.get('a')],
          bytes: [...request.headers.get('x-bytes')!].map((c) => c.charCodeAt(0)),
        })
      })
    }, protocol)
    const port = Number((await native.call<string>('forward', protocol, id)).split('/').at(-1))
    const headers = {
      cookie: 'a=1',
      host: 'some.example',
      origin: 'http://o',
      'x-own': 'yes',
      'content-type': 'application/x-www-form-urlencoded',
    }
    const all = Object.values(headers)
    const told = await ask(port, '//admin/x', {
      method: 'POST',
      headers: { ...headers, 'x-bytes': '\x80\x9f\xe9' },
      body: Buffer.from('a=b'),
    })
    expect(told.status, told.body.toString()).toBe(200)
    expect(JSON.parse(told.body.toString())).toEqual({
      url: '//admin/x',
      headers: [all, all],
      copied: ['yes', 'application/x-www-form-urlencoded', 'b'],
      bytes: [0x80, 0x9f, 0xe9],
    })
  })

  web('aborts the signal of a handler that waits when its caller gives up', async ({ tab, native, id }) => {
    const protocol = `/x/app${++names}/http`
    await tab.evaluate(async (protocol) => {
      const record = window as unknown as { asked: number; gone: number; wanted: number }
      Object.assign(record, { asked: 0, gone: 0, wanted: 0 })
      await window.tombolo!.serve(protocol, (request) => {
        const { pathname } = new URL(request.url)
        request.signal.addEventListener('abort', () => record.gone++)
        record.asked++
        if (pathname === '/wait') return new Promise<Response>(() => {})
        return new Response(new ReadableStream({ start: (c) => c.enqueue(new Uint8Array([1])) }))
      })
    }, protocol)
    for (const path of ['/wait', '/idle']) {
      await tab.evaluate(() => (window as unknown as { wanted: number }).wanted++)
      const addr = await native.call<string>('forward', protocol, id)
      const req = request({ host: '127.0.0.1', port: Number(addr.split('/').at(-1)), path })
      req.on('error', () => {})
      req.on('response', (res) => res.on('error', () => {}).resume())
      req.end()
      await tab.waitForFunction(() => {
        const { asked, wanted } = window as unknown as { asked: number; wanted: number }
        return asked === wanted
      })
      req.socket!.resetAndDestroy()
      await tab.waitForFunction(() => {
        const { gone, wanted } = window as unknown as { gone: number; wanted: number }
        return gone === wanted
      })
    }
  })

  web('tells the handler when its caller is gone', async ({ tab, native, id }) => {
    const port = await serve(tab, native, id)
    const req = request({ host: '127.0.0.1', port, path: '/never' })
    req.on('error', () => {})
    req.end()
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    res.on('error', () => {})
    await once(res, 'data')
    req.destroy()
    await tab.waitForFunction(() => (window as unknown as { aborted?: number }).aborted === 1)
    expect((await ask(port, '/still')).status).toBe(200)
  })
})
