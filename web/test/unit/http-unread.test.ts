import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import { fetchPort, listen } from './support/tcp.js'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const LARGE = 4 << 20 // more than a connection of this machine takes by itself

/** Starts a server that answers with the body that the path names. `open` holds its connections. */
async function serveBodies(t: { after(f: () => void): void }) {
  const open = new Set<Socket>()
  const bodies: Record<string, (res: ServerResponse) => void> = {
    '/short': (res) => void res.writeHead(404, { 'content-length': 1000 }).end('x'.repeat(1000)),
    '/chunked': (res) => void (res.write('x'), res.end('y')),
    '/large': (res) => void res.end(Buffer.alloc(LARGE)),
    '/idle': (res) => void res.write('data: 1\n\n'),
    '/gzip': (res) => void res.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(LARGE * 16))),
  }
  const http = createServer((req, res) => bodies[req.url!]!(res))
  http.on('connection', (socket) => {
    open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => open.delete(socket))
  })
  return { port: await listen(http, t), open }
}

const round = () => new Promise((resolve) => setImmediate(resolve))

test('a short body that nobody reads ends its stream, and can still be read', async (t) => {
  const { port, open } = await serveBodies(t)
  for (const [path, length] of [
    ['/short', 1000],
    ['/chunked', 2],
  ] as const) {
    const response = await fetchPort(port, path)
    for (const socket of open) await once(socket, 'close')
    assert.equal((await response.text()).length, length)
  }
  const stop = new AbortController()
  const response = await fetchPort(port, '/short', { signal: stop.signal })
  for (const socket of open) await once(socket, 'close')
  stop.abort(new Error('on purpose'))
  await assert.rejects(response.text(), /on purpose/)
})

test('a body that is dropped unread is given up when it is garbage-collected', { timeout: 60_000 }, async (t) => {
  const { port, open } = await serveBodies(t)
  for (const path of ['/large', '/idle', '/gzip']) {
    for (let i = 0; i < 5; i++) await fetchPort(port, path)
    for (let i = 0; i < 5; i++) await (await fetchPort(port, path)).body!.getReader().read()
    while (open.size > 0) {
      collect()
      await round()
    }
  }
})

test('a body that a program holds in any form is not given up', async (t) => {
  const { port } = await serveBodies(t)
  const held = await fetchPort(port, '/large')
  const { body } = await fetchPort(port, '/large')
  const reader = (await fetchPort(port, '/large')).body!.getReader()
  const clone = (await fetchPort(port, '/large')).clone()
  for (let i = 0; i < 20; i++) {
    collect()
    await round()
  }
  let read = 0
  for (let part; !(part = await reader.read()).done;) read += part.value.length
  const lengths = [held, new Response(body), clone].map(async (each) => (await each.blob()).size)
  assert.deepEqual([read, ...(await Promise.all(lengths))], [LARGE, LARGE, LARGE, LARGE])
})
