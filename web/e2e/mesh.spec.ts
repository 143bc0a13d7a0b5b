import type { Page } from '@playwright/test'
import { expect, goTo, join, tabTo, test } from './support/fixtures.js'
import { Daemon, Relay } from './support/peers.js'

/** Returns the table row for a connection between two peers of the given kind. */
function edge(page: Page, a: string, b: string, way: 'direct' | 'relayed' | 'heard') {
  return page.locator(`#edges tr[data-way=${way}][data-ends="${[a, b].sort().join(' ')}"]`)
}

function berth(page: Page, id: string) {
  return page.locator(`.berth[data-peer="${id}"]`)
}

async function openTable(page: Page): Promise<void> {
  await page.locator('.edges > summary').click()
}

/**
 * Makes the page broadcast something else instead of its reports: each text once, and the last one repeatedly. Undefined restores the
 * reports.
 */
async function tells(page: Page, texts: string[] | undefined): Promise<void> {
  await page.evaluate((texts) => {
    const node = window.tombolo!
    Reflect.deleteProperty(node, 'broadcast')
    if (texts === undefined) return
    const broadcast = node.broadcast.bind(node)
    let next = 0
    node.broadcast = (type, data, options) => {
      if (type !== 'page/connections') return broadcast(type, data, options)
      return broadcast(type, new TextEncoder().encode(texts[Math.min(next++, texts.length - 1)]), options)
    }
  }, texts)
}

function peersOf(page: Page): Promise<string[]> {
  return page.evaluate(async () => (await window.tombolo!.peers()).map(({ id }) => id))
}

test('the mesh shows who is connected to whom and how, what this tab has no part in too, until it ends', async ({
  page,
  context,
  relay,
  daemon,
}) => {
  const own = await join(page, `${relay.url}?transport=webtransport#mesh`)
  await openTable(page)
  await expect(edge(page, own, relay.id, 'direct')).toContainText('WebTransport')

  const second = await context.newPage()
  const b = await join(second, `${relay.url}?transport=websocket&peer=${encodeURIComponent(daemon.addr('/ws/'))}#mesh`)
  const third = await context.newPage()
  const c = await join(third, `${relay.url}?transport=webtransport&peer=${b}#mesh`)

  await expect(edge(page, b, relay.id, 'direct')).toContainText('WebSocket')
  await expect(edge(page, c, relay.id, 'direct')).toContainText('WebTransport')
  await expect(edge(page, b, daemon.id, 'direct')).toContainText('direct, WebSocket')
  await expect(edge(page, b, c, 'relayed')).toContainText(`through this tab’s relay …${relay.id.slice(-8)}`)
  await expect(edge(page, b, c, 'relayed')).toContainText('both say so')
  await expect(berth(page, daemon.id)).toContainText('tombolo/')
  await expect(berth(page, c)).toHaveAttribute(
    'aria-label',
    new RegExp(`^…${c.slice(-8)} tab\\. .*through this tab’s relay`),
  )
  await expect(page.locator('.harbour path.line')).toHaveCount(5)
  await expect(page.locator('.legend')).toContainText('through the relay it passes')
  expect(await peersOf(page), 'looking connects to nobody').toEqual([relay.id])

  const place = await berth(page, b).boundingBox()
  await third.close()
  await expect(edge(page, b, c, 'relayed')).toHaveCount(0)
  await expect(edge(page, c, relay.id, 'direct')).toHaveCount(0)
  await expect(berth(page, c)).toHaveCount(0)
  expect(await berth(page, b).boundingBox(), 'nobody else moves').toEqual(place)
  await second.close()
  await expect(page.locator('.berth')).toHaveCount(2)
})

test('a circuit whose ends find a way of their own becomes a line from one to the other', async ({
  page,
  context,
  relay,
}) => {
  await join(page, `${relay.url}#mesh`)
  await openTable(page)
  const second = await join(await context.newPage(), `${relay.url}?direct=auto`)
  const first = await join(await context.newPage(), `${relay.url}?direct=auto&peer=${second}`) // through the relay
  await expect(edge(page, first, second, 'direct')).toContainText('direct, WebRTC')
  await expect(edge(page, first, second, 'relayed'), 'nothing is left on the circuit').toHaveCount(0)
  await expect(page.locator('.harbour path.line')).toHaveCount(4)
})

test('a mesh of two relays is one picture, though nobody tells of the connection between them @long', async ({
  page,
  browser,
  relay,
}) => {
  const other = await Relay.start('--peer', relay.addr('/ws/'))
  const daemon = await Daemon.start(other)
  const context = await browser.newContext()
  try {
    const own = await join(page, `${relay.url}#mesh`)
    await openTable(page)
    const far = await context.newPage()
    const b = await join(far, `${other.url}?peer=${daemon.id}#mesh`)
    await expect(edge(page, b, other.id, 'direct')).toBeVisible()
    await expect(edge(page, relay.id, other.id, 'heard')).toContainText('connections that nobody tells of')
    await expect(berth(page, daemon.id)).toHaveClass(/native/)
    await expect(berth(page, other.id)).toHaveClass(/relay/)
    await openTable(far)
    await expect(edge(far, own, relay.id, 'direct')).toBeVisible()
    await expect(edge(far, relay.id, other.id, 'heard')).toBeVisible()
  } finally {
    await context.close()
    await daemon.stop()
    await other.stop()
  }
})

test('what a peer sends that is no report changes nothing @long', async ({ page, context, relay }) => {
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  await join(page, `${relay.url}#mesh`)
  await openTable(page)
  const other = await context.newPage()
  const b = await join(other, `${relay.url}#mesh`)
  await expect(edge(page, b, relay.id, 'direct')).toBeVisible()
  // The last text is a valid report, without connections.
  await tells(other, [
    'nonsense',
    'null',
    '{"relays":1,"connections":2}',
    JSON.stringify({
      relays: ['<b>', 7],
      connections: [null, 'x', { peer: '<b>', transport: 'tcp' }, { peer: b, transport: 1 }],
    }),
  ])
  await expect(edge(page, b, relay.id, 'direct')).toHaveCount(0)
  await expect(page.locator('.berth')).toHaveCount(3)
  await tells(other, undefined)
  await expect(edge(page, b, relay.id, 'direct')).toBeVisible()
  await expect(page.locator('.berth')).toHaveCount(3)
  expect(errors).toEqual([])
})

test('a hostile report has a bound in the picture, and is not believed @long', async ({ page, context, relay }) => {
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  const own = await join(page, `${relay.url}#mesh`)
  await openTable(page)
  const other = await context.newPage()
  const b = await join(other, `${relay.url}#mesh`)
  await expect(edge(page, b, relay.id, 'direct')).toBeVisible()
  const invented = (n: number) => `12D3KooW${String(n).padStart(44, 'x')}`
  const claim = { peer: own, transport: 'websocket', relayed: false, agent: '\u202egnp.(js)' }
  const connections = [
    claim,
    claim, // once more, as if both ends had reported it
    { ...claim, transport: 'a transport of its own' },
    { ...claim, transport: 'constructor' },
    ...Array.from({ length: 190 }, (_, n) => ({
      ...claim,
      peer: invented(n),
      relayed: true,
      relay: invented(1000 + n),
    })),
  ]
  await tells(other, [JSON.stringify({ relays: [invented(2000)], connections, more: 1e300, asks: 1e300 })])
  await expect(page.locator('.harbour-left')).toContainText(/\d+ more peers and \d+ more connections are not drawn/)
  expect(await page.locator('.berth').count()).toBeLessThanOrEqual(42)
  expect(await page.locator('.harbour path.line').count()).toBeLessThanOrEqual(150)
  expect((await page.locator('.harbour').boundingBox())!.height).toBeLessThanOrEqual(1100)
  await expect(edge(page, own, relay.id, 'direct'), 'what this tab knows itself has room first').toBeVisible()
  await expect(edge(page, own, b, 'direct')).toHaveText([
    new RegExp(`direct, WebSocket tab …${b.slice(-8)} says so`),
    /direct, other transport tab …\w+ says so/,
  ])
  await expect(page.locator('#edges')).not.toContainText('both say so')
  await expect(page.locator('.mesh')).not.toContainText(/\u202e|of its own.*constructor/)
  // A report that is too large is ignored.
  await tells(other, undefined)
  await expect(page.locator('.berth')).toHaveCount(3)
  await tells(other, [JSON.stringify({ relays: [], connections, padding: 'x'.repeat(70_000) })])
  await expect(berth(page, b), 'it is as if it told nothing').toHaveCount(0)
  expect(errors).toEqual([])
})

test('however often a peer tells, the picture changes twice a second at most @long', async ({
  page,
  context,
  relay,
}) => {
  await join(page, `${relay.url}#mesh`)
  const other = await context.newPage()
  const b = await join(other, `${relay.url}#mesh`)
  await expect(berth(page, b)).toBeVisible()
  await page.evaluate(() => {
    const changes: number[] = []
    Object.assign(window, { changes })
    new MutationObserver(() => changes.push(performance.now())).observe(document.querySelector('.harbour')!, {
      subtree: true,
      childList: true,
    })
  })
  const seconds = await other.evaluate(async () => {
    const begin = performance.now()
    for (let n = 0; performance.now() - begin < 4_000; n++) {
      const peer = `12D3KooW${String(n % 5).padStart(44, 'x')}`
      const connections = [{ peer, transport: 'tcp', relayed: false, agent: '' }]
      const text = JSON.stringify({ relays: [], connections, more: 0, asks: 3_000 })
      await window.tombolo!.broadcast('page/connections', new TextEncoder().encode(text), { wait: true })
    }
    return (performance.now() - begin) / 1_000
  })
  const changes = await page.evaluate(() => (window as unknown as { changes: number[] }).changes)
  expect(changes.length).toBeGreaterThan(0)
  expect(changes.length).toBeLessThanOrEqual(2 * seconds + 2)
})

test('the keyboard alone goes from peer to peer, and to the connections in words', async ({ page, relay, daemon }) => {
  await page.emulateMedia({ reducedMotion: 'reduce' })
  const own = await join(page, `${relay.url}?peer=${encodeURIComponent(daemon.addr('/webtransport/'))}#mesh`)
  await expect(berth(page, daemon.id)).toBeVisible()
  await tabTo(page, '.berth[data-self=true]')
  await expect(berth(page, own)).toBeFocused()
  await expect(page.locator('.line.lit')).toHaveCount(2)
  await page.keyboard.press('ArrowRight')
  await expect(berth(page, relay.id)).toBeFocused()
  await expect(page.locator('.line.lit')).toHaveCount(1)
  await expect(page.locator('.harbour-caption')).toContainText('tombolo-relay/')
  await page.keyboard.press('ArrowRight')
  await expect(berth(page, daemon.id)).toBeFocused()
  await page.keyboard.press('Enter')
  await expect(berth(page, daemon.id)).toHaveAttribute('aria-pressed', 'true')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await expect(edge(page, own, daemon.id, 'direct')).toHaveClass('lit')
  await expect(edge(page, own, relay.id, 'direct')).not.toHaveClass('lit')
  expect(
    await page
      .locator('.line')
      .first()
      .evaluate((line) => getComputedStyle(line).transitionDuration),
  ).toBe('0s')
})

test('what passes between this tab and another is seen on their line, as long as it does', async ({
  page,
  context,
  relay,
}) => {
  const own = await join(page, `${relay.url}#mesh`)
  const other = await context.newPage()
  const b = await join(other, `${relay.url}?peer=${own}`)
  await other.evaluate(async () => {
    await window.tombolo!.listen('/x/flow', async ({ readable }) => {
      await readable.pipeTo(new WritableStream())
    })
  })
  const passing = page.locator(`.line-passing[data-ends="${[own, b].sort().join(' ')}"]`)
  await expect(berth(page, b)).toBeVisible()
  await expect(passing).toHaveCount(0)
  await page.evaluate(async (peer) => {
    const { writable } = await window.tombolo!.open(peer, '/x/flow')
    const writer = writable.getWriter()
    const timer = setInterval(() => void writer.write(new Uint8Array(100)), 200)
    Object.assign(window, { end: () => (clearInterval(timer), writer.close()) })
  }, b)
  await expect(passing).toHaveCount(1)
  await expect(page.locator('.legend')).toContainText('something passes now')
  await page.evaluate(() => (window as unknown as { end(): Promise<void> }).end())
  await expect(passing).toHaveCount(0)
})

test('the focus does not go with a peer that goes @long', async ({ page, context, relay }) => {
  await join(page, `${relay.url}#mesh`)
  const other = await context.newPage()
  const b = await join(other, `${relay.url}#mesh`)
  await berth(page, b).focus()
  await expect(page.locator('.harbour-caption')).toContainText(b.slice(-8))
  await other.close()
  await expect(berth(page, b)).toHaveCount(0)
  await expect(page.locator('.berth:focus')).toHaveCount(1)
})

test('round trips and traffic are plotted, and said in words', async ({ page, context, relay, daemon }) => {
  await join(page, `${relay.url}?peer=${daemon.id}#console`)
  const other = await context.newPage()
  const b = await join(other, `${relay.url}#console`)
  const plot = page.locator(`.plot[data-rtt="${daemon.id}"]`)
  await expect(plot).toContainText(/[\d.]+ ms \(min [\d.]+ ms, max [\d.]+ ms\)/)
  const line = plot.locator('.plot-line')
  const drawn = (await line.getAttribute('d'))!
  await expect(line).not.toHaveAttribute('d', drawn)

  const sent = page.locator('.plot[data-flow=sent] .plot-values')
  await expect(sent).toContainText('B/s')
  await page.evaluate((peer) => window.tombolo!.send(peer, 'plots', new Uint8Array(900_000)), b)
  await expect(sent).toContainText(/max [\d.]+ [kM]B\/s/)
  await expect(other.locator('.plot[data-flow=received] .plot-values')).toContainText(/max [\d.]+ [kM]B\/s/)
})

for (const worker of ['none', 'dedicated']) {
  test(`the log of the node is shown, by level (worker: ${worker})`, async ({ page, relay }) => {
    await join(page, `${relay.url}?log=debug&worker=${worker}#console`)
    await page.locator('#node-log > summary').click()
    const lines = page.locator('#node-log li')
    const made = lines.filter({ hasText: 'reservation made' })
    await expect(made).toHaveAttribute('data-level', 'info')
    await expect(made).toContainText(relay.id)
    await page.getByLabel('Show').selectOption('error')
    await expect(made).toHaveCount(0)
    await page.getByLabel('Show').selectOption('info')
    await expect(made).toHaveCount(1)
    await expect(page.locator('#node-log li[data-level=debug]')).toHaveCount(0)
  })
}

test('the counters of the node are shown with what they mean, as they are now', async ({ page, context, relay }) => {
  await join(page, `${relay.url}#console`)
  const other = await context.newPage()
  const b = await join(other, `${relay.url}#console`)
  await page.locator('#stats > summary').click()
  const links = page.locator('.counters', { hasText: 'Messages to and from single peers' })
  const sent = links.locator('tr[data-counter=sent]')
  await expect(sent).toContainText('messages handed to the transport')
  await expect(sent.locator('.counter-value')).toHaveText('0')
  const meanings = await page.locator('.counter-meaning').allTextContents()
  expect(meanings.length).toBeGreaterThan(80)
  expect(meanings).not.toContain('')
  await page.evaluate((peer) => window.tombolo!.send(peer, 'counters', new Uint8Array(5)), b)
  await expect(sent.locator('.counter-value')).toHaveText('1')
  await expect(page.locator('.counters', { hasText: 'Connections' }).locator('tr[data-counter=peers]')).toContainText(
    '2',
  )
})

test.describe('at 360 px', () => {
  test.use({ viewport: { width: 360, height: 740 } })

  test('the mesh, the plots, the counters and the log fit', async ({ page, relay, daemon }) => {
    const own = await join(page, `${relay.url}?peer=${encodeURIComponent(daemon.addr('/webtransport/'))}#mesh`)
    await openTable(page)
    await expect(edge(page, own, daemon.id, 'direct')).toBeVisible()
    await expect(page.locator('.legend')).toContainText('WT WebTransport')
    await fits(page)
    await goTo(page, 'Console')
    await page.locator('#stats > summary').click()
    await page.locator('#node-log > summary').click()
    await expect(page.locator('.counters').first()).toBeVisible()
    await fits(page)
  })
})

/** Checks that nothing shown is cut off. */
async function fits(page: Page): Promise<void> {
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
  const outside = await page
    .locator('.sheets *')
    .evaluateAll((all) => all.filter((one) => one.getBoundingClientRect().right > 360).length)
  expect(outside, 'nothing is cut off').toBe(0)
}
