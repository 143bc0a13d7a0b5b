import { fileURLToPath } from 'node:url'
import type { Page } from '@playwright/test'
import { expect, test as base } from './support/fixtures.js'
import { StaticServer } from './support/static-server.js'

/** Opens an example in a new tab, and waits until it has joined. */
type Open = (example: string) => Promise<Page>

const test = base.extend<{ open: Open }, { site: StaticServer }>({
  site: [
    async ({}, use) => {
      const site = await StaticServer.start(fileURLToPath(new URL('../dist/examples/', import.meta.url)))
      await use(site)
      site.stop()
    },
    { scope: 'worker' },
  ],
  open: async ({ context, relay, site }, use) => {
    const errors: string[] = []
    context.on('weberror', (error) => errors.push(String(error.error())))
    await use(async (example) => {
      const tab = await context.newPage()
      const [path, hash = ''] = example.split('#')
      await tab.goto(`${site.url}${path}/?relay=${encodeURIComponent(relay.url)}#${hash}`)
      await expect(tab.locator('#status')).toHaveText('joined')
      return tab
    })
    expect(errors).toEqual([])
  },
})

test('two tabs chat, and a third sees what was said before it came', async ({ open }) => {
  const [ann, bob] = [await open('chat'), await open('chat')]
  await expect(ann.locator('#here')).toHaveText('1 other is here')
  await say(ann, 'Ann', 'is anybody there?')
  await expect(bob.locator('li')).toHaveText(['Ann: is anybody there?'])
  await say(bob, 'Bob', '<b>I am</b>')
  await expect(ann.locator('li')).toHaveText(['Ann: is anybody there?', 'Bob: <b>I am</b>'])
  const eve = await open('chat')
  await expect(eve.locator('li')).toHaveText(['Ann: is anybody there?', 'Bob: <b>I am</b>'])
  await bob.close()
  await eve.close()
  await expect(ann.locator('#here')).toHaveText('nobody else is here yet')
})

test('tabs that count at the same time agree, and so does one that comes later', async ({ open }) => {
  const [one, two] = [await open('counter'), await open('counter')]
  const press = async (tab: Page, name: string, times: number) => {
    for (let i = 0; i < times; i++) await tab.getByRole('button', { name }).dispatchEvent('click')
  }
  await Promise.all([press(one, 'one more', 7), press(two, 'one less', 2)])
  for (const tab of [one, two]) await expect(tab.locator('output')).toHaveText('5')
  const three = await open('counter')
  await expect(three.locator('output')).toHaveText('5')
})

test('boats are seen in the room, as they sail, and not in another, and another tab goes on when the first is closed', async ({
  open,
}) => {
  const tabs = [await open('game#bay'), await open('game#bay')]
  const elsewhere = await open('game#reef')
  const [one, two] = await hostAndGuest(tabs)
  const box = (await one.locator('#board').boundingBox())!
  await one.bringToFront()
  await one.mouse.move(box.x + box.width * 0.25, box.y + box.height * 0.75)
  await expect(two.locator('#others li')).toHaveText(/ is at 25 %, 75 %, with \d+ buoys$/)
  await expect(two.locator('#rate')).toHaveText(/^\d+$/)
  await two.locator('#board').focus()
  await two.keyboard.press('ArrowRight')
  await expect(one.locator('#others li')).toHaveText(/ is at 52 %, 50 %, with \d+ buoys$/)
  await expect(elsewhere.locator('#others li')).toHaveCount(0)
  await one.close()
  await expect(two.locator('#host')).toHaveText('this tab')
  await expect(two.locator('#others li')).toHaveCount(0)
})

for (const example of ['chat', 'counter', 'game']) {
  test(`${example} fits a narrow screen, in both schemes`, async ({ open }) => {
    const tab = await open(example)
    await tab.setViewportSize({ width: 360, height: 640 })
    const colours = new Set<string>()
    for (const colorScheme of ['light', 'dark'] as const) {
      await tab.emulateMedia({ colorScheme })
      expect(await tab.evaluate(() => document.documentElement.scrollWidth)).toBe(360)
      colours.add(await tab.evaluate(() => getComputedStyle(document.documentElement).backgroundColor))
    }
    expect(colours.size).toBe(2)
  })
}

/** Waits until one tab hosts the room and another is its guest. If both have begun to host it, their IDs decide which of them remains. */
async function hostAndGuest(tabs: Page[]): Promise<[Page, Page]> {
  const held = () => Promise.all(tabs.map((tab) => tab.locator('#host').textContent()))
  const one = async () => (await held()).map((by) => (by === 'this tab' ? 'host' : by?.startsWith('…') ? 'guest' : ''))
  await expect.poll(async () => (await one()).sort()).toEqual(['guest', 'host'])
  const host = (await one()).indexOf('host')
  return [tabs[host]!, tabs[1 - host]!]
}

async function say(tab: Page, name: string, text: string): Promise<void> {
  await tab.getByLabel('Your name').fill(name)
  await tab.getByRole('textbox', { name: 'Message' }).fill(text)
  await tab.getByRole('button', { name: 'Send' }).click()
}
