import { expect, join, joined, ownId, peerRow, test } from './support/fixtures.js'

test('the page fetches the program and asks the relay once each, as its HTML says', async ({ page, relay }) => {
  const asked: string[] = []
  page.on('request', (request) => asked.push(new URL(request.url()).pathname))
  await join(page, relay.url)
  for (const wanted of [/tombolo-[^.]*\.wasm$/, /^\/\.well-known\/tombolo$/]) {
    const paths = asked.filter((path) => wanted.test(path))
    expect(paths).toHaveLength(1)
    const by = (path: string) =>
      performance
        .getEntriesByName(location.origin + path)
        .map((entry) => (entry as PerformanceResourceTiming).initiatorType)
    expect(await page.evaluate(by, paths[0]!)).toContain('link')
  }
})

test('the session to the relay is on its way before the program has started, which takes that one', async ({
  page,
  relay,
}) => {
  await page.addInitScript(() => {
    const seen: string[] = []
    Object.assign(window, { seen })
    const { WebTransport, WebAssembly } = window
    window.WebTransport = class extends WebTransport {
      constructor(url: string | URL, options?: WebTransportOptions) {
        super(url as string, options)
        seen.push(String(url))
      }
    }
    const { instantiate } = WebAssembly as unknown as { instantiate(...args: unknown[]): Promise<unknown> }
    Object.assign(WebAssembly, {
      instantiate(...args: unknown[]) {
        seen.push('program')
        return instantiate(...args)
      },
    })
  })
  await join(page, `${relay.url}?transport=webtransport&worker=none`)
  const seen = await page.evaluate(() => (window as unknown as { seen: string[] }).seen)
  expect(seen[0]).toMatch(/^https:.*libp2p-webtransport/)
  expect(seen).toContain('program')
  const sessions = seen.filter((what) => what !== 'program')
  expect(new Set(sessions).size).toBe(sessions.length) // no session is begun twice
})

test('a tab joins the relay that serves its page, over WebTransport', async ({ page, relay }) => {
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  const id = await join(page, `${relay.url}?transport=webtransport#mesh`)
  expect(id).toMatch(/^12D3KooW/)
  await expect(page.locator('#relay-transport')).toHaveText('WebTransport')
  await expect(peerRow(page, relay.id)).toHaveAttribute('data-transport', 'webtransport')
  await expect(peerRow(page, relay.id)).toContainText('tombolo-relay')
  await expect(page.locator('#circuit-addr')).toContainText(`${relay.id}/p2p-circuit/p2p/${id}`)
  expect(errors).toEqual([])
})

test('a tab told to use WebSocket joins over WebSocket', async ({ page, relay }) => {
  await join(page, `${relay.url}?transport=websocket#mesh`)
  await expect(page.locator('#relay-transport')).toHaveText('WebSocket')
  await expect(peerRow(page, relay.id)).toHaveAttribute('data-transport', 'websocket')
})

test('a tab opened with a peer in its address finds that peer behind the relay', async ({ page, relay, daemon }) => {
  await join(page, `${relay.url}?peer=${daemon.id}#mesh`)
  const row = peerRow(page, daemon.id)
  await expect(row).toContainText('tombolo/')
  await expect(row).toContainText(/\d ms/)
})

test('two tabs keep two identities, and each has its own again after a reload', async ({ page, context, relay }) => {
  const first = await join(page, relay.url)
  const other = await context.newPage()
  const second = await join(other, relay.url)
  expect(second).not.toBe(first)
  for (const [tab, id] of [
    [page, first],
    [other, second],
  ] as const) {
    await tab.reload()
    await joined(tab)
    expect(await ownId(tab)).toBe(id)
  }
})

test('a page that is not a secure context says so, and joins over WebSocket', async ({ page, relay }) => {
  await join(page, `http://insecure.test:${relay.port}/`)
  await expect(page.locator('.problem[data-kind=insecure]')).toContainText('not opened over a secure connection')
  await expect(page.locator('#relay-transport')).toHaveText('WebSocket')
  await expect(page.locator('.self')).toContainText('new at each load')
})
