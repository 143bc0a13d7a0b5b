import { chromium, type Page } from '@playwright/test'
import { expect, joined, ownId, test as base } from './support/fixtures.js'
import { Internet } from './support/internet.js'
import { Daemon, Relay } from './support/peers.js'

// A tab and a daemon on two machines, each behind a router that refuses inbound connections, and a relay on the internet that both reach.

const test = base.extend<{ internet: Internet }>({
  internet: async ({}, use) => {
    const internet = await Internet.make().catch((error: Error) => error)
    if (internet instanceof Error) {
      test.skip(true, `no network behind a router can be made here: ${internet.message}`)
      return
    }
    await use(internet)
    internet.end()
  },
})

/** Returns how the page's node reaches a peer. */
function reached(page: Page, peer: string): Promise<string | undefined> {
  return page.evaluate(
    async (peer) => (await window.tombolo!.peers()).find(({ id }) => id === peer)?.transport as string | undefined,
    peer,
  )
}

/** Returns the number of failed attempts at a direct connection. */
function failures(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const { failed } = (await window.tombolo!.stats()).direct
    return Object.values(failed).reduce((sum, n) => sum + n, 0)
  })
}

async function echo(page: Page, peer: string): Promise<void> {
  const back = await page.evaluate(async (peer) => {
    const { readable, writable } = await window.tombolo!.open(peer, '/tombolo/echo/1.0.0', {
      allowCustomProtocol: true,
    })
    const [, text] = await Promise.all([new Blob(['hello']).stream().pipeTo(writable), new Response(readable).text()])
    return text
  }, peer)
  expect(back).toBe('hello')
}

for (const { ports, way } of [
  { ports: 'kept', way: 'directly, where both routers keep the ports' },
  { ports: 'random', way: "over the relay, where the tab's router is symmetric @long" },
] as const) {
  test(`a tab and a daemon behind routers reach each other ${way}`, async ({ internet }, info) => {
    const relay = await Relay.startIn(internet.within)
    const url = `http://5.0.0.1:${relay.port}/`
    const behind = await internet.behindRouter('kept')
    const logged = [...behind, 'sh', '-c', 'exec "$0" "$@" 2>&1'] // includes its log
    const flags = ['--direct', 'auto', '--listen', '/ip4/0.0.0.0/tcp/0', '--log-level', 'info'] // an address that no tab can dial
    const daemon = await Daemon.startIn(logged, url, ...flags)
    const { executablePath, args } = info.project.use.launchOptions!
    const browser = await chromium.launch({
      executablePath: internet.program(await internet.behindRouter(ports), executablePath!),
      args: [...args!, `--unsafely-treat-insecure-origin-as-secure=${new URL(url).origin}`], // as with HTTPS
    })
    try {
      const settled = async (page: Page, failed: () => Promise<unknown>) => {
        if (ports === 'random') await failed()
        await expect.poll(() => reached(page, daemon.id)).toBe(ports === 'kept' ? 'webrtc' : 'circuit')
        await echo(page, daemon.id)
      }
      const tab = await browser.newPage()
      await tab.goto(`${url}?direct=auto`)
      await joined(tab)
      await tab.evaluate((peer) => window.tombolo!.connect(peer), daemon.id)
      await echo(tab, daemon.id)
      await settled(tab, () => expect.poll(() => failures(tab)).toBeGreaterThan(0))

      // The other way round: the daemon opens the connection.
      const other = await (await browser.newContext()).newPage()
      await other.goto(`${url}?direct=auto`)
      await joined(other)
      const id = await ownId(other)
      await daemon.run('ping', id)
      expect(await reached(other, daemon.id)).toBe('circuit')
      await daemon.run('send', id, 'word', 'hello')
      await settled(other, () => daemon.program.lines(new RegExp(`no direct connection.* peer=${id} `)))
      await daemon.run('ping', id)
    } finally {
      await browser.close()
      await daemon.stop()
      await relay.stop()
    }
  })
}
