import { expect } from '../support/fixtures.js'
import { connections, create, type Lab, test, through, TRANSPORTS } from '../support/lifecycle.js'

// Tests that take as long as keep-alives and the timeouts of browsers. See ../lifecycle.spec.ts.

declare const window: Lab

/** The longest that a connection may outlive its node on the relay, 40 s, plus some seconds for a busy machine. */
const KEEP_ALIVE = 50_000
const BACK = 20_000

/** Flags with which automation keeps hidden pages at full speed. */
const unthrottled = [
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
]

for (const transport of TRANSPORTS) {
  test.describe(transport, () => {
    test('a machine that sleeps leaves nothing on the relay for long, and its node is back when it wakes', async ({
      own,
      server,
      counting,
      testPeer,
    }) => {
      test.setTimeout(3 * 60_000)
      const page = await own.newPage()
      const id = await create(page, server.url, { relays: [counting.addr(transport)] })
      const wake = await own.freeze()
      await connections(counting, 0, KEEP_ALIVE)
      wake()
      await connections(counting, 1, BACK)
      await expect.poll(() => page.evaluate(() => window.heard)).toEqual(['relay:lost', 'relay:reserved'])
      const to = through(counting, id)
      expect(await testPeer.echo(to, 1000, { protocol: '/x/echo' })).toMatchObject({ ok: true, relayed: true })
    })

    test('a page that is stuck, while its browser lives, leaves nothing on the relay for long', async ({
      own,
      server,
      counting,
    }) => {
      test.setTimeout(3 * 60_000)
      await create(await own.newPage(), server.url, { relays: [counting.addr(transport)] })
      const unstick = await own.freezePages()
      await connections(counting, 0, KEEP_ALIVE)
      unstick()
      await connections(counting, 1, BACK)
    })

    test.describe('hidden', () => {
      test.use({
        flags: { without: unthrottled, args: ['--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/10'] },
      })

      test('a page keeps its connection and its speed', async ({ own, server, counting, testPeer }) => {
        test.setTimeout(5 * 60_000)
        const page = await own.newPage()
        const id = await create(page, server.url, { relays: [counting.addr(transport)] })
        await (await own.newPage()).show()
        expect(await page.evaluate(() => document.visibilityState)).toBe('hidden')
        for (let minute = 0; minute < 2; minute++) {
          await new Promise((resolve) => setTimeout(resolve, 60_000)) // the promise is that nothing happens meanwhile
          const to = through(counting, id)
          expect(await testPeer.echo(to, 1000, { protocol: '/x/echo' })).toMatchObject({ ok: true, relayed: true })
          await testPeer.disconnect(to)
        }
        expect(await page.evaluate(() => window.heard)).toEqual([])
        expect(await counting.counted('tombolo_ghosts_total')).toBe(0)
        // More than the platform queues: its sender waits, and for 25 s if it uses a timer.
        const took = await page.evaluate(async (relay) => {
          const began = performance.now()
          await window.node.echo(relay, new Uint8Array(32 << 20))
          return performance.now() - began
        }, counting.id)
        expect(took).toBeLessThan(10_000)
      })
    })
  })
}

test('a page that is loaded fifty times is one peer of the relay, and leaves it', async ({ own, server, counting }) => {
  test.setTimeout(6 * 60_000)
  const page = await own.newPage()
  const ids = new Set<string>()
  for (let i = 0; i < 50; i++) {
    const transport = TRANSPORTS[i % 2]!
    ids.add(await create(page, server.url, { relays: [counting.addr(transport)], identity: 'persistent' }))
    await connections(counting, 1, 5_000)
  }
  expect(ids.size).toBe(1)
  await page.close()
  await connections(counting, 0, 5_000)
})
