import { circuitAddr, expect, join, test } from '../support/fixtures.js'

const GIB = 1 << 30

// js-libp2p's connection monitor closes a connection that is busy for this long.
for (const transport of ['webtransport', 'websocket'] as const) {
  test(`1 GiB through the circuit to a tab and back, over ${transport}`, async ({ page, relay, testPeer }) => {
    test.setTimeout(20 * 60_000)
    await join(page, `${relay.url}?transport=${transport}`)
    const lost = page.evaluate(
      () => new Promise((resolve) => window.tombolo!.addEventListener('relay:lost', (event) => resolve(event.detail))),
    )
    const started = Date.now()
    const answer = await testPeer.echo(await circuitAddr(page, '/ws/'), GIB, { timeout: '20m' })
    expect(answer).toMatchObject({ ok: true, relayed: true, bytes: GIB })
    const seconds = (Date.now() - started) / 1000
    console.log(`1 GiB each way in ${seconds.toFixed(0)} s: ${(1024 / seconds).toFixed(1)} MiB/s each way at once`)
    expect(await Promise.race([lost, 'kept'])).toBe('kept')
  })
}
