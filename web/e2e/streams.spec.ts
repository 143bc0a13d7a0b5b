import { circuitAddr, expect, join, peerRow, test } from './support/fixtures.js'

const MIB = 1024 * 1024

for (const transport of ['webtransport', 'websocket'] as const) {
  test(`a native peer calls a tab through the circuit and has 16 MiB echoed (tab on ${transport})${transport === 'websocket' ? ' @long' : ''}`, async ({
    page,
    relay,
    testPeer,
  }) => {
    const id = await join(page, `${relay.url}?transport=${transport}#console`)
    const answer = await testPeer.echo(await circuitAddr(page, '/ws/'), 16 * MIB)
    expect(answer).toMatchObject({ ok: true, relayed: true, bytes: 16 * MIB })
    await expect(page.locator('#log')).toContainText('had 16,777,216 bytes echoed')
    const about = await testPeer.identify(`/p2p/${id}`)
    expect(about.agent).toMatch(/^tombolo/)
    expect(about.protocols).toContain('/tombolo/echo/1.0.0')
  })
}

test('a tab calls a native peer at its WebTransport address and has 16 MiB echoed', async ({ page, relay, daemon }) => {
  await join(page, `${relay.url}#mesh`)
  await page.getByLabel('Connect to a peer').fill(daemon.addr('/webtransport/'))
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
  const row = peerRow(page, daemon.id)
  await expect(row).toHaveAttribute('data-transport', 'webtransport')
  await expect(row).toHaveAttribute('data-relayed', 'false')

  const result = await page.evaluate(echoThroughStream, { peer: daemon.id, size: 16 * MIB })
  expect(result).toEqual({ received: 16 * MIB, same: true })
})

test('a tab calls a native peer through the circuit and has 16 MiB echoed', async ({ page, relay, daemon }) => {
  await join(page, `${relay.url}#mesh`) // by its ID alone it would be found at its own addresses
  await page.evaluate((addr) => window.tombolo!.connect(addr), `${relay.addr('/ws/')}/p2p-circuit/p2p/${daemon.id}`)
  await expect(peerRow(page, daemon.id)).toHaveAttribute('data-relayed', 'true')
  const result = await page.evaluate(echoThroughStream, { peer: daemon.id, size: 16 * MIB })
  expect(result).toEqual({ received: 16 * MIB, same: true })
})

test('a tab answers a protocol of its own, and both ends see the end of the stream', async ({ context, relay }) => {
  const callee = await context.newPage()
  const caller = await context.newPage()
  const id = await join(callee, relay.url)
  await callee.evaluate(async () => {
    await window.tombolo!.listen('/x/shout', async (stream) => {
      const text = await new Response(stream.readable).text() // ends with the caller's half
      await new Blob([text.toUpperCase()]).stream().pipeTo(stream.writable)
    })
  })
  await join(caller, relay.url)
  const answer = await caller.evaluate(async (peer) => {
    await window.tombolo!.connect(peer)
    const stream = await window.tombolo!.open(peer, '/x/shout')
    await new Blob(['from one tab to another']).stream().pipeTo(stream.writable)
    return new Response(stream.readable).text()
  }, id)
  expect(answer).toBe('FROM ONE TAB TO ANOTHER')
})

/** Runs in the page: sends random bytes on an echo stream while reading them back, and compares hashes. */
async function echoThroughStream({ peer, size }: { peer: string; size: number }) {
  const sent = new Uint8Array(size)
  for (let i = 0; i < size; i += 65536) crypto.getRandomValues(sent.subarray(i, i + 65536))
  const { readable, writable } = await window.tombolo!.open(peer, '/tombolo/echo/1.0.0', {
    allowCustomProtocol: true,
  })
  const [, back] = await Promise.all([new Blob([sent]).stream().pipeTo(writable), new Response(readable).arrayBuffer()])
  const hash = async (bytes: BufferSource) => String(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
  return { received: back.byteLength, same: (await hash(back)) === (await hash(sent)) }
}
