import { circuitAddr, expect, join, joined, test as base } from './support/fixtures.js'
import { Relay } from './support/peers.js'

/** Each test here has a relay that it may kill. */
const test = base.extend<{ mortal: Relay }>({
  mortal: async ({}, use) => {
    const relay = await Relay.start()
    await use(relay)
    await relay.stop()
  },
})

for (const transport of ['webtransport', 'websocket'] as const) {
  test(`a tab gets its reservation back after its relay was killed and started again (${transport})`, async ({
    page,
    mortal,
    testPeer,
  }) => {
    const id = await join(page, `${mortal.url}?transport=${transport}`)
    await mortal.kill()
    await expect(page.locator('.status')).toHaveAttribute('data-phase', 'adrift')
    await expect(page.locator('#reservation')).toHaveText('lost; trying again')
    await mortal.restart()
    await joined(page)
    await expect(page.locator('#own-id')).toHaveText(id)
    await expect(page.locator('.problem')).toHaveCount(0)
    expect(await testPeer.ping(await circuitAddr(page, '/ws/'))).toMatchObject({ ok: true, relayed: true })
  })
}
