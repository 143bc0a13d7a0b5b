import type { Page } from '@playwright/test'
import { expect, goTo, join, joined, ownId, test } from './support/fixtures.js'

// The views of the page: each has its own address, and leaving one does not end anything that was begun in it.

const VIEWS = ['Share', 'Talk', 'Play', 'Mesh', 'Console'] as const

function shown(page: Page) {
  return page.locator('.view:visible')
}

test('each view has an address, the browser goes back and forth between them, and the node stays', async ({
  page,
  relay,
}) => {
  const id = await join(page, relay.url)
  await expect(shown(page)).toHaveAttribute('data-view', 'share')
  await goTo(page, 'Talk')
  for (const view of VIEWS) {
    await goTo(page, view)
    await expect(shown(page)).toHaveAttribute('data-view', view.toLowerCase())
    await expect(page.locator('.view:visible:focus-within'), 'who reads with the ears is told').toHaveCount(1)
    await expect(page).toHaveTitle(`${view} · Tombolo`)
    expect(new URL(page.url()).hash).toBe(`#${view.toLowerCase()}`)
    await expect(page.locator('#nav [aria-current=page]')).toHaveText(view)
  }
  await page.goBack()
  await expect(shown(page)).toHaveAttribute('data-view', 'mesh')
  await page.goBack()
  await expect(shown(page)).toHaveAttribute('data-view', 'play')
  await page.goForward()
  await expect(shown(page)).toHaveAttribute('data-view', 'mesh')
  await page.reload()
  await joined(page)
  await expect(shown(page)).toHaveAttribute('data-view', 'mesh')
  expect(await ownId(page)).toBe(id)
})

test('a view is loaded when it is first wanted, and one that cannot be loaded can be tried again', async ({
  page,
  relay,
}) => {
  const loaded: string[] = []
  page.on('request', (request) => loaded.push(new URL(request.url()).pathname))
  const scripts = (name: string) => loaded.filter((path) => new RegExp(`/${name}-[\\w-]+\\.js$`).test(path))
  await page.addInitScript(
    () => (navigator.serviceWorker.register = () => Promise.reject(new Error('not in this test'))),
  )
  await page.route(/\/assets\/talk-[\w-]+\.js$/, (route) => route.abort())
  await join(page, relay.url)
  await expect(page.locator('.view[data-view=share] .sheets')).toBeVisible()
  for (const other of ['talk', 'play', 'mesh', 'console']) expect(scripts(other)).toEqual([])
  await page.locator('#nav a[href="#talk"]').click()
  await expect(shown(page).locator('.trouble')).toContainText('It could not be loaded')
  await page.unroute(/\/assets\/talk-[\w-]+\.js$/)
  await shown(page).getByRole('button', { name: 'Try again' }).click()
  await expect(page.locator('#talk-type')).toBeVisible()
})

test('what is typed in a view is there again when one comes back to it', async ({ page, relay }) => {
  await join(page, `${relay.url}#talk`)
  await page.locator('#talk-type').fill('half a na')
  await goTo(page, 'Mesh')
  await page.locator('#addr').fill('/ip4/192.0.2.1')
  await goTo(page, 'Talk')
  await expect(page.locator('#talk-type')).toHaveValue('half a na')
  await page.goBack()
  await expect(page.locator('#addr')).toHaveValue('/ip4/192.0.2.1')
})

test('an address that names no view leads to the first one', async ({ page, relay }) => {
  await page.goto(`${relay.url}#constructor`)
  await joined(page)
  await expect(shown(page)).toHaveAttribute('data-view', 'share')
})

test('settings take a new load of the page, and stand in its address', async ({ page, relay }) => {
  const id = await join(page, `${relay.url}?transport=webtransport#console`)
  await expect(page.getByLabel('Reach the relay over')).toHaveValue('webtransport')
  await page.getByLabel('Reach the relay over').selectOption('websocket')
  await page.getByRole('button', { name: 'Load the page with these' }).click()
  await page.waitForURL((url) => url.search === '?transport=websocket' && url.hash === '#console')
  await joined(page)
  await expect(page.locator('#relay-transport')).toHaveText('WebSocket')
  expect(await ownId(page)).toBe(id)
})
