import { expect, goTo, join, joined, test } from './support/fixtures.js'
import { Relay } from './support/peers.js'

// The page as an installed app, which opens without any connection.

test('the page can be installed', async ({ page, relay }) => {
  await join(page, relay.url)
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined))
  const devtools = await page.context().newCDPSession(page)
  const { errors, data } = await devtools.send('Page.getAppManifest')
  expect(errors).toEqual([])
  const { icons } = JSON.parse(data!) as { icons: { src: string; sizes: string }[] }
  for (const { src, sizes } of icons) {
    const response = await page.request.get(new URL(src, relay.url).href)
    expect(response.headers()['content-type']).toBe('image/png')
    const png = await response.body()
    expect(`${png.readUInt32BE(16)}x${png.readUInt32BE(20)}`).toBe(sizes)
  }
  const { installabilityErrors } = await devtools.send('Page.getInstallabilityErrors')
  // Browsers under test are in incognito mode.
  expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== 'in-incognito')).toEqual([])
})

for (const how of ['is gone', 'does not answer'] as const) {
  test(`the page opens when its relay ${how}, says what works, and joins once it is back`, async ({ page }) => {
    const relay = await Relay.start()
    try {
      await join(page, `${relay.url}#talk`)
      await page.locator('#talk-type').press('Enter')
      await page.locator('#say-text').fill('written befo')
      await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined))
      await (how === 'is gone' ? relay.kill() : relay.freeze(true))
      await page.reload()
      const problem = page.locator('.problem[data-kind=offline]')
      await expect(problem).toContainText('Nobody can be reached')
      await expect(problem).toContainText('What you wrote and what you share is kept')
      await expect(page.locator('#say-text')).toHaveValue('written befo')
      for (const view of ['Share', 'Play', 'Mesh', 'Console'] as const) await goTo(page, view)
      await (how === 'is gone' ? relay.restart() : relay.freeze(false))
      await problem.getByRole('button', { name: 'Try again' }).click()
      await joined(page)
      await expect(problem).toHaveCount(0)
    } finally {
      await relay.stop()
    }
  })
}
