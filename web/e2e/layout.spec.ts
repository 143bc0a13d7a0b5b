import { expect, goTo, join, peerRow, tabTo, test } from './support/fixtures.js'

test.describe('at 360 px', () => {
  test.use({ viewport: { width: 360, height: 740 } })

  test('the page fits, with peers in its list', async ({ page, relay, daemon }) => {
    await join(page, `${relay.url}?peer=${daemon.id}#mesh`)
    await expect(peerRow(page, daemon.id)).toBeVisible()
    const width = await page.evaluate(() => document.documentElement.scrollWidth)
    expect(width).toBeLessThanOrEqual(360)
  })
})

test('the keyboard alone connects to a peer and echoes off it', async ({ page, relay, daemon }) => {
  await join(page, `${relay.url}#mesh`)
  await tabTo(page, '#addr')
  await page.keyboard.type(daemon.addr('/webtransport/'))
  await page.keyboard.press('Enter')
  await expect(peerRow(page, daemon.id)).toBeVisible()
  await goTo(page, 'Console')
  await tabTo(page, '#echo-text')
  await page.keyboard.press('ControlOrMeta+A')
  await page.keyboard.type('ahoy')
  await page.keyboard.press('Enter')
  await expect(page.locator('#echoes li').first()).toContainText(/ahoy.*back in [\d.]+ ms/)
})

test('the first paint does not wait for the program, and its download shows progress', async ({ page, relay }) => {
  // 10 Mbit/s: if the program arrives at once, no progress is shown.
  const browser = await page.context().newCDPSession(page)
  await browser.send('Network.enable')
  const line = { offline: false, latency: 40, downloadThroughput: 1_250_000, uploadThroughput: 1_250_000 }
  await browser.send('Network.emulateNetworkConditions', line)
  let release = () => {}
  const held = new Promise<void>((resolve) => (release = resolve))
  await page.route('**/*.wasm', async (route) => {
    await held
    await route.continue()
  })
  await page.goto(relay.url)
  await expect(page.locator('.chart-ground')).toBeVisible()
  await expect(page.locator('.status-title')).toHaveText('Starting')
  // Records what the progress bar shows from here on.
  await page.evaluate(() => {
    const seen: number[] = []
    Object.assign(window, { seen })
    new MutationObserver(() => {
      const bar = document.querySelector('progress')
      if (bar?.hasAttribute('max')) seen.push(bar.value / bar.max)
    }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true })
  })
  release()
  await expect(page.locator('.status')).toHaveAttribute('data-phase', 'joined')
  const seen = await page.evaluate(() => (window as unknown as { seen: number[] }).seen)
  expect(seen.length).toBeGreaterThan(0)
  expect(seen.at(-1)).toBe(1)
  expect(seen).toEqual([...seen].sort((a, b) => a - b))
})
