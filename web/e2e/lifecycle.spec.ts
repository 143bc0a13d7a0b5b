import { connections, create, type Lab, newIdentity, test, through, TRANSPORTS } from './support/lifecycle.js'
import { expect, LONG } from './support/fixtures.js'
import { NodeTab } from './support/node-tab.js'
import { Way } from './support/way.js'

// What happens to a node when its page is left, frozen or killed, when its network changes, and when its machine sleeps. Tests that take as
// long as a keep-alive are in long/lifecycle.spec.ts.

declare const window: Lab

/**
 * Shorter than any keep-alive, the shortest of which takes 30 s, and long enough for a busy machine: a node that disappears within it said
 * goodbye.
 */
const AT_ONCE = 20_000
/** The relay's keep-alive, plus some seconds for a busy machine. */
const KEEP_ALIVE = 50_000

/**
 * How long a page that is frozen, or in the back/forward cache, may take to disappear: its worker may be frozen before it has read the
 * page's message.
 */
const goodbye = () => (test.info().project.metadata['worker'] === 'none' ? AT_ONCE : KEEP_ALIVE)

for (const transport of TRANSPORTS) {
  const seldom = transport === '/ws/' ? ' @long' : ''
  test.describe(transport, () => {
    test(`a page that is frozen leaves nothing on the relay, and its node is back with it${seldom}`, async ({
      own,
      server,
      counting,
      testPeer,
    }) => {
      const page = await own.newPage()
      const id = await create(page, server.url, { relays: [counting.addr(transport)] })
      await (await own.newPage()).show() // only hidden pages are ever frozen
      await page.send('Page.setWebLifecycleState', { state: 'frozen' })
      await connections(counting, 0, goodbye())
      await page.send('Page.setWebLifecycleState', { state: 'active' })
      await connections(counting, 1, AT_ONCE)
      await expect.poll(() => page.evaluate(() => window.heard)).toEqual(['relay:lost', 'relay:reserved'])
      expect(await page.evaluate(() => window.node.id)).toBe(id)
      const to = through(counting, id)
      expect(await testPeer.echo(to, 1000, { protocol: '/x/echo' })).toMatchObject({ ok: true, relayed: true })
    })

    test('a page whose process is killed leaves nothing on the relay', async ({ own, server, counting }) => {
      await create(await own.newPage(), server.url, { relays: [counting.addr(transport)] })
      await connections(counting, 1, AT_ONCE)
      await own.killPages()
      await connections(counting, 0, AT_ONCE)
      expect(await counting.counted('tombolo_ghosts_total'), 'its browser said goodbye').toBe(0)
    })

    test(`a node whose connection died unseen is back as soon as the network is${seldom}`, async ({
      page,
      context,
      server,
      counting,
      testPeer,
    }) => {
      const way = await Way.to(counting.addr(transport))
      try {
        const id = await create(page, server.url, { relays: [way.addr] })
        way.cut()
        await context.setOffline(true)
        await context.setOffline(false)
        await page.waitForFunction(() => window.heard.at(-1) === 'relay:reserved', undefined, { timeout: 15_000 })
        expect(await page.evaluate(() => window.heard)).toEqual(['relay:lost', 'relay:reserved'])
        expect(await testPeer.ping(through(counting, id))).toMatchObject({ ok: true, relayed: true })
        await connections(counting, 2, 10_000) // the tab's new one and the test peer's: the old one was detected as dead
      } finally {
        way.stop()
      }
    })

    test(`who takes the place of a tab that sleeps is called, and not its ghost${seldom}`, async ({
      own,
      server,
      counting,
      testPeer,
    }) => {
      const identity = newIdentity()
      const page = await own.newPage()
      const id = await create(page, server.url, { relays: [counting.addr(transport)], identity })
      const thaw = await own.freeze()
      const node = new NodeTab()
      try {
        expect(await node.create({ relays: [counting.addr('/ws/')], identity })).toBe(id)
        expect(await testPeer.echo(through(counting, id), 1000, { timeout: '4s' })).toMatchObject({
          ok: true,
          relayed: true,
        })
        await connections(counting, 2, 10_000) // the new node's and the test peer's
        expect(await counting.counted('tombolo_ghosts_total')).toBe(1)
      } finally {
        await node.close()
        thaw()
        await testPeer.disconnect(counting.addr('/ws/'))
      }
    })
  })
}

test.describe('left, where the browser keeps pages', () => {
  test.use({ flags: { without: ['--disable-back-forward-cache'] } })
  // The page's shared worker waits for a lock to learn when the page is gone, so the browser discards the page.
  test.skip(() => test.info().project.name === 'shared', 'a page with a shared node is not kept')

  for (const identity of ['ephemeral', 'persistent'] as const) {
    for (const transport of TRANSPORTS) {
      if (!LONG && (identity === 'ephemeral' || transport === '/ws/')) continue // without a goodbye, each takes most of a minute
      test(`a page leaves nothing on the relay, and is the same when one goes back to it (${identity}, ${transport})`, async ({
        own,
        server,
        counting,
        testPeer,
      }) => {
        const page = await own.newPage()
        const id = await create(page, server.url, { relays: [counting.addr(transport)], identity })
        server.told.length = 0
        await page.evaluate(() => {
          const tell = (what: string) => void fetch('/told', { method: 'POST', body: `${what} ${window.node.id}` })
          addEventListener('pageshow', ({ persisted }) => tell(persisted ? 'restored' : 'shown'))
          window.node.addEventListener('relay:reserved', () => tell('reserved'))
        })
        await page.goto(`${counting.url}healthz`)
        await connections(counting, 0, goodbye())
        await page.evaluate(() => void setTimeout(() => history.back())) // after this has been answered
        await expect.poll(() => [...server.told].sort()).toEqual([`reserved ${id}`, `restored ${id}`])
        const answer = await testPeer.echo(through(counting, id), 1000, { protocol: '/x/echo' })
        expect(answer).toMatchObject({ ok: true, relayed: true })
      })
    }
  }

  test('a page gives its identity to the next one of its origin', async ({ own, server, counting }) => {
    const page = await own.newPage()
    const options = { relays: [counting.addr('/ws/')], identity: 'persistent' as const }
    const id = await create(page, server.url, options)
    expect(await create(page, `${server.url}?next`, options)).toBe(id)
    await connections(counting, 1, AT_ONCE)
  })
})

test('a page that is loaded again is the same peer, and the only one', async ({ page, server, counting }) => {
  const options = { relays: [counting.addr('/webtransport/')], identity: 'persistent' as const }
  const id = await create(page, server.url, options)
  for (let i = 0; i < 3; i++) {
    expect(await create(page, server.url, options)).toBe(id)
    await connections(counting, 1, AT_ONCE)
  }
  await page.close()
  await connections(counting, 0, AT_ONCE)
})

test('fifty nodes of a page, one after the other, leave nothing behind', async ({ own, server, counting }) => {
  test.skip(!LONG, 'takes most of a minute: make test-long')
  const page = await own.newPage()
  await page.goto(server.url)
  await page.send('Performance.enable')
  const { worker } = test.info().project.metadata
  const options = { relays: [counting.addr('/webtransport/')], worker: (worker ?? 'none') as 'dedicated' | 'none' }
  for (let i = 0; i < 5; i++) {
    await page.evaluate(async (options) => {
      const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
      for (let i = 0; i < 10; i++) {
        const node = await createNode(options)
        if ((await node.relays()).length === 0) {
          await new Promise((resolve) => node.addEventListener('relay:reserved', resolve, { once: true }))
        }
        await node.close()
      }
    }, options)
    await connections(counting, 0, AT_ONCE)
  }
  await page.send('HeapProfiler.collectGarbage')
  const { metrics } = await page.send<{ metrics: { name: string; value: number }[] }>('Performance.getMetrics')
  const listeners = metrics.find(({ name }) => name === 'JSEventListeners')!.value
  expect(listeners, 'a node that is held by what outlives it has several').toBeLessThan(100)
})
