import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { Page } from '@playwright/test'
import type { AxeResults } from 'axe-core'
import { expect, goTo, join, test } from './support/fixtures.js'

// Every view is looked at by axe-core, in the state in which a person meets it and in one with something in it.

const axe = readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

declare const window: { axe: { run(options: object): Promise<AxeResults> } }

/** What axe-core finds fault with, by rule and element. */
async function faults(page: Page): Promise<string[]> {
  await page.evaluate(await axe)
  const { violations, passes } = await page.evaluate(() =>
    window.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }),
  )
  expect(passes.length, 'rules that had something to look at').toBeGreaterThan(20)
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary?.replace(/\s+/g, ' ')}`),
  )
}

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
