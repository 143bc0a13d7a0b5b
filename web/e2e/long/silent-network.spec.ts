import { circuitAddr, expect, join, test as base } from '../support/fixtures.js'
import { Relay } from '../support/peers.js'

const test = base.extend<{ mortal: Relay }>({
  mortal: async ({}, use) => {
    const relay = await Relay.start()
    await use(relay)
    relay.freeze(false)
    await relay.stop()
  },
})

// Nobody says goodbye when a network fails. QUIC and yamux notice within about half a minute that nothing arrives.
for (const transport of ['webtransport', 'websocket'] as const) {
  test(`a tab notices that its network fell silent, and is back when it is (${transport})`, async ({
    page,
    mortal,
    testPeer,
  }) => {
    test.setTimeout(5 * 60_000)
    await join(page, `${mortal.url}?transport=${transport}`)
    mortal.freeze(true)
    await expect(page.locator('.status')).toHaveAttribute('data-phase', 'adrift', { timeout: 120_000 })
    mortal.freeze(false)
    await expect(page.locator('.status')).toHaveAttribute('data-phase', 'joined', { timeout: 120_000 })
    expect(await testPeer.ping(await circuitAddr(page, '/ws/'))).toMatchObject({ ok: true, relayed: true })
  })
}
