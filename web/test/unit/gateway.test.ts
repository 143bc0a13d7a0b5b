import assert from 'node:assert/strict'
import { test } from 'node:test'
import { serveGateway } from '../../src/gateway/gateway.js'
import { PEER } from './support/tcp.js'

const node = { fetch: () => Promise.resolve(new Response()) }
const BELOW = `https://app.example/p2p/${PEER}/x/site/http`

// What the gateway needs of a page.
const worker = Object.assign(new EventTarget(), { state: 'activated', postMessage() {} })
const register = () => Promise.resolve({ active: worker, installing: null, waiting: null })
for (const [name, value] of Object.entries({
  location: new URL('https://app.example/'),
  window: new EventTarget(),
  navigator: { serviceWorker: Object.assign(new EventTarget(), { startMessages() {}, register }) },
})) {
  Object.defineProperty(globalThis, name, { value, configurable: true })
}

test('the address of a path stays within the service', async (t) => {
  const gateway = await serveGateway(node)
  t.after(() => gateway.close())
  const cases: [string, string][] = [
    ['/', '/'],
    ['//admin/a%2Fb?q#f', '//admin/a%2Fb?q#f'],
    ['/a/../b', '/b'],
    ['/../../other/http/secret', '/other/http/secret'],
    ['/%2e%2e/%2E./..\\settings', '/settings'],
    ['/é?é#é', '/%C3%A9?%C3%A9#%C3%A9'],
  ]
  for (const [path, to] of cases) {
    const url = await gateway.url(PEER, '/x/site/http', path)
    assert.equal(url, BELOW + to)
    assert.equal(new URL(url).href, url)
  }
})

test('an address of what is no peer, no service or no path is refused', async (t) => {
  const gateway = await serveGateway(node)
  t.after(() => gateway.close())
  const cases: unknown[][] = [
    ['../..', '/x/site/http'],
    [undefined, '/x/site/http'],
    [PEER, '/x/site'],
    [PEER, '/x/\ud800/http'],
    [PEER, '/x/site/http', 'a'],
    [PEER, '/x/site/http', new URL('http://a/b')],
  ]
  for (const args of cases) {
    await assert.rejects(gateway.url(...(args as [string, string])), { name: 'TomboloError', code: 'argument' })
  }
})

test('an option of the gateway of the wrong kind is refused with a code', async () => {
  const cases: unknown[] = [
    null,
    { scriptUrl: 'http://[' },
    { origin: 'sites.app.example' },
    { origin: '*.app.example' },
    { origin: 'sites.app.example:8080' },
    { origin: null },
  ]
  for (const options of cases) {
    await assert.rejects(serveGateway(node, options as object), { name: 'TomboloError', code: 'option' })
  }
})
