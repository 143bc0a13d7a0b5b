import { expect, join, peerRow, test } from './support/fixtures.js'
import { type Heard, inTab, natively, underNode } from './support/messengers.js'
import { Daemon, Relay } from './support/peers.js'

test.describe('two relays that are given each other', () => {
  let second: Relay
  test.beforeAll(async ({ relay }) => {
    second = await Relay.start('--peer', relay.addr('/ws/'))
  })
  test.afterAll(() => second.stop())

  test('a tab on one calls a native peer on the other, by its id alone', async ({ page, relay }) => {
    const daemon = await Daemon.start(second)
    try {
      await join(page, `${relay.url}#mesh`)
      await page.getByLabel('Connect to a peer').fill(daemon.id)
      await page.getByRole('button', { name: 'Connect', exact: true }).click()
      await expect(peerRow(page, daemon.id)).toContainText('tombolo/')
      const rtt = await page.evaluate((id) => window.tombolo!.ping(id), daemon.id)
      expect(rtt).toBeGreaterThan(0)
    } finally {
      await daemon.stop()
    }
  })

  test('what a tab on one broadcasts and sends reaches a peer behind the other, and back', async ({
    tab: lab,
    relay,
  }) => {
    const tab = await inTab(lab, relay)
    const node = await underNode(second) // it can be reached only through its relay
    try {
      await tab.call('subscribe', 'chat')
      await node.call('subscribe', 'chat')
      await tab.call('broadcast', 'chat', 'from the tab', { wait: true })
      await node.call('broadcast', 'chat', 'from the other relay', { wait: true })
      await node.call('send', tab.id, 'chat', 'for the tab alone')
      const atTab = await tab.call<Heard[]>('received', 'chat', 3)
      expect(atTab.map(({ text }) => text).sort()).toEqual(
        ['for the tab alone', 'from the other relay', 'from the tab'].sort(),
      )
      const atNode = await node.call<Heard[]>('received', 'chat', 2)
      expect(atNode.map(({ text }) => text).sort()).toEqual(['from the other relay', 'from the tab'])
    } finally {
      await node.stop()
    }
  })

  test('a peer that was away gets what it missed from the relay that it comes to', async ({ tab: lab, relay }) => {
    const native = await natively(relay)
    try {
      await native.call('subscribe', 'news')
      for (let i = 0; i < 5; i++) await native.call('broadcast', 'news', String(i), { wait: true })
      const tab = await inTab(lab, second)
      await tab.call('keepHistory', 'news')
      await tab.call('subscribe', 'news')
      await tab.call('recover', 'news')
      const heard = await tab.call<Heard[]>('received', 'news', 5)
      // When the relay is asked, it may know only the last ones: those that it receives then come after them.
      expect(heard.map(({ text }) => text).sort()).toEqual(['0', '1', '2', '3', '4'])
    } finally {
      await native.stop()
    }
  })
})
