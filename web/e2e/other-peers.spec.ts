import { circuitAddr, expect, join, peerRow, test } from './support/fixtures.js'
import { NodeProcess } from './support/peers.js'

const MIB = 1024 * 1024

test('js-libp2p calls a tab through the relay', async ({ page, relay }) => {
  const js = new NodeProcess('js-libp2p-peer.mjs')
  try {
    const jsId = await js.call<string>('start')
    const toRelay = await js.call<{ peer: string }>('dial', relay.addr('/ws/'))
    expect(toRelay.peer).toBe(relay.id)

    const id = await join(page, relay.url)
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
    await expect(row).toContainText('it called')
  } finally {
    await js.stop()
  }
})

test('the package under Node.js joins over WebSocket, is called through the circuit, and calls', async ({
  relay,
  daemon,
  testPeer,
}) => {
  const node = new NodeProcess('tombolo-peer.mjs')
  try {
    const { id, globals } = await node.call<{ id: string; globals: string[] }>('start', {
      relays: [relay.addr('/ws/')],
    })
    expect(globals).toEqual([])
    const { addrs } = await node.call<{ addrs: string[] }>('reserved')
    expect(addrs.join()).toContain('/p2p-circuit')
    const peers = await node.call<{ id: string; transport: string }[]>('peers')
    expect(peers).toMatchObject([{ id: relay.id, transport: 'websocket' }])

    const called = await testPeer.echo(`${relay.addr('/ws/')}/p2p-circuit/p2p/${id}`, 4 * MIB)
    expect(called).toMatchObject({ ok: true, relayed: true, bytes: 4 * MIB })

    await node.call('connect', daemon.id)
    expect(await node.call<number>('ping', daemon.id)).toBeGreaterThan(0)
    expect(await node.call('echo', daemon.id, MIB)).toEqual({ bytes: MIB, same: true })
    await node.call('close')
  } finally {
    await node.stop()
  }
})
