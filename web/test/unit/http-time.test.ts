import assert from 'node:assert/strict'
import { test } from 'node:test'
import { leadOut } from '../../src/gateway/references.js'
import { MessageReader } from '../../src/http/wire.js'
import { fetchPort, answerWith, exchange, PEER, serve } from './support/tcp.js'
import { bytes, pieces } from './support/bytes.js'

/** Nearly as much as a head may hold, in characters. */
const N = 65_000
const spaces = ' '.repeat(N)

/** Fails if `f` takes CPU time in the square of N, which would be several seconds. What is linear takes some milliseconds. */
async function assertLinear(what: string, f: () => unknown): Promise<void> {
  const before = process.cpuUsage()
  await f()
  const { user, system } = process.cpuUsage(before)
  assert.ok(user + system < 1_000_000, `${what}: ${(user + system) / 1000} ms of CPU`)
}

test('no header of a request takes a server long to read', async (t) => {
  const { port } = await serve(t, () => new Response('ok'))
  for (const field of ['A: ', 'A: x', 'Connection: x', 'Transfer-Encoding: x']) {
    const sent = `GET / HTTP/1.1\r\nHost: x\r\n${field}${spaces}x, close\r\n\r\n`
    await assertLinear(field, () => exchange(port, sent))
  }
  const chunked = `Transfer-Encoding: ${'chunked '.repeat(N / 8 - 10)}`
  await assertLinear('chunked', () => exchange(port, `GET / HTTP/1.1\r\nHost: x\r\n${chunked}\r\n\r\n`))
})

test('no header of a response takes a caller long to read', async (t) => {
  for (const field of ['A: x', 'Content-Encoding: x', 'Content-Length: x', 'A: x\r\n', 'A: \r\n x\r\n']) {
    const port = await answerWith(t, `HTTP/1.1 200 OK\r\n${field}${spaces}x\r\n\r\nok`)
    await assertLinear(field, () => fetchPort(port, '/').then((response) => response.text(), String))
  }
  const folds = await answerWith(t, `HTTP/1.1 200 OK\r\nA: b${'\r\n '.repeat(N / 3 - 10)}\r\n\r\nok`)
  await assertLinear('many folds', async () => assert.equal(await (await fetchPort(folds, '/')).text(), 'ok'))
})

test('no line of a chunked body takes long to read', async () => {
  for (const line of [`3;a${' '.repeat(4000)}x`, `3;a="${'\\"'.repeat(2000)}`, '3' + ';a=a'.repeat(1000) + '=']) {
    const reader = new MessageReader(
      pieces(bytes(`P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n${line}\r\n`)),
      'requests',
    )
    const body = reader.body((await reader.head())!, 1)!
    await assertLinear(line.slice(0, 10), () => assert.rejects(body.getReader().read()))
  }
})

test('no reference of a response takes a gateway long to rewrite', async () => {
  const target = { peer: PEER, protocol: '/http', prefix: `/p2p/${PEER}/http`, path: '/' }
  const values: [string, string][] = [
    ['link', '<'.repeat(N)],
    ['link', '"' + '\\"'.repeat(N / 2)],
    ['link', '<"'.repeat(N / 2)],
    ['link', '"'.repeat(N)],
    ['refresh', `0;url${' '.repeat(N)}"`],
    ['refresh', '\xa0'.repeat(N)],
    ['refresh', `0;url="${"'".repeat(N)}`],
  ]
  for (const [name, value] of values) {
    await assertLinear(`${name}: ${value.slice(0, 10)}`, () =>
      leadOut(new Headers({ [name]: value }), target, new URL('http://localhost/')),
    )
  }
})
