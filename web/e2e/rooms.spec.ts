import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Page } from '@playwright/test'
import type { Room, RoomStats, Seat, TomboloNode, View } from '@tombolo/node'
import { binaries } from './support/binaries.js'
import { expect, test } from './support/fixtures.js'
import { NpmServer } from './support/npm-server.js'
import type { Daemon, Relay } from './support/peers.js'
import { runInWorker } from './support/worker.js'

// A tab holds a room, and plays in it; so do another tab and a native peer. The game is the harbour of core/world/demo, in JavaScript.

interface Boat {
  x: number
  y: number
}

interface Lab extends Window {
  node: TomboloNode
  room: Room
  seat: Seat
  view: View<Boat>
  own: number
  /** What the game was told, in order. */
  told: string[]
  resets: number
  over: Promise<string>
}
declare const window: Lab

async function create(page: Page, server: NpmServer, relay: Relay): Promise<string> {
  await page.goto(server.url)
  return page.evaluate(async (relay) => {
    const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
    window.node = await createNode({ relays: [relay] })
    if ((await window.node.relays()).length === 0) {
      await new Promise((resolve) => window.node.addEventListener('relay:reserved', resolve, { once: true }))
    }
    return window.node.id
  }, relay.url)
}

/** Has the page hold a room with the harbour. */
async function host(page: Page, name: string, options: object = {}): Promise<void> {
  await page.evaluate(
    async ([name, options]) => {
      type Game = import('@tombolo/node').Game
      type World = import('@tombolo/node').World
      const boats = new Map<number, { x: number; y: number; vx: number; vy: number; toldX: number; toldY: number }>()
      const bySlot = new Map<number, number>()
      window.told = []
      let world: World
      const bytes = (length: number, f: (view: DataView) => void) => {
        const all = new Uint8Array(length)
        f(new DataView(all.buffer))
        return all
      }
      const game: Game = {
        start: (w) => void (world = w),
        join(player, data) {
          const word = new TextDecoder().decode(data)
          if (word === 'pirate') throw new Error('no pirates')
          window.told.push(`join ${player.peer.slice(-4)} ${word}`)
          const boat = world.spawn(16, 16)
          boats.set(boat, { x: 256, y: 256, vx: 0, vy: 0, toldX: 256, toldY: 256 })
          bySlot.set(player.slot, boat)
          player.follow(boat)
          player.tell(new TextEncoder().encode('welcome aboard'))
          return bytes(8, (view) => {
            view.setUint32(0, boat)
            view.setUint32(4, 256)
          })
        },
        input(player, data) {
          const boat = boats.get(bySlot.get(player.slot)!)!
          ;[boat.vx, boat.vy] = new Int8Array(data) as unknown as [number, number]
        },
        tick() {
          for (const [entity, boat] of boats) {
            if (boat.vx === 0 && boat.vy === 0) continue
            boat.x = Math.max(0, Math.min(4095, boat.x + boat.vx))
            boat.y = Math.max(0, Math.min(4095, boat.y + boat.vy))
            world.move(entity, boat.x / 16, boat.y / 16)
          }
        },
        leave(player, why) {
          window.told.push(`leave ${player.peer.slice(-4)} ${why}`)
          const boat = bySlot.get(player.slot)!
          world.remove(boat)
          boats.delete(boat)
          bySlot.delete(player.slot)
        },
        whole(entity) {
          const { x, y } = boats.get(entity)!
          return bytes(5, (view) => {
            view.setUint16(0, x)
            view.setUint16(2, y)
            view.setUint8(4, 7)
          })
        },
        change(entity) {
          const boat = boats.get(entity)!
          const [dx, dy] = [boat.x - boat.toldX, boat.y - boat.toldY]
          Object.assign(boat, { toldX: boat.x, toldY: boat.y })
          return new Uint8Array(new Int8Array([dx, dy]).buffer)
        },
      }
      window.room = await window.node.world.host(game, { name, version: 'harbour/1', radius: 20, ...options })
    },
    [name, options] as const,
  )
}

/** Has the page sit in a room, and keep what it sees. Returns its boat. */
function sit(page: Page, room: string, options: object = {}): Promise<number> {
  return page.evaluate(
    async ([room, options]) => {
      const { View } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
      const at = (data: Uint8Array) => new DataView(data.buffer, data.byteOffset, data.byteLength)
      window.view = new View<Boat>(
        (data) => ({ x: at(data).getUint16(0) / 16, y: at(data).getUint16(2) / 16 }),
        ({ x, y }, data) =>
          data.byteLength === 2
            ? { x: x + at(data).getInt8(0) / 16, y: y + at(data).getInt8(1) / 16 }
            : { x: at(data).getUint16(0) / 16, y: at(data).getUint16(2) / 16 },
      )
      window.seat = await window.node.world.join(room, { version: 'harbour/1', ...options })
      window.own = at(window.seat.answer).getUint32(0)
      window.resets = 0
      window.over = (async () => {
        try {
          for await (const tick of window.seat) {
            if (tick.reset) window.resets++
            window.view.take(tick)
          }
          return 'left'
        } catch (error) {
          return (error as { reason?: string }).reason ?? String(error)
        }
      })()
      return window.own
    },
    [room, options] as const,
  )
}

const steer = (page: Page, vx: number, vy: number) =>
  page.evaluate(([vx, vy]) => window.seat.input(new Uint8Array(new Int8Array([vx, vy]).buffer)), [vx, vy] as const)
const seen = (page: Page, boat: number) => page.evaluate((boat) => window.view.get(boat), boat)
const stats = (page: Page): Promise<RoomStats> => page.evaluate(() => window.room.stats())

/** A native peer that sits in a room, and its ticks. */
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
  await expect.poll(async () => (await seen(page, boat))?.x).toBe((await seen(other, boat))?.x)
  await steer(page, 8, 8) // away, until it is out of the other's sight
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
        await window.node.world.join('quay', { version: 'harbour/1', ...options })
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

test('a tab plays in a room that a native peer holds', async ({ page, server, relay, daemon }) => {
  const args = ['room', 'host', '--data-dir', daemon.dir, '--demo', '--radius', '500', '--buoys', '20', 'roads']
  const child = spawn(binaries.native, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  try {
    await create(page, server, relay)
    const boat = await sit(page, 'roads')
    await expect.poll(() => page.evaluate(() => window.view.size)).toBe(21)
    const before = (await seen(page, boat))!
    await steer(page, 1, 1)
    await expect.poll(() => seen(page, boat)).not.toEqual(before)
  } finally {
    child.kill('SIGTERM')
  }
})
