import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { askAhead } from '../../src/ask.js'

/** Serves a relay's page. Resolves to its URL, and to the paths that were requested. */
async function page(t: TestContext, status: number, body: string) {
  const paths: string[] = []
  const server = createServer((req, res) => {
    paths.push(req.url!)
    res.writeHead(status).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, paths }
}

const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes)

test('the answer of a relay is handed out once, and one that is no use not at all', async (t) => {
  const relay = await page(t, 200, '{"peerId":"x"}')
  const asked = askAhead([`${relay.url}/`])!
  const at = `${relay.url}/.well-known/tombolo`
  assert.equal(text(await asked(at)), '{"peerId":"x"}')
  assert.equal(await asked(at), undefined)
  assert.deepEqual(relay.paths, ['/.well-known/tombolo'])
  for (const [status, body] of [
    [404, 'no'],
    [200, 'x'.repeat((64 << 10) + 1)],
  ] as const) {
    const other = await page(t, status, body)
    assert.equal(await askAhead([other.url])!(`${other.url}/.well-known/tombolo`), undefined)
  }
  assert.equal(await askAhead(['http://127.0.0.1:1'])!('http://127.0.0.1:1/.well-known/tombolo'), undefined)
})

test('relays are asked as the node will: two of those that are URLs', async (t) => {
  const relays = await Promise.all([1, 2, 3].map(() => page(t, 200, '{}')))
  const asked = askAhead(['/ip4/127.0.0.1/tcp/1/ws', ...relays.map(({ url }) => url), relays[0]!.url])!
  await Promise.all(relays.map(({ url }) => asked(`${url}/.well-known/tombolo`)))
  const first = relays.map(({ url }) => url).sort()
  for (const { url, paths } of relays) assert.equal(paths.length, first.indexOf(url) < 2 ? 1 : 0)
})

test('what is no relay with a URL is left to the program', () => {
  for (const relays of [
    undefined,
    null,
    'http://localhost',
    [],
    [1],
    ['ftp://x'],
    ['http://'],
    ['/ip4/127.0.0.1/tcp/1'],
  ])
    assert.equal(askAhead(relays), undefined)
})
