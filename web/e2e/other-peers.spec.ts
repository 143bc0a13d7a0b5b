import { randomBytes } from 'node:crypto'
import { circuitAddr, expect, join, peerRow, test } from './support/fixtures.js'
import { NodeTab } from './support/node-tab.js'
import { NodeProcess } from './support/peers.js'

const MIB = 1024 * 1024

test('js-libp2p calls a tab through the relay', async ({ page, relay }) => {
  const js = new NodeProcess('js-libp2p-peer.mjs')
  try {
    const jsId = await js.call<string>('start')
    const toRelay = await js.call<{ peer: string }>('dial', relay.addr('/ws/'))
    expect(toRelay.peer).toBe(relay.id)

    const id = await join(page, `${relay.url}#mesh`)
    const addr = await circuitAddr(page, '/ws/')
    const toTab = await js.call<{ peer: string; addr: string }>('dial', addr)
    expect(toTab.peer).toBe(id)
    expect(toTab.addr).toContain('/p2p-circuit')

    expect(await js.call<number>('ping', addr)).toBeGreaterThan(0)
    expect(await js.call<string>('echo', addr, 'ahoy')).toBe('ahoy')
    const identified = await js.call<{ agent: string; protocols: string[]; addrs: string[] }>('identified', addr)
    expect(identified.agent).toMatch(/^tombolo/)
    expect(identified.protocols).toEqual(expect.arrayContaining(['/ipfs/ping/1.0.0', '/tombolo/echo/1.0.0']))
    expect(identified.addrs.some((own) => own.includes(`${relay.id}/p2p-circuit`))).toBe(true)

    const row = peerRow(page, jsId)
    await expect(row).toContainText('js-libp2p')
    await expect(row).toContainText('it connected')
  } finally {
    await js.stop()
  }
})

test('the package under Node.js joins over WebSocket, is called through the circuit, and calls', async ({
  relay,
  daemon,
  testPeer,
}) => {
  const node = new NodeTab()
  try {
    const id = await node.create({ relays: [relay.addr('/ws/')] })
    const left = await node.evaluate(() => ['Go', 'fs', 'path', 'tombolo'].filter((name) => name in globalThis))
    expect(left, 'globals that the program needs to start').toEqual([])
    const [held] = await node.evaluate(() => window.tombolo!.relays())
    expect(held!.addrs.join()).toContain('/p2p-circuit')
    const peers = await node.evaluate(() => window.tombolo!.peers())
    expect(peers).toMatchObject([{ id: relay.id, transport: 'websocket' }])

    const called = await testPeer.echo(`${relay.addr('/ws/')}/p2p-circuit/p2p/${id}`, 4 * MIB)
    expect(called).toMatchObject({ ok: true, relayed: true, bytes: 4 * MIB })

    await node.evaluate((id) => window.tombolo!.connect(id), daemon.id)
    expect(await node.evaluate((id) => window.tombolo!.ping(id), daemon.id)).toBeGreaterThan(0)
    const sent = randomBytes(MIB)
    const back = await node.evaluate(([id, bytes]) => window.tombolo!.echo(id, bytes), [daemon.id, sent] as const)
    expect(sent.equals(back)).toBe(true)
    await node.evaluate(() => window.tombolo!.close())
  } finally {
    await node.close()
  }
})
