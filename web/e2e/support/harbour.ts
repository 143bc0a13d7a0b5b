import type { Page } from '@playwright/test'
import type {
  Area,
  Board,
  CreateNodeOptions,
  Game,
  Room,
  RoomStats,
  Seat,
  Standby,
  TomboloNode,
  View,
} from '@tombolo/node'
import type { NpmServer } from './npm-server.js'
import type { Relay } from './peers.js'

// The harbour of core/world/demo, in JavaScript: a game for a tab that hosts a room, and players in it.

export interface Boat {
  x: number
  y: number
}

export interface Lab extends Window {
  node: TomboloNode
  room: Room
  standby: Standby
  /** How many inputs of each player the game of this page has had. */
  board: Board
  /** Creates a new harbour. */
  harbour: () => Game
  /** The hosts that rooms of this node have moved to. */
  moved: string[]
  seat: Seat
  view: View<Boat>
  own: number
  /** What happened in the game, in order: who joined, from which room, and who left. */
  told: string[]
  resets: number
  /** How many records of known entities have arrived: complete ones, and changes. */
  wholes: number
  changes: number
  over: Promise<string>
  /** The area that the players of this room walk to, if any. */
  walk: Area | undefined
  /** Why some of them could not walk and stayed. */
  stayed: string[]
  /** How many inputs of this player the game has had, as last reported. */
  inputs: number
}
declare const window: Lab

/** A tab of any browser. */
export type AnyTab = Pick<Page, 'evaluate'> & { goto(url: string): Promise<unknown> }

/** Creates a node in a tab, and waits for its reservation. Returns the node's ID. */
export async function create(
  page: AnyTab,
  server: NpmServer,
  relay: Relay,
  options: CreateNodeOptions = {},
): Promise<string> {
  await page.goto(server.url)
  return page.evaluate(
    async (options) => {
      const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
      window.node = await createNode(options)
      if ((await window.node.relays()).length === 0) {
        await new Promise((resolve) => window.node.addEventListener('relay:reserved', resolve, { once: true }))
      }
      return window.node.id
    },
    { relays: [relay.url], ...options },
  )
}

/** Makes the page host a room with the harbour. */
export async function host(page: Pick<AnyTab, 'evaluate'>, name: string, options: object = {}): Promise<void> {
  await rig(page)
  await page.evaluate(
    async ([name, options]) => {
      window.room = await window.node.world.host(window.harbour(), {
        name,
        version: 'harbour/2',
        radius: 20,
        ...options,
      })
    },
    [name, options] as const,
  )
}

/** Makes the page stand by for a room with the harbour. */
export async function standBy(page: Pick<AnyTab, 'evaluate'>, name: string, options: object = {}): Promise<void> {
  await rig(page)
  await page.evaluate(
    async ([name, options]) => {
      window.standby = await window.node.world.standBy(window.harbour(), {
        name,
        version: 'harbour/2',
        radius: 20,
        ...options,
      })
      void window.standby.held().then((room) => {
        if (room !== null) window.room = room
      })
    },
    [name, options] as const,
  )
}

/** Gives the page the harbour. The saved state of a player is its boat's position and speed, and its number of inputs. */
async function rig(page: Pick<AnyTab, 'evaluate'>): Promise<void> {
  await page.evaluate(() => {
    type Game = import('@tombolo/node').Game
    type World = import('@tombolo/node').World
    window.told = []
    window.moved = []
    window.stayed = []
    window.node.addEventListener('room:moved', ({ detail }) => window.moved.push(detail.host))
    window.harbour = () => {
      const boats = new Map<
        number,
        { x: number; y: number; vx: number; vy: number; toldX: number; toldY: number; inputs: number }
      >()
      const bySlot = new Map<number, number>()
      const players = new Set<import('@tombolo/node').Player>()
      let world: World
      const bytes = (length: number, f: (view: DataView) => void) => {
        const all = new Uint8Array(length)
        f(new DataView(all.buffer))
        return all
      }
      const game: Game = {
        start(w) {
          world = w
          window.board = w.board('inputs')
        },
        join(player, data) {
          const word = new TextDecoder().decode(data)
          if (word === 'pirate') throw new Error('no pirates')
          window.told.push(`join ${player.peer.slice(-4)} ${word}`)
          const state = player.arrived?.state ?? player.kept
          if (player.arrived !== undefined) window.told.push(`from ${player.arrived.room}`)
          const kept = state.byteLength === 8 ? new Int16Array(state.slice().buffer) : [256, 256, 0, 0]
          const [x, y, v, inputs] = kept as [number, number, number, number]
          const boat = world.spawn(x / 16, y / 16)
          boats.set(boat, { x, y, vx: v >> 8, vy: (v << 24) >> 24, toldX: x, toldY: y, inputs })
          bySlot.set(player.slot, boat)
          players.add(player)
          player.follow(boat)
          player.tell(new TextEncoder().encode('welcome aboard'))
          return bytes(16, (view) => {
            view.setUint32(0, boat)
            view.setUint32(4, 256)
          })
        },
        input(player, data) {
          const boat = boats.get(bySlot.get(player.slot)!)!
          ;[boat.vx, boat.vy] = new Int8Array(data) as unknown as [number, number]
          boat.inputs++
          window.board.add(player, 1)
          player.tell(new Uint8Array([boat.inputs]))
        },
        tick() {
          if (window.walk !== undefined) {
            for (const player of players) player.walk(window.walk, game.savePlayer!(player)!)
          }
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
          players.delete(player)
        },
        stays: (_, to, why) => void window.stayed.push(`${to.room}: ${why}`),
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
        savePlayer(player) {
          const boat = boats.get(bySlot.get(player.slot)!)
          if (boat === undefined) return
          const { x, y, vx, vy, inputs } = boat
          return new Uint8Array(Int16Array.of(x, y, (vx << 8) | (vy & 0xff), inputs).buffer)
        },
      }
      return game
    }
  })
}

/** Makes the page sit in a room, and record what it sees. Returns its boat. */
export function sit(page: AnyTab, room: string, options: object = {}): Promise<number> {
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
      window.seat = await window.node.world.join(room, { version: 'harbour/2', ...options })
      window.own = at(window.seat.answer).getUint32(0)
      window.resets = window.wholes = window.changes = 0
      window.over = (async () => {
        try {
          for await (const tick of window.seat) {
            if (tick.reset) window.resets++
            for (const { whole } of tick.updates.filter(({ isNew }) => !isNew))
              whole ? window.wholes++ : window.changes++
            window.view.take(tick)
            for (const note of tick.notes) if (note.byteLength === 1) window.inputs = note[0]!
            if (tick.reset) window.own = at(window.seat.answer).getUint32(0)
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

export const steer = (page: AnyTab, vx: number, vy: number) =>
  page.evaluate(([vx, vy]) => window.seat.input(new Uint8Array(new Int8Array([vx, vy]).buffer)), [vx, vy] as const)
export const seen = (page: AnyTab, boat: number) => page.evaluate((boat) => window.view.get(boat), boat)
export const stats = (page: Pick<AnyTab, 'evaluate'>): Promise<RoomStats> => page.evaluate(() => window.room.stats())
