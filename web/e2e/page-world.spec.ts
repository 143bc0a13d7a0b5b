import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Page } from '@playwright/test'
import { binaries } from './support/binaries.js'
import { expect, goTo, join, joined, ownId, tabTo, test } from './support/fixtures.js'
import { Daemon } from './support/peers.js'

// The world of the page: tabs that host one, sail in it and take it over, and native peers that do the same.

let worlds = 0

const world = test.extend<{ name: string; ann: Page }>({
  // Each test has its own world, because worlds are found by name.
  name: async ({}, use) => use(`bay ${++worlds} of ${test.info().workerIndex}`),
  // Ann's tab hosts the world.
  ann: async ({ page, relay, name }, use) => {
    const errors: string[] = []
    page.on('pageerror', (error) => errors.push(error.message))
    await host(page, relay.url, name)
    await use(page)
    expect(errors).toEqual([])
  },
})

world(
  'a tab holds a world, a link leads another into it, and each sees the other sail',
  async ({ ann, context, name }) => {
    await expect(ann.locator('.world-who')).toContainText('held by this tab')
    const bob = await follow(context, ann, 'Bob')
    await expect(bob.locator('.world-who')).toContainText((await ownId(ann)).slice(-8))
    await expect(ann.locator('#world-boats')).toHaveText('2')
    const [annSeen, bobSeen] = [nearby(bob, 'Ann'), nearby(ann, 'Bob')]
    await expect(annSeen).toBeVisible()
    expect(
      await annSeen.locator('.world-pennant').getAttribute('style'),
      'her colour is the blue that she chose',
    ).toMatch(/--hue:\s*210/)
    await expect(bobSeen).toBeVisible()
    await expect(bob.locator('#world-spoken')).toContainText('Ann')

    await sails(bob, 'Ann', 'x', 1, async () => {
      await ann.locator('#sea').focus()
      await ann.keyboard.down('ArrowRight')
    })
    await ann.keyboard.up('ArrowRight')
    await expect(ann.locator('#world-ping')).toHaveText(/^\d+(\.\d)? ms, \d+ of them for a tick$/)
    await bob.locator('#sea').focus()
    await bob.keyboard.down('KeyA')
    await expect(bobSeen, 'he is out of her sight').toHaveCount(0)
    await expect(ann.locator('#world-spoken')).toHaveText('Nobody is near.')

    await bob.reload()
    await expect(bob.locator('.world-who'), 'he is in it again').toContainText('this tab stands by')
    await ann.getByRole('button', { name: 'Leave' }).click() // Bob's tab stands by
    await expect(bob.locator('.world-word')).toHaveText('The host has gone. This tab holds the world now.')
    await ann.locator('#worlds li', { hasText: name }).getByRole('button', { name: 'Sail in' }).click()
    await expect(bob.locator('.world-who')).toContainText('1 tab stands by')
    await bob.getByRole('button', { name: 'Leave' }).click()
    await expect(ann.locator('.world-word'), 'and back').toHaveText('The host has gone. This tab holds the world now.')
    await ann.getByRole('button', { name: 'Close the world' }).click()
    await expect(ann.locator('#world-name')).toBeVisible()
  },
)

// Each has its own world, because boats that sail lose sight of each other.
world('a finger steers @long', async ({ ann, browser }) => {
  const touching = await browser.newContext({ hasTouch: true, viewport: { width: 360, height: 740 } })
  const bob = await follow(touching, ann, 'Bob')
  const touches = await touching.newCDPSession(bob)
  const touch = async (type: 'touchStart' | 'touchMove', x: number) => {
    const box = (await bob.locator('#sea').boundingBox())!
    const touchPoints = [{ x: box.x + x * box.width, y: box.y + 0.8 * box.height }]
    await touches.send('Input.dispatchTouchEvent', { type, touchPoints })
  }
  await sails(ann, 'Bob', 'x', 1, async () => {
    await bob.locator('#sea').scrollIntoViewIfNeeded()
    await touch('touchStart', 0.5)
    await touch('touchMove', 0.9)
  })
  await touching.close()
})

world('a mouse steers @long', async ({ ann, context }) => {
  const bob = await follow(context, ann, 'Bob')
  await sails(bob, 'Ann', 'y', -1, async () => {
    await ann.locator('#sea').scrollIntoViewIfNeeded()
    const box = (await ann.locator('#sea').boundingBox())!
    await ann.mouse.move(box.x + box.width / 2, box.y + 30)
    await ann.mouse.down()
  })
})

world('a gamepad steers', async ({ ann, context }) => {
  const bob = await follow(context, ann, 'Bob')
  await sails(ann, 'Bob', 'y', -1, () =>
    bob.evaluate(() => {
      const pad = { connected: true, axes: [0, -1], buttons: [] }
      Object.defineProperty(navigator, 'getGamepads', { value: () => [null, pad] })
    }),
  )
})

world('a hundred bots come at a click, and go at another @long', async ({ ann, context }) => {
  const bob = await follow(context, ann, 'Bob')
  const bots = ann.locator('.world-bots-how')
  await ann.getByRole('button', { name: 'Bring a hundred bots' }).click()
  // A slow machine may not manage all of them, and says so.
  await expect(bots).toHaveText(/^(100 bots|\d+ bots No more came: the host cannot keep up with more players\.)$/)
  const seated = async () => Number(await bots.getAttribute('data-seated'))
  expect(await seated()).toBeGreaterThan(5)
  await expect
    .poll(async () => Number(await ann.locator('#world-boats').textContent()) - (await seated()), 'beside Ann and Bob')
    .toBe(2)
  await expect(
    bob.locator('#world-near li', { hasText: /^Bot \d+/ }).first(),
    'they are boats like others',
  ).toBeVisible()
  await expect(bob.locator('#world-board li', { hasText: /^Bot \d+/ }).first(), 'they score').toBeVisible()
  await ann.getByRole('button', { name: 'Send the bots off' }).click()
  await expect(bots).toHaveText('')
  await expect(ann.locator('#world-boats')).toHaveText('2')
})

world('when the tab that holds a world is closed, another goes on with its scores', async ({ ann, context }) => {
  const bob = await follow(context, ann, 'Bob')
  await expect(bob.locator('.world-who')).toContainText('this tab stands by')
  await expect(ann.locator('.world-who')).toContainText('1 tab stands by')
  const score = await scored(bob)
  await ann.close()
  await expect(bob.locator('.world-word')).toHaveText('The host has gone. This tab holds the world now.')
  await expect(bob.locator('.world-who')).toContainText('held by this tab')
  await expect(bob.locator('#world-boats')).toHaveText(/[12]/) // Ann's seat is kept for a while
  await expect.poll(() => own(bob)).toBeGreaterThanOrEqual(score)
  const eve = await follow(context, bob, 'Eve')
  await expect(eve.locator('#world-board li', { hasText: /^Bob/ })).toBeVisible()
  await expect(bob.locator('#world-boats')).toHaveText(/[23]/)
})

world(
  'a world that a native peer holds is sailed in from the page, and goes on in a tab @long',
  async ({ page, relay, name }) => {
    const [first, second] = [await Daemon.start(relay), await Daemon.start(relay)]
    const id = await join(page, relay.url)
    const args = ['--demo', '--size', '40', '--buoys', '60', '--radius', '60', '--standby', id, name]
    const holding = await native(first, 'host', ...args)
    const sailing = await native(second, 'join', '--as', 'Nat ‮of Hull', '--hue', '96', '--host', first.id, name)
    try {
      await page.evaluate((name) => (location.hash = `world=${encodeURIComponent(name)}`), name)
      await expect(page.locator('#sea')).toBeVisible()
      await expect(page.locator('.world-who')).toContainText(first.id.slice(-8))
      await expect(nearby(page, 'Nat of Hull')).toBeVisible()
      await expect(page.locator('.world-who')).toContainText('this tab stands by')

      await page.getByRole('button', { name: 'Bring a hundred bots' }).click()
      await expect(page.locator('.world-bots-how')).toHaveText(
        '31 bots No more came: the peer has all the seats that one may have.',
      )
      await page.getByRole('button', { name: 'Send the bots off' }).click()

      const score = await scored(page)
      await first.program.stop('SIGKILL')
      await expect(page.locator('.world-word')).toHaveText('The host has gone. This tab holds the world now.')
      await expect(page.locator('#world-boats')).toHaveText('2')
      await expect(nearby(page, 'Nat of Hull')).toBeVisible()
      await expect.poll(() => own(page)).toBeGreaterThanOrEqual(score)
    } finally {
      await Promise.all([holding.stop(), sailing.stop()])
      await Promise.all([first.stop(), second.stop()])
    }
  },
)

world('an invitation leads into a world that nobody else finds @long', async ({ page, context, relay, name }) => {
  const daemon = await Daemon.start(relay)
  const holding = await native(daemon, 'host', '--demo', '--private', name)
  const invite = () =>
    execFileSync(binaries.native, ['room', 'invite', '--data-dir', daemon.dir, '--page', relay.url, name], {
      encoding: 'utf8',
    }).trim()
  try {
    await expect.poll(invite).toContain('p2p-circuit') // an address that a tab can reach
    await page.goto(invite())
    await joined(page)
    await expect(page.locator('#sea')).toBeVisible()
    await expect(page.locator('.world-who')).toContainText(daemon.id.slice(-8))
    const bob = await follow(context, page, 'Bob') // by the link that the page shows
    await expect(bob.locator('#sea')).toBeVisible()
    const other = await context.newPage()
    await other.goto(`${relay.url}#world=${daemon.id}/${encodeURIComponent(name)}`)
    await expect(other.locator('.world-view')).toContainText(/password|Nobody holds/)
  } finally {
    await holding.stop()
    await daemon.stop()
  }
})

world('a link to a world that nobody holds says so, and offers to hold it', async ({ page, relay, name }) => {
  await page.goto(`${relay.url}#world=${encodeURIComponent(name)}`)
  await expect(page.locator('.world-nobody')).toContainText(`Nobody holds “${name}” now.`)
  await page.getByRole('button', { name: 'Look again' }).click()
  await expect(page.locator('.world-word')).toHaveText(`Looking for who holds “${name}”…`)
  await page.getByRole('button', { name: `Host “${name}” from this tab` }).click()
  await expect(page.locator('.world-who')).toContainText('held by this tab')
  expect(decodeURIComponent(new URL(page.url()).hash)).toBe(`#world=${await ownId(page)}/${name}`)
})

world('worlds that are held are listed, and a name is taken once @long', async ({ ann, context, relay, name }) => {
  const bob = await context.newPage()
  await open(bob, relay.url, 'Bob')
  const row = bob.locator('#worlds li', { hasText: name })
  await expect(row).toContainText('1 boat of 256')
  await bob.locator('#world-name').fill(name)
  await expect(bob.locator('#world-held')).toBeVisible()
  await bob.locator('#world-name').press('Enter')
  await expect(bob.locator('.world-view')).toHaveAttribute('data-phase', 'ashore')
  await row.getByRole('button', { name: 'Sail in' }).click()
  await expect(nearby(ann, 'Bob')).toBeVisible()
})

world.describe('at 360 px', () => {
  world.use({ viewport: { width: 360, height: 740 } })

  world('the world fits, on the shore and afloat, in both schemes', async ({ page, relay, name }) => {
    const width = () => page.evaluate(() => document.documentElement.scrollWidth)
    await open(page, relay.url, 'W'.repeat(24))
    expect(await width()).toBeLessThanOrEqual(360)
    await page.locator('#world-name').fill(name)
    await page.getByRole('button', { name: 'Host from this tab' }).click()
    await expect(page.locator('#sea')).toBeVisible()
    await page.locator('.world-link summary').click()
    await expect(page.locator('.qr')).toBeVisible()
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      expect(await width()).toBeLessThanOrEqual(360)
    }
  })
})

world('the keyboard alone holds a world, and everything in it has a name', async ({ page, relay, name }) => {
  await join(page, relay.url)
  await tabTo(page, '#nav a[href="#play"]')
  await page.keyboard.press('Enter')
  await expect(page.locator('#boat-name')).toBeVisible()
  await tabTo(page, '#world-name')
  await page.keyboard.press('ControlOrMeta+A')
  await page.keyboard.type(name)
  await page.keyboard.press('Enter')
  const sea = page.getByRole('application', { name: 'Chart of the harbour' })
  await expect(sea).toBeFocused()
  await expect(sea).toHaveAccessibleDescription(/arrow keys.*Nobody is near\./)
  for (const control of await page.locator('.world-view :is(button, input, summary, a, canvas):visible').all()) {
    await expect(control).toHaveAccessibleName(/\S/)
    expect(await control.evaluate((element) => (element as HTMLElement).tabIndex)).toBe(0)
  }
  await page.keyboard.press('Shift+Tab')
  await expect(page.locator('.world-link summary')).toBeFocused()
})

world('the view glides with the boat, and stands still for who wants less motion', async ({ ann }) => {
  // By the chart's edge, which moves only when the view does.
  const edge = () =>
    ann.evaluate(() => {
      const canvas = document.querySelector<HTMLCanvasElement>('#sea')!
      return String(canvas.getContext('2d')!.getImageData(0, 2, canvas.width, 1).data)
    })
  const sea = ann.locator('#sea')
  await expect.poll(edge).toMatch(/[1-9]/)
  const before = await edge()
  await sea.press('ArrowRight', { delay: 500 })
  await expect(ann.locator('#world-ping')).toHaveText(/ms/)
  expect(await edge()).toBe(before)
  await ann.emulateMedia({ reducedMotion: 'no-preference' })
  await ann.keyboard.down('ArrowRight')
  await expect.poll(edge).not.toBe(before)
  await ann.keyboard.up('ArrowRight')
})

world('the program of the world is loaded with its view', async ({ page, relay }) => {
  const loaded: string[] = []
  page.on('request', (request) => loaded.push(request.url()))
  await join(page, relay.url)
  expect(loaded.filter((url) => url.includes('world'))).toEqual([])
  await goTo(page, 'Play')
  await expect(page.locator('#world-name')).toBeVisible()
  expect(loaded.filter((url) => /world.*\.js/.test(url))).toHaveLength(1)
})

/** Opens the page, and in it the world with a boat. */
async function open(page: Page, url: string, boat: string): Promise<void> {
  await join(page, url)
  await goTo(page, 'Play')
  await page.locator('#boat-name').fill(boat)
}

async function host(page: Page, url: string, name: string): Promise<void> {
  await open(page, url, 'Ann')
  await page.getByRole('radio', { name: 'blue' }).check({ force: true })
  await page.locator('#world-name').fill(name)
  await page.getByRole('button', { name: 'Host from this tab' }).click()
  await expect(page.locator('#sea')).toBeVisible()
}

/** Opens the link to a tab's world in another tab, whose boat has a name. */
async function follow(context: { newPage(): Promise<Page> }, from: Page, boat: string): Promise<Page> {
  const page = await context.newPage()
  await page.addInitScript((name) => localStorage.setItem('tombolo.boat.1', JSON.stringify({ name, hue: 0 })), boat)
  await page.goto((await from.locator('.offer-url').getAttribute('href'))!)
  await joined(page)
  await expect(page.locator('#sea')).toBeVisible()
  return page
}

/** Returns the line of a boat in a tab's list of boats nearby. */
function nearby(page: Page, boat: string) {
  return page.locator('#world-near li').filter({ has: page.getByText(boat, { exact: true }) })
}

const DIRECTIONS = ['east', 'south-east', 'south', 'south-west', 'west', 'north-west', 'north', 'north-east']

/** Returns the position of a boat relative to a tab's own, as its line gives it. */
async function from(page: Page, boat: string): Promise<{ x: number; y: number } | undefined> {
  const [line] = await nearby(page, boat).locator('.world-number').allTextContents() // textContent waits for an element that is gone
  const [far, direction] = line?.split(' ') ?? []
  if (direction === undefined) return undefined
  const angle = (DIRECTIONS.indexOf(direction) * Math.PI) / 4
  return { x: Number(far) * Math.cos(angle), y: Number(far) * Math.sin(angle) }
}

/** Steers a boat until a tab sees it some way along: to the east or the west, or to the south or the north. */
async function sails(
  page: Page,
  boat: string,
  axis: 'x' | 'y',
  way: 1 | -1,
  steer: () => Promise<unknown>,
): Promise<void> {
  await expect(nearby(page, boat)).toBeVisible()
  const before = (await from(page, boat))![axis]
  await steer()
  const far = async () => way * (((await from(page, boat)) ?? { x: way * 99, y: way * 99 })[axis] - before)
  await expect.poll(far, { intervals: [100] }).toBeGreaterThan(8)
}

/** Returns the own score on the board; 0 without one. */
async function own(page: Page): Promise<number> {
  const line = page.locator('#world-board li', { hasText: /^(Bob|a boat)/ }).locator('.world-number')
  return Number((await line.allTextContents())[0] ?? 0)
}

/** Sails up and down until there is a score, and returns it. */
async function scored(page: Page): Promise<number> {
  const rank = page.locator('#world-rank', { hasText: /^You are \d+ of/ })
  await page.locator('#sea').focus()
  for (let leg = 0; (await rank.count()) === 0; leg++) {
    const keys = [['ArrowRight'], ['ArrowDown'], ['ArrowLeft', 'ArrowDown'], ['ArrowUp']][leg % 4]!
    for (const key of keys) await page.keyboard.down(key)
    await rank.waitFor({ timeout: 2_500 + 500 * leg }).catch(() => {}) // then try another course
    for (const key of keys) await page.keyboard.up(key)
  }
  return own(page)
}

/** Runs a room command of the shell, and waits for its first line. */
async function native(daemon: Daemon, verb: string, ...args: string[]) {
  const child = spawn(binaries.native, ['room', verb, '--data-dir', daemon.dir, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  await Promise.race([once(createInterface(child.stdout), 'line'), ended])
  child.stdout.resume()
  return {
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}
