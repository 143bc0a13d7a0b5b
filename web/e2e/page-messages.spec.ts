import { readFile } from 'node:fs/promises'
import type { Page } from '@playwright/test'
import { expect, goTo, join, joined, ownId, tabTo, test } from './support/fixtures.js'
import { type Heard, natively, type NativeMessenger } from './support/messengers.js'
import { Relay } from './support/peers.js'

// Messages in the page itself, between tabs that people use and a native peer that knows nothing of pages.

let rooms = 0

const talk = test.extend<{ type: string; bob: Page }, { native: NativeMessenger }>({
  native: [
    async ({ relay }, use) => {
      const native = await natively(relay)
      await use(native)
      await native.stop()
    },
    { scope: 'worker' },
  ],
  // Each test has its own type, because relays remember messages.
  type: async ({}, use) => use(`page/${++rooms}`),
  bob: async ({ context, relay, type }, use) => {
    const page = await context.newPage()
    await join(page, relay.url)
    await enter(page, type)
    await use(page)
  },
})

talk('a message crosses, and each sees who is there, joins and leaves', async ({ page, relay, type, bob }) => {
  const ann = await join(page, relay.url)
  await enter(page, type)
  const [annHere, bobHere] = [page.locator('.room-here'), bob.locator('.room-here')]
  await expect(annHere).toContainText('One other is here')
  await expect(bobHere).toContainText(ann.slice(-8))
  await say(page, 'ahoy <b>there</b>')
  const heard = line(bob, 'ahoy <b>there</b>')
  await expect(heard).toHaveAttribute('data-from', ann)
  await expect(heard).toHaveAttribute('data-how', 'broadcast')
  await expect(heard.locator('svg.flag')).toBeVisible()
  await expect(heard.locator('time')).toHaveText(/^\d\d:\d\d:\d\d$/)
  await page.locator('#talk-room').getByRole('button', { name: 'Leave' }).click()
  await expect(page.locator('.room-tab')).toHaveCount(0)
  await expect(bobHere).toHaveText('Nobody else is here')
  await expect(bob.locator('.said-note', { hasText: 'has left' })).toContainText(ann.slice(-8))
  // A page that has left receives nothing.
  await enter(page, `${type}/other`)
  await say(bob, 'is anybody still there?')
  await expect(line(bob, 'is anybody still there?')).toBeVisible()
  await expect(page.locator('.room-tab')).toHaveText([`${type}/other`])
})

talk('a message to one reaches that one alone', async ({ page, relay, native, type, bob }) => {
  const ann = await join(page, relay.url)
  await enter(page, type)
  await native.call('subscribe', type)
  const to = page.locator('#say-to')
  await expect(to.locator(`option[value="${native.id}"]`)).toHaveCount(1)
  await to.selectOption(await ownId(bob))
  await say(page, 'for Bob alone')
  await expect(line(bob, 'for Bob alone')).toHaveAttribute('data-how', 'direct')
  await expect(line(page, 'for Bob alone')).toContainText(`to …${(await ownId(bob)).slice(-8)} alone`)
  await to.selectOption(native.id)
  await say(page, 'for the native peer')
  await to.selectOption('')
  await say(page, 'for everybody')
  const heard = await native.call<Heard[]>('received', type, 2)
  expect(
    heard.map(({ from, text, broadcast }) => [from, (JSON.parse(text) as { text: string }).text, broadcast]),
    'a broadcast may be there before what was sent to one',
  ).toEqual(
    expect.arrayContaining([
      [ann, 'for the native peer', false],
      [ann, 'for everybody', true],
    ]),
  )
  await expect(line(bob, 'for everybody')).toHaveAttribute('data-how', 'broadcast')
  await expect(line(bob, 'for the native peer')).toHaveCount(0)
})

talk(
  'a tab that was away hears what was said meanwhile, and still has what it had',
  async ({ page, relay, native, type }) => {
    await native.call('subscribe', type)
    const ann = await join(page, relay.url)
    await enter(page, type)
    await native.call('broadcast', type, 'before', { wait: true })
    await expect(line(page, 'before')).toHaveCount(1)
    // Messages are stored within a second: see the option `histories`.
    await page.evaluate(() => window.tombolo!.close())
    await page.goto('about:blank')
    for (const text of ['while away, 1', 'while away, 2']) await native.call('broadcast', type, text, { wait: true })
    await page.goto(`${relay.url}#talk`)
    await joined(page)
    expect(await ownId(page)).toBe(ann)
    await expect(page.locator('.room-tab')).toHaveText([type])
    for (const text of ['while away, 1', 'while away, 2']) {
      await expect(line(page, text)).toHaveAttribute('data-replayed', 'true')
      await expect(line(page, text)).toHaveCount(1)
      await expect(line(page, text), 'a shell does not say when').toContainText('earlier; it does not say when')
    }
    await expect(line(page, 'before')).toHaveCount(1)
    await expect(page.locator('.said-note', { hasText: 'caught up: 2 messages from before' })).toBeVisible()
    await page.getByRole('button', { name: 'Catch up' }).click()
    await expect(page.locator('.said-note', { hasText: 'nothing was missed' })).toBeVisible()
  },
)

talk('who comes and goes is one line, however often', async ({ page, relay, type, bob }) => {
  await join(page, relay.url)
  await enter(page, type)
  await expect(page.locator('.said-note', { hasText: 'nothing was missed' })).toBeVisible()
  await expect(page.locator('.room-here')).toContainText('One other is here')
  for (let n = 0; n < 2; n++) {
    await bob.locator('#talk-room').getByRole('button', { name: 'Leave' }).click()
    await expect(page.locator('.room-here')).toHaveText('Nobody else is here')
    await enter(bob, type)
    await expect(page.locator('.room-here')).toContainText('One other is here')
  }
  await expect(page.locator('.said-note', { hasText: /\d came, 2 left/ })).toBeVisible()
  expect(await page.locator('.lines li').count()).toBeLessThanOrEqual(3)
})

talk('where sites may keep nothing, the page works all the same', async ({ page, relay, type, bob }) => {
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  await page.addInitScript(() => {
    const refused = () => {
      throw new DOMException('The document does not allow it.', 'SecurityError')
    }
    Object.defineProperty(window, 'sessionStorage', { get: refused })
  })
  await join(page, `${relay.url}?identity=ephemeral`)
  await enter(page, type)
  await expect(bob.locator('.room-here')).toContainText('One other is here')
  await say(page, 'kept nowhere')
  await expect(line(bob, 'kept nowhere')).toBeVisible()
  await page.goto('about:blank')
  expect(errors).toEqual([])
})

talk('bytes that are no text are shown as bytes', async ({ page, relay, type, bob }) => {
  await join(page, relay.url)
  await enter(page, type)
  await expect(bob.locator('.room-here')).toContainText('One other is here')
  for (const data of [
    [0xff, 0x00, 0x80, 0x0a],
    [0x61, 0x07],
  ]) {
    await page.evaluate(([type, data]) => window.tombolo!.broadcast(type, new Uint8Array(data), { wait: true }), [
      type,
      data,
    ] as const)
  }
  await expect(bob.locator('.said-hex')).toHaveText(['ff 00 80 0a', '61 07'])
  await expect(bob.locator('.said-head').first()).toContainText('4 bytes, no text')
  await page.evaluate((type) => window.tombolo!.broadcast(type, new TextEncoder().encode('x'.repeat(5_000))), type)
  await expect(bob.locator('.said').last()).toContainText(/x{4000}The rest of its 5\.0 kB is not shown/)
})

talk('what a busy page lost is said where it was lost', async ({ page, relay, native, type }) => {
  const id = await join(page, `${relay.url}?worker=dedicated`) // its node keeps running while the page is stopped
  await enter(page, type)
  await native.call('connect', id)
  // Stop the page; its node keeps running.
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('Debugger.enable')
  const paused = new Promise((resolve) => devtools.once('Debugger.paused', resolve))
  const still = page.evaluate('debugger')
  await paused
  await native.call('flood', id, type, 6_000, 16)
  await devtools.send('Debugger.resume')
  await still
  await page
    .locator('.lines')
    .getByRole('button', { name: /earlier lines, with what was lost/ })
    .click()
  await expect(page.locator('.said-note[data-kind=gap]').first()).toHaveText(
    /[\d,]+ messages were lost here: they came faster than this tab read/,
  )
  await native.call('flood', id, type, 200, 16) // fewer than the queue holds, so none is dropped: with the 256 already queued, more than a room keeps
  await expect(page.locator('.lines')).toContainText('older lines are no longer shown')
  expect(await page.locator('.lines li').count()).toBeLessThanOrEqual(300)
})

talk('what nobody has any more is named', async ({ page, relay, native, type }) => {
  const publisher = await natively(relay)
  await native.call('subscribe', type)
  await publisher.call('subscribe', type)
  await join(page, relay.url)
  await enter(page, type)
  await publisher.call('broadcast', type, 'before', { wait: true })
  await expect(line(page, 'before')).toBeVisible()
  await page.evaluate(() => window.tombolo!.close())
  await page.goto('about:blank')
  // A relay keeps 256 KiB of each type, a subscriber 512, and a peer that has left cannot be asked.
  const much = 'x'.repeat(100_000)
  for (let i = 0; i < 8; i++) await publisher.call('broadcast', type, much, { wait: true })
  await publisher.call('broadcast', type, 'the end', { wait: true })
  await native.call('received', type, 10) // all of it: through the relay
  await publisher.stop()
  await page.goto(`${relay.url}#talk`)
  await joined(page)
  await expect(line(page, 'the end')).toHaveAttribute('data-replayed', 'true')
  const gap = page.locator('.said-note[data-kind=gap]')
  await expect(gap).toHaveText(/\d messages are missing \(\d+ to \d+\): nobody who was asked still has them/)
  await expect(gap).toContainText(publisher.id.slice(-8))
})

talk('a failure is said in words, with what to do', async ({ page, relay }) => {
  await join(page, `${relay.url}#talk`)
  await page.locator('#talk-type').fill('tombolo/reserved')
  await page.locator('#talk-type').press('Enter')
  await expect(page.locator('.talk .trouble')).toContainText('The room could not be joined')
  await expect(page.locator('.room-tab')).toHaveCount(0)
})

talk('what nobody can hear is said to be so; a relay that is back is asked what was missed', async ({ page, type }) => {
  const relay = await Relay.start()
  try {
    await join(page, relay.url)
    await enter(page, type)
    await expect(page.locator('.said-note', { hasText: 'nothing was missed' })).toHaveCount(1)
    await relay.kill()
    await expect(page.locator('.status')).toHaveAttribute('data-phase', 'adrift')
    await page.locator('#say-text').fill('is anybody there?')
    await page.locator('#say-text').press('Enter')
    await expect(page.locator('.talk .trouble')).toContainText('Nobody was there to hear it')
    await expect(page.locator('.talk .trouble')).toContainText('Ask somebody to join the same room')
    await expect(page.locator('#say-text')).toHaveValue('is anybody there?')
    await relay.restart()
    await joined(page)
    await expect(page.locator('.said-note', { hasText: 'nothing was missed' })).toHaveCount(2)
    await expect(page.locator('.talk .trouble')).toHaveCount(0)
  } finally {
    await relay.stop()
  }
})

talk(
  'several types are tabs, with what was not seen, and the keyboard alone serves them',
  async ({ page, relay, type, bob }) => {
    await join(page, `${relay.url}#talk`)
    const field = page.locator('#talk-type')
    await field.focus()
    await page.keyboard.press('ControlOrMeta+A')
    await page.keyboard.type(type)
    await page.keyboard.press('Enter')
    await expect(page.locator('.room-tab')).toHaveText([type])
    await field.focus()
    await page.keyboard.type('weather')
    await page.keyboard.press('Enter')
    const [first, second] = [page.getByRole('tab', { name: type }), page.getByRole('tab', { name: 'weather' })]
    await expect(second).toHaveAttribute('aria-selected', 'true')
    await expect(bob.locator('.room-here')).toContainText('One other is here')
    await say(bob, 'psst')
    await expect(first).toContainText('1')
    await tabTo(page, '[role=tab][aria-selected=true]')
    await page.keyboard.press('ArrowRight')
    await expect(first).toHaveAttribute('aria-selected', 'true')
    await expect(first).toBeFocused()
    await expect(line(page, 'psst')).toBeVisible()
    await expect(first).toHaveText(type)
    await tabTo(page, '#say-text')
    await page.keyboard.type('heard you')
    await page.keyboard.press('Enter')
    await expect(line(bob, 'heard you')).toBeVisible()
  },
)

talk(
  'what is typed while a message is being sent stays, and what could not be sent comes back',
  async ({ page, relay, type, bob }) => {
    await join(page, relay.url)
    await enter(page, type)
    await expect(page.locator('.room-here')).toContainText('One other is here')
    await page.evaluate(() => {
      const node = window.tombolo!
      const broadcast = node.broadcast.bind(node)
      const gate = new Promise<boolean>((resolve) => Object.assign(window, { open: resolve }))
      node.broadcast = async (type, data, options) => {
        if (type.startsWith('page/')) return broadcast(type, data, options)
        if (await gate) return broadcast(type, data, options)
        throw new Error('cut off')
      }
    })
    const field = page.locator('#say-text')
    await field.fill('the first')
    await field.press('Enter')
    await expect(field).toHaveValue('')
    await page.keyboard.type('the sec')
    await page.evaluate(() => (window as unknown as { open(ok: boolean): void }).open(true))
    await expect(line(bob, 'the first')).toBeVisible()
    await expect(field).toHaveValue('the sec')
    await page.evaluate(() => (window.tombolo!.broadcast = () => Promise.reject(new Error('cut off'))))
    await page.keyboard.type('ond')
    await page.keyboard.press('Enter')
    await expect(page.locator('.talk .trouble')).toContainText('It was not said')
    await expect(field).toHaveValue('the second')
  },
)

talk('what is typed is there after another room, another view and a reload', async ({ page, relay, type }) => {
  await join(page, relay.url)
  await enter(page, type)
  await page.locator('#say-text').fill('half a thou')
  await enter(page, `${type}/other`)
  await expect(page.locator('#say-text')).toHaveValue('')
  await page.getByRole('tab', { name: type, exact: true }).click()
  await expect(page.locator('#say-text')).toHaveValue('half a thou')
  await goTo(page, 'Mesh')
  await page.reload()
  await joined(page)
  await goTo(page, 'Talk')
  await page.getByRole('tab', { name: type, exact: true }).click()
  await expect(page.locator('#say-text')).toHaveValue('half a thou')
})

talk(
  'people give themselves names, which others see where they saw a flag and an id',
  async ({ page, relay, type, bob }) => {
    const ann = await join(page, relay.url)
    await enter(page, type)
    await expect(bob.locator('.room-here')).toContainText(ann.slice(-8))
    const name = page.locator('.talk').getByLabel('Your name, as others see it')
    await name.fill('Ann \u202ede Bree')
    await name.press('Enter')
    await expect(bob.locator('.room-here')).toHaveText('One other is here: Ann de Bree')
    await say(page, 'it is me')
    await expect(line(bob, 'it is me').locator('.said-head')).toContainText('Ann de Bree')
    await expect(line(bob, 'it is me').locator('.peer-name')).toHaveAttribute('title', ann)
    await goTo(bob, 'Mesh')
    await expect(bob.locator(`.berth[data-peer="${ann}"]`)).toContainText('Ann de Bree')
    // Peers that chose the same name are distinguished.
    await goTo(bob, 'Talk')
    await bob.locator('.talk').getByLabel('Your name, as others see it').fill('Ann de Bree')
    await bob.keyboard.press('Enter')
    await expect(bob.locator('.room-here')).toContainText(`Ann de Bree …${ann.slice(-8)}`)
    await page.reload()
    await joined(page)
    await expect(page.locator('.self summary')).toContainText('Ann de Bree')
  },
)

talk('what comes out of a history has the time at which it was said', async ({ page, context, relay, type, bob }) => {
  await join(page, relay.url)
  await enter(page, type)
  await expect(page.locator('.room-here')).toContainText('One other is here')
  await say(page, 'low water at noon')
  const when = await line(bob, 'low water at noon').locator('time').getAttribute('datetime')
  await page.close()
  await say(bob, 'and at midnight')
  const eve = await context.newPage()
  await join(eve, `${relay.url}#talk=${encodeURIComponent(type)}`)
  await expect(line(eve, 'low water at noon')).toHaveAttribute('data-replayed', 'true')
  await expect(line(eve, 'low water at noon').locator('time')).toHaveAttribute('datetime', when!)
  await expect(eve.locator('.said-text')).toHaveText(['low water at noon', 'and at midnight'])
})

talk('a picture in a message is seen, and got from the tab that it is in', async ({ page, relay, type, bob }) => {
  await join(page, relay.url)
  await enter(page, type)
  await expect(page.locator('.room-here')).toContainText('One other is here')
  const picture = await page.locator('.chart').screenshot()
  await page.locator('#say-file').setInputFiles({ name: 'the chart.png', mimeType: 'image/png', buffer: picture })
  const file = bob.locator('.said-file')
  await expect(file).toContainText('the chart.png')
  const width = () => file.locator('img').evaluate((img) => (img as HTMLImageElement).naturalWidth)
  await expect.poll(width).toBeGreaterThan(50)
  await file.click()
  await expect(bob.locator('.shared')).toContainText('the chart.png')
  const coming = bob.waitForEvent('download')
  await bob.locator('.shared').getByRole('button', { name: 'Download' }).click()
  expect((await readFile(await (await coming).path())).equals(picture)).toBe(true)
})

talk('what is said while one looks elsewhere is marked', async ({ page, relay, type, bob }) => {
  await join(page, relay.url)
  await enter(page, type)
  await goTo(page, 'Share')
  await expect(bob.locator('.room-here')).toContainText('One other is here')
  await say(bob, 'psst')
  await expect(page.locator('#nav a[href="#talk"]')).toHaveText('Talk 1 not read')
  await goTo(page, 'Talk')
  await expect(line(page, 'psst')).toBeVisible()
  await expect(page.locator('#nav a[href="#talk"]')).toHaveText('Talk')
})

talk('however fast strangers speak, few lines are drawn, and seldom', async ({ page, relay, native, type }) => {
  const id = await join(page, relay.url)
  await enter(page, type)
  await native.call('connect', id)
  await page.evaluate(() => {
    const seen = { draws: 0, most: 0, begin: performance.now() }
    Object.assign(window, { seen })
    new MutationObserver(() => {
      seen.draws++
      seen.most = Math.max(seen.most, document.querySelectorAll('.lines li').length)
    }).observe(document.querySelector('.lines')!, { subtree: true, childList: true })
  })
  await native.call('flood', id, type, 6_000, 16)
  await expect(page.locator('.lines')).toContainText('older lines are no longer shown')
  const { draws, most, seconds } = await page.evaluate(() => {
    const { seen } = window as unknown as { seen: { draws: number; most: number; begin: number } }
    return { ...seen, seconds: (performance.now() - seen.begin) / 1_000 }
  })
  expect(most).toBeLessThanOrEqual(60)
  expect(draws).toBeGreaterThan(0)
  expect(draws, 'five times a second').toBeLessThanOrEqual(5 * seconds + 3)
  await page
    .locator('.lines')
    .getByRole('button', { name: /Show \d+ earlier lines/ })
    .click()
  await expect(page.locator('.lines li')).toHaveCount(300)
})

async function enter(page: Page, type: string): Promise<void> {
  if (!(await page.locator('#talk-type').isVisible())) await goTo(page, 'Talk')
  await page.locator('#talk-type').fill(type)
  await page.locator('#talk-type').press('Enter')
  await expect(page.locator('#talk-room')).toHaveAttribute('data-type', type)
  await expect(page.locator('#talk-room')).toHaveAttribute('data-open', 'true')
}

/** Sends a message, once its button is there. */
async function say(page: Page, text: string): Promise<void> {
  await page.locator('#say-text').fill(text)
  await page.locator('#say-text').press('Enter')
  await expect(page.locator('#say-text')).toHaveValue('')
}

function line(page: Page, text: string) {
  return page.locator('.said', { has: page.getByText(text, { exact: true }) })
}
