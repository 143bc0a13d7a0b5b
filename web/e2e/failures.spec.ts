import { expect, join, test } from './support/fixtures.js'

test('a missing program is an error that one can read, and the page can try again', async ({ page, relay }) => {
  await page.route('**/*.wasm', (route) => route.fulfill({ status: 404, body: 'no' }))
  await page.goto(relay.url)
  const problem = page.getByRole('alert').filter({ hasText: 'program is not on this server' })
  await expect(problem).toContainText('make build')
  await expect(problem).toContainText(/tombolo-\S+\.wasm does not exist \(HTTP 404\)/)
  await expect(page.locator('.status')).toHaveAttribute('data-phase', 'failed')

  await page.unroute('**/*.wasm')
  await problem.getByRole('button', { name: 'Try again' }).click()
  await expect(page.locator('.status')).toHaveAttribute('data-phase', 'joined')
})

test('a relay that does not answer is named, with what to try', async ({ page, relay }) => {
  const nobody = `/ip4/127.0.0.1/tcp/1/ws/p2p/${relay.id}`
  await page.goto(`${relay.url}?relay=${encodeURIComponent(nobody)}`)
  const problem = page.locator('.problem[data-kind=relay-silent]')
  await expect(problem).toContainText('The relay does not answer')
  await expect(problem).toContainText(`connect to relay ${relay.id}`)
  // The technical details are long, and folded away.
  expect((await problem.innerText()).length).toBeLessThan(500)
})

test('a peer that is no relay is said to be none', async ({ page, relay, testPeer }) => {
  await page.goto(`${relay.url}?relay=${encodeURIComponent(testPeer.addr('/ws/'))}`)
  const problem = page.locator('.problem[data-kind=relay-silent]')
  await expect(problem).toContainText(`reserve on ${testPeer.id}`)
})

test('a page whose server does not describe a relay says so, and its node runs all the same', async ({
  page,
  relay,
}) => {
  await page.route('**/.well-known/tombolo', (route) => route.fulfill({ status: 404, body: 'no' }))
  await page.goto(relay.url)
  await expect(page.locator('.problem[data-kind=relay-unknown]')).toContainText('HTTP 404')
  await expect(page.locator('#own-id')).toHaveText(/^12D3KooW/)
})

test('a relay address that is none is an error that names the option', async ({ page, relay }) => {
  await page.goto(`${relay.url}?relay=${encodeURIComponent(`/ip4/nonsense/p2p/${relay.id}`)}`)
  await expect(page.getByRole('alert')).toContainText('option relays')
})

test('connecting to nonsense says what was wrong with it', async ({ page, relay }) => {
  await join(page, `${relay.url}#mesh`)
  await page.getByLabel('Connect to a peer').fill('/ip4/127.0.0.1/tcp/nonsense')
  await page.keyboard.press('Enter')
  await expect(page.locator('#connect-error')).toContainText('nonsense')
})
