// A node's program is in two files: the part that starts, and the rest, which is loaded once the node is connected or needs it.
import { existsSync } from 'node:fs'
import type { Page, Route } from '@playwright/test'
import { expect, test } from './support/fixtures.js'

const REST = '**/tombolo.rest.wasm'

test.skip(!existsSync(new URL('../dist/npm/tombolo.rest.wasm', import.meta.url)), 'the program is in one file')

test.beforeEach(async ({ page, server }) => {
  await page.goto(server.url)
})

/** Creates a node in the page, calls a function that is not in the first file, and returns the outcome. */
function look(page: Page, options: object): Promise<{ listed?: unknown; error?: string; restarts?: string[] }> {
  return page.evaluate(async (options) => {
    const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
    const told = (error: unknown) => ({ error: `${(error as { code?: string }).code}: ${(error as Error).message}` })
    try {
      const node = await createNode(options)
      const restarts: string[] = []
      node.addEventListener('restart', ({ detail }) => restarts.push(detail.reason))
      const result = await node.world.list().then((listed) => ({ listed }), told)
      await node.close()
      return { ...result, restarts }
    } catch (error) {
      return told(error)
    }
  }, options)
}

for (const transport of ['webtransport', 'websocket'] as const) {
  test(`a node that connects over ${transport} at once does so without the rest of its program`, async ({
    page,
    relay,
  }) => {
    await page.route(REST, () => {}) // requests until then wait forever
    const kind = { webtransport: '/webtransport/', websocket: '/ws/' }[transport]
    const addr = relay.addrs.find((addr) => addr.includes(kind))!
    const connected = await page.evaluate(
      async ([transport, addr]) => {
        const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
        const node = await createNode({ relays: [], transports: [transport] })
        return node.connect(addr, { signal: AbortSignal.timeout(60_000) })
      },
      [transport, addr] as const,
    )
    expect(addr).toContain(connected)
  })

  test(`a node has its place on a relay over ${transport} without the rest of its program`, async ({
    page,
    relay,
    server,
  }) => {
    // Requests until then wait forever.
    let asked = 0
    await page.route(REST, () => void asked++)
    for (const identity of ['persistent', 'persistent', 'ephemeral'] as const) {
      await page.goto(server.url)
      await page.evaluate(
        async ([relay, transport, identity]) => {
          const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
          const node = await createNode({ relays: [relay], transports: [transport], identity })
          const reserved = new Promise((resolve) => node.addEventListener('relay:reserved', resolve))
          await node.subscribe('chat')
          await node.respond('stat', async () => new Uint8Array())
          await node.listen('/x/echo', () => {})
          await node.presence('chat')
          if ((await node.relays()).length === 0) await reserved
        },
        [relay.url, transport, identity] as const,
      )
    }
    await expect.poll(() => asked, 'then it is fetched').toBeGreaterThan(0)
  })
}

for (const worker of ['dedicated', 'shared', 'none'] as const) {
  test(`what is called in the rest of a program waits for it (${worker})${worker === 'dedicated' ? '' : ' @long'}`, async ({
    page,
    context,
  }) => {
    const asked: number[] = []
    await context.route(REST, async (route) => {
      asked.push(Date.now())
      await new Promise((resolve) => setTimeout(resolve, 300))
      await route.continue()
    })
    expect(await look(page, { worker })).toEqual({ listed: [], restarts: [] })
    if (worker !== 'shared') expect(asked.length).toBeGreaterThan(0) // the test does not see the requests of shared workers
  })
}

const faults: Record<string, [(route: Route) => Promise<void>, RegExp]> = {
  'is not there': [(route) => route.fulfill({ status: 404 }), /tombolo\.rest\.wasm does not exist \(HTTP 404\)/],
  'cannot be fetched': [(route) => route.abort('connectionrefused'), /tombolo\.rest\.wasm could not be fetched/],
  'is no program': [
    (route) => route.fulfill({ contentType: 'application/wasm', body: 'hello' }),
    /not a valid WebAssembly/,
  ],
  'is of another build': [
    (route) => route.fulfill({ contentType: 'application/wasm', body: Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) }),
    /not of the same build as the program/,
  ],
}
for (const [what, [answer, words]] of Object.entries(faults)) {
  test(`a rest that ${what} is told, by the call that wants it, and by a node that is in the page`, async ({
    page,
  }) => {
    await page.route(REST, answer)
    const called = await look(page, {})
    expect(called.error).toMatch(/^(restart|crashed): /)
    expect(called.error).toMatch(words)
    expect((await look(page, { worker: 'none' })).error).toMatch(words)
  })
}

test('a rest that was not there is used when it is', async ({ page }) => {
  await page.route(REST, (route) => route.fulfill({ status: 404 }), { times: 1 })
  expect((await look(page, { worker: 'none' })).error).toMatch(/^wasm-not-found/)
  expect(await look(page, { worker: 'none' })).toEqual({ listed: [], restarts: [] })
})
