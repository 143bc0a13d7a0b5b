import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { expect, test as base } from './support/fixtures.js'
import { faults } from './support/faults.js'
import { Relay } from './support/peers.js'

// The search of the documents' site, which runs entirely in the browser.

/** The site, with a reference of one Go package. `make docs` makes those of all packages, with other tools. */
const test = base.extend<{}, { site: string }>({
  site: [
    async ({}, use) => {
      const out = mkdtempSync(`${tmpdir()}/tombolo-docs-`)
      mkdirSync(`${out}/api/go/core`, { recursive: true })
      writeFileSync(`${out}/api/index.html`, '<!doctype html>')
      writeFileSync(
        `${out}/api/go/core/link.txt`,
        'package link // import "…"\n\nPackage link is one stream per peer. More.\n',
      )
      const build = fileURLToPath(new URL('../docs/build.mjs', import.meta.url))
      execFileSync(process.execPath, [build], { env: { ...process.env, OUT: out }, stdio: 'inherit' })
      await use(out)
      rmSync(out, { recursive: true })
    },
    { scope: 'worker' },
  ],
})

test('the keyboard finds a part of a document, on a relay and under its policy', async ({ page, site }) => {
  const relay = await Relay.start('--docs', site)
  const refused: string[] = []
  page.on('console', (message) => message.type() === 'error' && refused.push(message.text()))
  await page.goto(`${relay.url}docs/security.html`)
  await page.keyboard.press('/')
  const field = page.getByRole('searchbox', { name: 'Search the documents' })
  await expect(field).toBeFocused()
  await expect(field).toHaveValue('')

  await page.keyboard.type('Drain SIGTERM')
  const results = page.locator('#results')
  await expect(results.getByRole('link').first()).toBeVisible()
  await expect(page.getByRole('search').getByRole('status')).toHaveText(/^\d+ results/)
  await expect(results.locator('li', { hasNot: page.locator('mark') })).toHaveCount(0)

  await field.fill('tombolo pair')
  const met = results.getByRole('link', { name: 'Meet by a code tombolo, the shell' })
  await expect(met).toBeVisible()
  await expect(met).toHaveAttribute('href', 'tombolo.html#meet-by-a-code')
  await page.keyboard.press('ArrowDown')
  await expect(results.getByRole('link').first()).toBeFocused()
  await page.keyboard.press('ArrowUp')
  await expect(field).toBeFocused()
  await field.fill('core/link')
  await expect(results.getByRole('link', { name: 'core/link Go packages' })).toHaveAttribute(
    'href',
    'api/go/core/link.txt',
  )

  await field.fill('no such words')
  await expect(page.getByRole('search').getByRole('status')).toHaveText('No results')
  await expect(results.getByRole('link')).toHaveCount(0)
  await field.fill('meet by a code')
  await expect(met).toBeVisible()
  await page.keyboard.press('Escape')
  await expect(results.getByRole('link')).toHaveCount(0)
  await expect(field).toHaveValue('')
  await field.fill('meet by a code')
  await expect(met).toBeVisible()
  await page.keyboard.press('Enter')
  await expect(page).toHaveURL(`${relay.url}docs/tombolo.html#meet-by-a-code`)
  await expect(page.getByRole('heading', { name: 'Meet by a code' })).toBeInViewport()
  expect(refused).toEqual([])
  await relay.stop()
})

for (const { colorScheme, width } of [
  { colorScheme: 'light', width: 1200 },
  { colorScheme: 'dark', width: 360 },
] as const) {
  test(`from a folder, everybody can search (${colorScheme}, ${width} px)`, async ({ page, site }) => {
    await page.emulateMedia({ colorScheme })
    await page.setViewportSize({ width, height: 800 })
    await page.goto(`file://${site}/relay.html`)
    await page.getByRole('searchbox').fill('reserv')
    await expect(page.locator('#results mark').first()).toBeVisible()
    expect(await faults(page)).toEqual([])
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    expect(over, 'what is to be scrolled sideways').toBe(0)
    await page.getByRole('link', { name: 'Tombolo', exact: true }).focus()
    await expect(page.locator('#results mark')).toHaveCount(0)
  })
}

test('without scripts, there is nothing to search with, and the rest is as ever', async ({ browser, site }) => {
  const context = await browser.newContext({ javaScriptEnabled: false })
  const page = await context.newPage()
  await page.goto(`file://${site}/index.html`)
  await expect(page.getByRole('searchbox')).toHaveCount(0)
  await page.getByRole('navigation').getByRole('link', { name: 'Security' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Security' })).toBeVisible()
  await context.close()
})
