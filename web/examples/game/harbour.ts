import type { Game, Player, World } from '@tombolo/node'

// The rules of the harbour. The tab that hosts the room applies them for everybody, so no player can claim a buoy that it did not reach.

export const VERSION = 'examples/harbour/1'
/** The length of each side of the water. */
export const SIZE = 100
/** How far a boat moves in a tick. */
const SPEED = 1.2
/** How close a boat must come to take a buoy. */
const REACH = 3
const BUOYS = 12

/** A boat or a buoy, as players see it. A buoy has no sailor. */
export interface Thing {
  x: number
  y: number
  /** The last characters of the sailor's peer ID. */
  sailor: string
  score: number
}

interface Boat extends Thing {
  toX: number
  toY: number
}

export class Harbour implements Game {
  #world!: World
  readonly #boats = new Map<number, Boat>()
  readonly #bySlot = new Map<number, number>()
  readonly #buoys = new Map<number, Thing>()

  start(world: World): void {
    this.#world = world
    for (let i = 0; i < BUOYS; i++) {
      const buoy = { x: Math.random() * SIZE, y: Math.random() * SIZE, sailor: '', score: 0 }
      this.#buoys.set(world.spawn(buoy.x, buoy.y), buoy)
    }
  }

  /** Adds a boat for the player. The answer is the entity of that boat. */
  join(player: Player): Uint8Array {
    const boat = { x: SIZE / 2, y: SIZE / 2, toX: SIZE / 2, toY: SIZE / 2, sailor: player.peer.slice(-6), score: 0 }
    const entity = this.#world.spawn(boat.x, boat.y)
    this.#boats.set(entity, boat)
    this.#bySlot.set(player.slot, entity)
    player.follow(entity)
    return new Uint8Array(Uint32Array.of(entity).buffer)
  }

  /** Sets the place that the boat heads for: two numbers. */
  input(player: Player, data: Uint8Array): void {
    if (data.byteLength !== 8) return player.kick('an input has 8 bytes')
    const view = new DataView(data.buffer, data.byteOffset, 8)
    const within = (n: number) => (n >= 0 && n <= SIZE ? n : SIZE / 2)
    const boat = this.#boats.get(this.#bySlot.get(player.slot)!)!
    boat.toX = within(view.getFloat32(0))
    boat.toY = within(view.getFloat32(4))
  }

  tick(): void {
    for (const [entity, boat] of this.#boats) {
      const [dx, dy] = [boat.toX - boat.x, boat.toY - boat.y]
      const far = Math.hypot(dx, dy)
      if (far === 0) continue
      const part = Math.min(1, SPEED / far)
      boat.x += dx * part
      boat.y += dy * part
      this.#world.move(entity, boat.x, boat.y)
      this.#take(boat)
    }
  }

  /** Counts the buoys that a boat has reached, and moves them elsewhere at once. */
  #take(boat: Boat): void {
    for (const [entity, buoy] of this.#buoys) {
      if (Math.hypot(buoy.x - boat.x, buoy.y - boat.y) > REACH) continue
      boat.score++
      Object.assign(buoy, { x: Math.random() * SIZE, y: Math.random() * SIZE })
      this.#world.move(entity, buoy.x, buoy.y)
    }
  }

  leave(player: Player): void {
    const entity = this.#bySlot.get(player.slot)!
    this.#bySlot.delete(player.slot)
    this.#boats.delete(entity)
    this.#world.remove(entity)
  }

  /** Encodes everything: two numbers, the score, and the sailor's name. */
  whole(entity: number): Uint8Array {
    const { x, y, score, sailor } = this.#boats.get(entity) ?? this.#buoys.get(entity)!
    const data = new Uint8Array(10 + sailor.length)
    const view = new DataView(data.buffer)
    view.setFloat32(0, x)
    view.setFloat32(4, y)
    view.setUint16(8, score)
    new TextEncoder().encodeInto(sailor, data.subarray(10))
    return data
  }

  /** Encodes everything except the name. */
  change(entity: number): Uint8Array {
    return this.whole(entity).slice(0, 10)
  }
}

/** Decodes the result of `whole`. */
export function decode(data: Uint8Array): Thing {
  return { ...apply({ sailor: new TextDecoder().decode(data.subarray(10)) }, data) }
}

/** Decodes the result of `change`. */
export function apply(thing: Pick<Thing, 'sailor'>, data: Uint8Array): Thing {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  return { x: view.getFloat32(0), y: view.getFloat32(4), score: view.getUint16(8), sailor: thing.sailor }
}

/** Encodes the input that sends a boat to a place. */
export function course(x: number, y: number): Uint8Array {
  const data = new Uint8Array(8)
  const view = new DataView(data.buffer)
  view.setFloat32(0, x)
  view.setFloat32(4, y)
  return data
}
