import { faults } from './support/faults.js'
import { expect, goTo, join, test } from './support/fixtures.js'

// axe-core checks every view, in its initial state and in one with content.

for (const { colorScheme, width } of [
  { colorScheme: 'light', width: 1200 },
  { colorScheme: 'dark', width: 360 },
] as const) {
  test(`every view can be used by everybody (${colorScheme}, ${width} px)`, async ({
    page,
    context,
    relay,
    daemon,
  }) => {
    await page.emulateMedia({ colorScheme })
    await page.setViewportSize({ width, height: 800 })
    await join(page, `${relay.url}?peer=${daemon.id}`)
    expect(await faults(page)).toEqual([])

    await page.locator('details.self summary').click()
    await page.locator('.serve-more summary').click()
    const chosen = { name: 'tides.txt', mimeType: 'text/plain', buffer: Buffer.from('low water at noon') }
    await page.locator('#serve-files').setInputFiles([chosen, { ...chosen, name: 'chart.txt' }])
    await expect(page.locator('.offer')).toHaveCount(1)
    expect(await faults(page)).toEqual([])

    const other = await context.newPage()
    await other.emulateMedia({ colorScheme })
    await other.setViewportSize({ width, height: 800 })
    await other.goto((await page.locator('.offer-url').getAttribute('href'))!)
    await expect(other.locator('.shared')).toHaveCount(2)
    expect(await faults(other)).toEqual([])

    await goTo(page, 'Talk')
    expect(await faults(page)).toEqual([])
    await page.locator('#talk-type').press('Enter')
    await expect(page.locator('#talk-room')).toHaveAttribute('data-open', 'true')
    await page.locator('#say-text').fill('ahoy')
    await page.locator('#say-text').press('Enter')
    await expect(page.locator('.said')).not.toHaveCount(0)
    expect(await faults(page)).toEqual([])

    await goTo(page, 'Play')
    await expect(page.locator('#world-name')).toBeVisible()
    expect(await faults(page)).toEqual([])

    await goTo(page, 'Mesh')
    await expect(page.locator('.berth')).not.toHaveCount(1)
    await page.locator('.edges summary').click()
    expect(await faults(page)).toEqual([])

    await goTo(page, 'Console')
    for (const part of ['#stats', '#node-log']) await page.locator(`${part} > summary`).click()
    await expect(page.locator('.counters').first()).toBeVisible()
    expect(await faults(page)).toEqual([])
  })
}
