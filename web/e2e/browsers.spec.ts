import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { BrowserTab } from './support/browser-tab.js'
import { CORE, expect, hasWebTransport, join, test } from './support/crossing.js'
import { create, host, type Lab as Harbour, seen, sit, stats, steer } from './support/harbour.js'
import { natively } from './support/messengers.js'

// What the other core specs test with Playwright's own pages, in the browsers that it does not drive: the page that a relay serves, and the
// published package, in a worker that ends.

interface Lab extends Harbour {
  workers: Worker[]
  restarts: string[]
}
declare const window: Lab & typeof globalThis

test('the page joins its relay, tells how, and finds the peer in its address', CORE, async ({ tab, relay, daemon }) => {
  const page = tab as BrowserTab
  const [transport, called] = hasWebTransport() ? ['webtransport', 'WebTransport'] : ['websocket', 'WebSocket']
  const id = await join(page, `${relay.url}?transport=${transport}&peer=${daemon.id}#mesh`)
  expect(id).toMatch(/^12D3KooW/)
  await expect.poll(() => page.text('#relay-transport')).toBe(called)
  await expect.poll(() => page.text('#circuit-addr')).toContain(`${relay.id}/p2p-circuit/p2p/${id}`)
  await expect.poll(() => page.text(`.peer[data-peer="${daemon.id}"]`)).toMatch(/\d ms/)
  await page.reload()
  expect(await page.joined(), 'it is the same peer again').toBe(id)
})

test('a stock peer calls the tab through the circuit and has 1 MiB echoed', CORE, async ({ tab, relay, testPeer }) => {
  const id = await join(tab, relay.url)
  const answer = await testPeer.echo(`${relay.addr('/ws/')}/p2p-circuit/p2p/${id}`, 1 << 20)
  expect(answer).toMatchObject({ ok: true, relayed: true, bytes: 1 << 20 })
})

test(
  'the page joins its relay over WebRTC-direct alone, and is called',
  CORE,
  async ({ tab, relay, testPeer }, info) => {
    test.skip(info.project.name === 'webkit', "WebKitGTK's MiniBrowser has no WebRTC")
    const id = await join(tab, `${relay.url}?transport=webrtc-direct`)
    await expect.poll(() => (tab as BrowserTab).text('#relay-transport')).toBe('WebRTC direct')
    const answer = await testPeer.echo(`${relay.addr('/ws/')}/p2p-circuit/p2p/${id}`, 1 << 20)
    expect(answer).toMatchObject({ ok: true, relayed: true, bytes: 1 << 20 })
  },
)

test(
  'a node whose worker is ended is started again, and is the same',
  CORE,
  async ({ tab, server, relay, testPeer }) => {
    const page = tab as BrowserTab
    await page.goto(server.url)
    const id = await page.evaluate(async (relays) => {
      window.workers = []
      window.Worker = class extends Worker {
        constructor(...args: ConstructorParameters<typeof Worker>) {
          super(...args)
          window.workers.push(this)
        }
      }
      const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
      const node = await createNode({ relays, worker: 'dedicated', identity: 'ephemeral' })
      await node.listen('/x/who', async ({ writable }) => {
        await new Blob(['it is me']).stream().pipeTo(writable)
      })
      window.restarts = []
      node.addEventListener('restart', ({ detail }) => window.restarts.push(detail.reason))
      window.node = node
      return node.id
    }, relay.addrs)
    await page.evaluate(() => window.workers[0]!.terminate())
    await page.waitForFunction(() => window.restarts.length > 0)
    await page.waitForFunction(async () => (await window.node.relays()).length > 0)
    expect(await page.evaluate(() => window.node.id)).toBe(id)
    const answer = await testPeer.identify(`${relay.addr('/ws/')}/p2p-circuit/p2p/${id}`)
    expect(answer.protocols, 'it is called under the id of before').toContain('/x/who')
  },
)

test('a site of a native peer is shown in a frame, and fetched', CORE, async ({ tab, relay, server }) => {
  const page = tab as BrowserTab
  const native = await natively(relay)
  const folder = mkdtempSync(joinPath(tmpdir(), 'tombolo-site-'))
  try {
    const html = '<!doctype html><title>Almanac</title><h1>High water</h1><script type="module" src="app.js"></script>'
    writeFileSync(joinPath(folder, 'index.html'), html)
    writeFileSync(joinPath(folder, 'app.js'), 'document.body.dataset.script = (await import("./part.js")).words')
    writeFileSync(joinPath(folder, 'part.js'), 'export const words = "ran"')
    writeFileSync(joinPath(folder, 'big.bin'), Buffer.alloc(1 << 20, 7))
    await native.call('listen', '/x/site/http', `file:${folder}`, {})
    await page.goto(server.url)
    const shown = await page.evaluate(
      async ([relays, peer]) => {
        const { createNode, serveGateway } = (await import('/index.js' as string)) as typeof import('@tombolo/node')
        const node = await createNode({ relays })
        await node.connect(peer, { signal: AbortSignal.timeout(60_000) })
        const gateway = await serveGateway(node, { trusted: true, scope: '/' })
        const frame = await gateway.frame(peer, '/x/site/http')
        const loaded = new Promise((resolve) => frame.addEventListener('load', resolve, { once: true }))
        document.body.append(frame)
        await loaded
        const site = frame.contentDocument!
        const big = await fetch(`/p2p/${peer}/x/site/http/big.bin`)
        const bytes = new Uint8Array(await big.arrayBuffer())
        const missing = await fetch(`/p2p/${peer}/x/site/http/missing`)
        return {
          words: site.querySelector('h1')?.textContent,
          script: site.body.dataset['script'],
          fetched: [big.status, bytes.length, bytes.every((byte) => byte === 7)],
          missing: missing.status,
        }
      },
      [relay.addrs, native.id] as const,
    )
    expect(shown).toEqual({ words: 'High water', script: 'ran', fetched: [200, 1 << 20, true], missing: 404 })
  } finally {
    await native.stop()
    rmSync(folder, { recursive: true })
  }
})

test(
  'a tab holds a room in which it sees another tab enter, move and leave',
  CORE,
  async ({ tab, driven, server, relay }) => {
    const page = tab as BrowserTab
    const hostId = await create(page, server, relay)
    await host(page, 'quay')
    const own = await sit(page, 'quay')

    const other = new BrowserTab(await driven.newTab())
    await create(other, server, relay)
    const boat = await sit(other, 'quay')
    expect(await other.evaluate(() => window.seat.host)).toBe(hostId)
    await expect.poll(() => seen(page, boat), 'it enters').toEqual({ x: 16, y: 16 })
    await expect.poll(() => seen(other, own)).toEqual({ x: 16, y: 16 })

    await steer(page, 0, -8) // to the edge of the water, which stops boats
    await steer(other, 0, -8)
    await expect.poll(() => seen(page, boat), 'it moves').toEqual({ x: 16, y: 0 })
    await expect.poll(() => seen(other, own)).toEqual({ x: 16, y: 0 })
    await steer(other, 127, 0)
    await expect.poll(() => seen(page, boat), 'it is out of sight').toBeUndefined()
    expect(await stats(page)).toMatchObject({ players: 2, entities: 2 })
    await steer(other, -127, 0)
    await expect.poll(() => seen(page, boat), 'it comes back').toEqual({ x: 0, y: 0 })

    await other.evaluate(() => window.seat.leave())
    await expect.poll(() => seen(page, boat), 'it leaves').toBeUndefined()
    expect(await stats(page)).toMatchObject({ players: 1, entities: 1 })
    await other.close()
  },
)

test('the page holds a world, in which another tab sails by its link', CORE, async ({ tab, driven, relay }) => {
  const click = (tab: BrowserTab, text: string) =>
    tab.evaluate((text) => {
      const buttons = [...document.querySelectorAll('.world button')]
      ;(buttons.find(({ textContent }) => textContent === text) as HTMLElement | undefined)?.click()
    }, text)
  const steers = (tab: BrowserTab, type: 'keydown' | 'keyup') =>
    tab.evaluate((type) => {
      document.querySelector('#sea')!.dispatchEvent(new KeyboardEvent(type, { code: 'ArrowRight', bubbles: true }))
    }, type)
  const holder = new BrowserTab(await driven.newTab())
  await holder.join(new URL(`${relay.url}#play`))
  await expect.poll(() => holder.text('.world-shore .waiting')).toBeTruthy()
  await click(holder, 'Host from this tab')
  await expect.poll(() => holder.text('.world-who')).toContain('held by this tab')

  const page = tab as BrowserTab
  await page.goto((await holder.text('.offer-url'))!)
  await expect.poll(() => page.text('.world-who')).toContain('this tab stands by')
  const seen = () => holder.text('#world-near .world-number')
  await expect.poll(seen).toMatch(/^\d+ \w/)
  // Without a window manager, WebKit is hidden: it draws nothing and cannot be steered.
  if (!(await page.evaluate(() => document.hidden))) {
    const before = await seen()
    await steers(page, 'keydown')
    await expect.poll(seen, 'it sails').not.toBe(before)
    await steers(page, 'keyup')
    await expect.poll(() => page.text('#world-ping')).toMatch(/^\d+(\.\d)? ms/)
  }
  await click(page, 'Bring a hundred bots')
  await expect.poll(() => holder.text('#world-boats')).toBe('102')
  await holder.close()
  await expect.poll(() => page.text('.world-word')).toBe('The host has gone. This tab holds the world now.')
})

for (const worker of ['dedicated', 'shared'] as const) {
  test(
    `two tabs whose nodes are in ${worker} workers go on without the relay`,
    CORE,
    async ({ tab, driven, server, relay }) => {
      const page = tab as BrowserTab
      await page.goto(server.url)
      const candidates = await page.evaluate(async () => {
        if (!('RTCPeerConnection' in globalThis)) return -1
        const pc = new RTCPeerConnection()
        pc.createDataChannel('')
        await pc.setLocalDescription()
        return new Promise<number>((resolve) => {
          let n = 0
          pc.onicecandidate = ({ candidate }) => (candidate?.candidate ? n++ : resolve(n))
          setTimeout(() => resolve(n), 5_000)
        })
      })
      test.skip(candidates < 0, 'this browser has no WebRTC')
      test.skip(candidates === 0, 'this machine has no default route: the browser has no address to tell a peer')
      const other = new BrowserTab(await driven.newTab())
      await other.goto(server.url)
      const start = (page: BrowserTab) =>
        page.evaluate(
          async ({ relays, worker }) => {
            const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
            const node = (window.node = await createNode({ relays, worker, direct: 'auto', identity: 'ephemeral' }))
            await node.listen('/x/echo', (stream) => stream.readable.pipeTo(stream.writable))
            const reserved = new Promise((resolve) => node.addEventListener('relay:reserved', resolve, { once: true }))
            if ((await node.relays()).length === 0) await reserved
            return node.id
          },
          { relays: [relay.url], worker },
        )
      const id = await start(other)
      await start(page)
      const echoed = (size: number) =>
        page.evaluate(
          async ({ id, size }) => {
            const sent = new Uint8Array(size).map((_, i) => (i * 7) % 251)
            const { readable, writable } = await window.node.open(id, '/x/echo')
            const [, back] = await Promise.all([
              new Blob([sent]).stream().pipeTo(writable),
              new Response(readable).arrayBuffer(),
            ])
            const got = new Uint8Array(back)
            return got.length === size && got.every((byte, i) => byte === sent[i])
          },
          { id, size },
        )
      const reached = () =>
        page.evaluate(async (id) => (await window.node.peers()).find((peer) => peer.id === id)?.transport, id)
      expect(await echoed(10)).toBe(true)
      await expect.poll(reached).toBe('webrtc')
      expect(await echoed(1 << 20)).toBe(true)
      await other.close()
    },
  )
}
