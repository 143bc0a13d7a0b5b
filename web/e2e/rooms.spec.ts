import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Page } from '@playwright/test'
import type { Lobby } from '@tombolo/node'
import { BareBrowser } from './support/bare-browser.js'
import { binaries } from './support/binaries.js'
import { expect, test } from './support/fixtures.js'
import { type AnyTab, create, host, type Lab, seen, sit, standBy, stats, steer } from './support/harbour.js'
import { NodeTab } from './support/node-tab.js'
import type { NpmServer } from './support/npm-server.js'
import type { Daemon, Relay } from './support/peers.js'
import { runInWorker } from './support/worker.js'

// A tab hosts a room and plays in it; so do another tab and a native peer.

declare const window: Lab & { tombolo: Lab['node'] }

/** A native peer with a seat in a room, and its ticks. */
function nativePlayer(daemon: Daemon, room: string) {
  const args = ['room', 'join', '--data-dir', daemon.dir, '--json', '--vx', '3', '--vy', '0', room]
  const child = spawn(binaries.native, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ticks: { sees: number; x: number; y: number }[] = []
  createInterface(child.stdout).on('line', (line) => ticks.push(JSON.parse(line) as (typeof ticks)[number]))
  const ended = new Promise((resolve) => child.once('exit', resolve))
  return {
    last: () => ticks.at(-1),
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}

test('a tab holds a room in which it, another tab and a native peer see each other enter, move and leave', async ({
  page,
  context,
  server,
  relay,
  daemon,
}) => {
  const hostId = await create(page, server, relay)
  await host(page, 'quay', { spectators: 1 })
  const own = await sit(page, 'quay')

  const other = await context.newPage()
  const otherId = await create(other, server, relay)
  await expect
    .poll(() =>
      other.evaluate(async () => (await window.node.world.list({ wait: 500 })).map(({ name, host }) => [name, host])),
    )
    .toEqual([['quay', hostId]])
  const boat = await sit(other, 'quay', { data: new TextEncoder().encode('me') })
  await expect.poll(() => seen(page, boat)).toEqual({ x: 16, y: 16 })
  await expect.poll(() => seen(other, own)).toEqual({ x: 16, y: 16 })

  await steer(other, 8, 0)
  await expect.poll(async () => (await seen(page, boat))?.x).toBeGreaterThan(20)
  await steer(other, 0, 0)
  await expect.poll(async () => (await seen(page, boat))?.x === (await seen(other, boat))?.x).toBe(true)
  await steer(page, 8, 8) // until it is out of the other's sight
  await expect.poll(() => seen(other, own)).toBeUndefined()

  const player = nativePlayer(daemon, 'quay')
  await expect.poll(() => player.last()?.x).toBeGreaterThan(17)
  await expect.poll(() => stats(page)).toMatchObject({ players: 3, entities: 3, shedding: 'nothing' })
  await player.stop()
  await expect.poll(() => stats(page)).toMatchObject({ players: 2, entities: 2 })

  await other.evaluate(() => window.seat.leave())
  expect(await other.evaluate(() => window.over)).toBe('left')
  await expect.poll(() => stats(page)).toMatchObject({ players: 1, entities: 1 })
  const end = otherId.slice(-4)
  expect(await page.evaluate((end) => window.told.filter((line) => line.includes(end)), end)).toEqual([
    `join ${end} me`,
    `leave ${end} left`,
  ])

  const refused = (options: object) =>
    other.evaluate(async (options) => {
      try {
        await window.node.world.join('quay', { version: 'harbour/2', ...options })
        return 'seated'
      } catch (error) {
        const { code, reason, message } = error as { code: string; reason: string; message: string }
        return `${code} ${reason} ${message}`
      }
    }, options)
  expect(await refused({ data: new TextEncoder().encode('pirate') })).toMatch(/^seat refused .*no pirates/)
  expect(await refused({ version: 'harbour/0' })).toMatch(/^seat version /)
  await page.evaluate((id) => window.room.ban(id), otherId)
  expect(await refused({})).toMatch(/^seat banned /)
  await page.evaluate((id) => window.room.unban(id), otherId)

  await sit(other, 'quay')
  await page.evaluate(() => window.room.close())
  expect(await other.evaluate(() => window.over)).toBe('closed')
})

test('a tab watches the rooms of the mesh as they open, change, fill and close', async ({
  page,
  context,
  server,
  relay,
}) => {
  const other = await context.newPage()
  await create(other, server, relay)
  await other.evaluate(async () => {
    const lobby = await window.node.world.watch({ tags: { map: '' }, open: true })
    const told: string[] = []
    Object.assign(window, { told, lobby })
    void (async () => {
      for await (const { name, gone, tags, players } of lobby) {
        told.push(gone ? `${name} gone` : `${name} ${tags.map} ${players}`)
      }
      told.push('over')
    })()
  })
  const told = () => other.evaluate(() => window.told)
  const hostId = await create(page, server, relay)
  await host(page, 'untagged')
  await host(page, 'locked', { tags: { map: 'bay' }, password: 'tide' })
  await host(page, 'quay', { tags: { map: 'bay' } })
  await expect.poll(told).toEqual(['quay bay 0'])
  await page.evaluate(() => window.room.setTags({ map: 'cape' }))
  await expect.poll(told).toEqual(['quay bay 0', 'quay cape 0'])
  await sit(page, 'quay')
  await expect.poll(told).toEqual(['quay bay 0', 'quay cape 0', 'quay cape 1'])
  const rooms = () => other.evaluate(() => (window as unknown as { lobby: Lobby }).lobby.rooms())
  expect(await rooms()).toMatchObject([{ name: 'quay', host: hostId, players: 1, tags: { map: 'cape' }, hz: 20 }])

  // A new worker must find the rooms again.
  await runInWorker(other, 'dedicated', () => {
    setTimeout(() => {
      throw new Error('the worker has had enough')
    })
  })
  await expect.poll(async () => (await told()).slice(3)).toEqual(['quay gone', 'quay cape 1'])
  await page.evaluate(() => window.room.close())
  await expect.poll(async () => (await told()).slice(5)).toEqual(['quay gone'])
  await other.evaluate(() => (window as unknown as { lobby: Lobby }).lobby.close())
  await expect.poll(async () => (await told()).slice(6)).toEqual(['over'])
})

test('a room is opened by a peer that offers it @long', async ({ page, server, relay, daemon }) => {
  const offer = ['room', 'offer', '--data-dir', daemon.dir, '--demo', '--idle', '5s', 'bay']
  const child = spawn(binaries.native, offer, { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  createInterface(child.stdout).on('line', (line) => lines.push(line))
  try {
    await create(page, server, relay)
    expect(await page.evaluate(() => window.node.world.place('bay', 'regatta', { tags: { map: 'cape' } }))).toBe(
      daemon.id,
    )
    await sit(page, 'regatta', { host: daemon.id })
    await expect.poll(() => lines).toContain('room regatta is open')
    await page.evaluate(() => window.seat.leave())
    await expect.poll(() => lines).toContain('room regatta is closed')
  } finally {
    child.kill('SIGTERM')
  }
})

test('who has an invitation joins a private room', async ({ page, context, server, relay }) => {
  await create(page, server, relay)
  await host(page, 'den', { private: true })
  const link = await page.evaluate(() => window.room.invite(location.href))
  expect(link).toMatch(/^http.*#room=den&key=[A-Z2-7]{26}&host=12D3/)
  const other = await context.newPage()
  await create(other, server, relay)
  expect(await other.evaluate(() => window.node.world.list({ wait: 500 }))).toEqual([])
  const accept = (link: string) =>
    other.evaluate(async (link) => {
      const seat = await window.node.world.accept(link, { version: 'harbour/2' })
      await seat.leave()
      return [seat.name, seat.host]
    }, link)
  expect(await accept(link)).toEqual(['den', await page.evaluate(() => window.node.id)])
  await expect(accept(link.replace(/key=\w+/, 'key=guessed'))).rejects.toThrow(/password/)
  await expect(accept('https://example.com/#nothing')).rejects.toThrow(/the link is not an invitation/)
})

test('a room and its players outlive the worker of the tab that holds it', async ({ page, context, server, relay }) => {
  await create(page, server, relay)
  await host(page, 'pier')
  const other = await context.newPage()
  await create(other, server, relay)
  await sit(other, 'pier')
  await expect.poll(() => stats(page)).toMatchObject({ players: 1 })
  await page.evaluate(() =>
    Object.assign(window, { back: new Promise((resolve) => window.node.addEventListener('restart', resolve)) }),
  )
  await runInWorker(page, 'dedicated', () => {
    setTimeout(() => {
      throw new Error('the worker has had enough')
    })
  })
  await page.evaluate(() => (window as unknown as { back: Promise<unknown> }).back)
  await expect.poll(() => stats(page), { timeout: 90_000 }).toMatchObject({ players: 1, entities: 1 })
  await expect.poll(() => other.evaluate(() => window.resets)).toBeGreaterThan(1)
})

for (const [room, way] of Object.entries({ roads: 'through the relay', sound: 'over WebTransport, by datagrams' })) {
  test(`a tab plays in a room that a native peer holds, ${way}`, async ({ page, server, relay, daemon }) => {
    const args = ['room', 'host', '--data-dir', daemon.dir, '--demo', '--radius', '500', '--buoys', '20', room]
    const child = spawn(binaries.native, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    try {
      await create(page, server, relay)
      const direct = way !== 'through the relay'
      if (direct) await page.evaluate((addr) => window.node.connect(addr), daemon.addr('/webtransport/'))
      const boat = await sit(page, room)
      await expect.poll(() => page.evaluate(() => window.view.size)).toBe(21)
      const before = (await seen(page, boat))!
      await steer(page, 1, 1)
      await expect.poll(() => seen(page, boat)).not.toEqual(before)
      // Datagrams hold whole records, because any of them may get lost.
      await expect.poll(() => page.evaluate((d) => (d ? window.wholes : window.changes), direct)).toBeGreaterThan(100)
      if (direct) expect(await page.evaluate(() => window.changes)).toBe(0)
    } finally {
      child.kill('SIGTERM')
    }
  })
}

const ends: Record<string, (page: Page) => Promise<unknown>> = {
  'is left': (page) => page.evaluate(() => window.room.handOver()),
  'closes its node': (page) => page.evaluate(() => window.node.close()),
  'is closed': (page) => page.close(),
  crashes: async (page) => {
    const crashed = page.waitForEvent('crash')
    page.goto('chrome://crash').catch(() => {}) // this never returns
    await crashed
  },
}

/** Where a node stands by. */
interface Stand {
  tab: Pick<AnyTab, 'evaluate'>
  id: string
}

/** Sets up a room that a tab hosts, another node stands by for, and a third one plays in. */
async function crew(first: AnyTab, stand: Stand, player: Page, server: NpmServer, relay: Relay, name: string) {
  const hostId = await create(first, server, relay)
  await host(first, name, { standbys: [stand.id] })
  await standBy(stand.tab, name, { host: hostId })
  const playerId = await create(player, server, relay)
  await sit(player, name)
  await first.evaluate((peers) => peers.forEach((peer) => window.board.set(peer, 2)), [hostId, stand.id])
  await expect.poll(() => stand.tab.evaluate(() => window.standby.state())).toMatchObject({ ready: true, waiting: 1 })
  await steer(player, 8, 0)
  await steer(player, 1, 0)
  await expect.poll(() => player.evaluate(() => window.inputs)).toBe(2)
  const { tick } = await stats(first)
  await expect.poll(async () => (await stand.tab.evaluate(() => window.standby.state())).tick).toBeGreaterThan(tick)
  const board = () => player.evaluate(() => window.seat.board('inputs').lines())
  const { lines } = await board()
  expect(lines.map(({ peer, score }) => [peer, score])).toEqual([
    [hostId, 2], // reached the score before the player
    [stand.id, 2],
    [playerId, 2],
  ])
  const x = () => player.evaluate(() => window.view.get(window.own)?.x)
  const before = (await x())!
  /** Checks that the game continues where the node stood by, with its state. */
  return async () => {
    await expect.poll(() => player.evaluate(() => window.seat.host), { timeout: 30_000 }).toBe(stand.id)
    expect(await board()).toEqual({ end: null, players: 3, lines })
    const watched = player.evaluate(async (id) => {
      for await (const { lines } of window.seat.board('inputs').watch({ around: id, each: 0 })) {
        if (lines[0]!.score === 3) return lines[0]!.rank
      }
    }, playerId)
    await steer(player, 2, 0)
    await expect.poll(() => player.evaluate(() => window.inputs)).toBe(3)
    expect(await watched).toBe(1)
    const asked = ([host, room]: string[]) => window.node.world.board(host!, room!, 'inputs').of(host!)
    expect(await stand.tab.evaluate(asked, [stand.id, name])).toMatchObject({ rank: 3, score: 2 })
    await expect.poll(x).toBeGreaterThan(before)
    expect(await stats(stand.tab)).toMatchObject({ epoch: 2, players: 1 })
  }
}

for (const [how, end] of Object.entries(ends)) {
  const seldom = how === 'is closed' ? '' : ' @long' // the same as when it is closed, apart from who says goodbye
  test(`the game goes on in another tab when the tab that holds it ${how}${seldom}`, async ({
    page,
    context,
    server,
    relay,
  }) => {
    const first = await context.newPage()
    const stand = { tab: page, id: await create(page, server, relay) }
    const goesOn = await crew(first, stand, await context.newPage(), server, relay, `cove ${how}`)
    await end(first)
    await goesOn()
  })
}

test('the game goes on in another tab when the tab that holds it is frozen, and that tab hears of it @long', async ({
  page,
  context,
  server,
  relay,
}) => {
  const own = await BareBrowser.start({})
  try {
    const first = await own.newPage()
    const stand = { tab: page, id: await create(page, server, relay) }
    const goesOn = await crew(first, stand, await context.newPage(), server, relay, 'cove is frozen')
    await (await own.newPage()).show() // only hidden pages are ever frozen
    await first.send('Page.setWebLifecycleState', { state: 'frozen' })
    await goesOn()
    await first.send('Page.setWebLifecycleState', { state: 'active' })
    await expect.poll(() => first.evaluate(() => window.moved)).toEqual([stand.id])
  } finally {
    await own.close()
  }
})

test('the game goes on in a process of Node.js when the tab that holds it crashes @long', async ({
  page,
  context,
  server,
  relay,
}) => {
  const node = new NodeTab()
  try {
    const stand = { tab: node, id: await node.create({ relays: [relay.url] }) }
    await node.evaluate(() => Object.assign(window, { node: window.tombolo }))
    const goesOn = await crew(page, stand, await context.newPage(), server, relay, 'cove in Node.js')
    await ends['crashes']!(page)
    await goesOn()
  } finally {
    await node.close()
  }
})

test('a room that a tab keeps is as it was when the tab holds it again', async ({ page, context, server, relay }) => {
  await create(page, server, relay, { identity: 'persistent' })
  await host(page, 'dock', { keep: true })
  const player = await context.newPage()
  await create(player, server, relay)
  const play = async (inputs: number) => {
    await sit(player, 'dock')
    await steer(player, 1, 0)
    await expect.poll(() => player.evaluate(() => window.inputs)).toBe(inputs)
    expect(await player.evaluate(() => window.seat.board('inputs').of(window.node.id))).toMatchObject({ score: inputs })
  }
  await play(1)
  await page.evaluate(() => window.room.save())
  await page.reload()
  await create(page, server, relay, { identity: 'persistent' })
  await host(page, 'dock', { keep: true })
  await play(2)
  await page.evaluate(() => window.room.close())
  await host(page, 'dock', { keep: true })
  await play(3)
})

test('a tab walks to a room of another tab and back, and stays where the other one is gone @long', async ({
  page,
  context,
  server,
  relay,
}) => {
  const names = ['west', 'east']
  const hosts = [page, await context.newPage()]
  const ids: string[] = []
  for (const [i, tab] of hosts.entries()) {
    ids.push(await create(tab, server, relay))
    await host(tab, names[i]!)
  }
  for (const [i, tab] of hosts.entries()) {
    await tab.evaluate((id) => window.room.nameNeighbours([id]), ids[1 - i]!)
  }
  const player = await context.newPage()
  await create(player, server, relay)
  await sit(player, 'west', { host: ids[0] })
  await steer(player, 1, 0)

  /** Moves the player to the other room while it keeps steering. The game counts the inputs that it applies. */
  let sent = 1
  const walk = async (from: number) => {
    const to = 1 - from
    const steering = player.evaluate(
      async ([room, sent]) => {
        let more = 0
        for (; window.seat.name !== room || more < 10; more++) {
          await window.seat.input(new Uint8Array(new Int8Array([1, (sent + more) % 2]).buffer))
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
        return more
      },
      [names[to]!, sent] as const,
    )
    await hosts[from]!.evaluate((area) => void (window.walk = area), { room: names[to]!, host: ids[to]! })
    sent += await steering
    await hosts[from]!.evaluate(() => void (window.walk = undefined))
    expect(await player.evaluate(() => [window.seat.name, window.seat.host])).toEqual([names[to], ids[to]])
    await expect.poll(() => player.evaluate(() => window.inputs)).toBe(sent % 256)
    await expect.poll(() => stats(hosts[to]!)).toMatchObject({ players: 1 })
    await expect.poll(() => stats(hosts[from]!)).toMatchObject({ players: 0, entities: 0 })
    expect(await hosts[to]!.evaluate(() => window.told.at(-1))).toBe(`from ${names[from]}`)
  }
  await walk(0)
  await walk(1)
  await walk(0)

  await page.close()
  await hosts[1]!.evaluate((area) => void (window.walk = area), { room: 'west', host: ids[0]! })
  await expect.poll(() => hosts[1]!.evaluate(() => window.stayed[0]), { timeout: 15_000 }).toMatch(/^west: /)
  await steer(player, 0, 0)
  await expect.poll(() => player.evaluate(() => window.inputs)).toBe((sent + 1) % 256)
  expect(await player.evaluate(() => window.seat.name)).toBe('east')
})
