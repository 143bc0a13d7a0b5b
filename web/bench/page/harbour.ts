// The harbour of core/world/demo, as a page plays it: what travels is the same, so the shell's bots can play in it.
import type { Game, Player, World } from '@tombolo/node'

export const VERSION = 'harbour/1'
/** The side of the water, and how far a player sees, as `tombolo room host --demo` has them. */
const SIZE = 256
export const RADIUS = 40
const BUOYS = 50
/** Steps of a place in one unit. */
const UNITS = 16

/** A boat or a buoy; places are in steps. */
interface Thing {
  x: number
  y: number
  vx: number
  vy: number
  toldX: number
  toldY: number
  hue: number
}

export class Harbour implements Game {
  #world!: World
  readonly #things = new Map<number, Thing>()
  readonly #boats = new Map<number, number>() // by slot

  start(world: World): void {
    this.#world = world
    for (let i = 0; i < BUOYS; i++) {
      const buoy = this.#things.get(this.#spawn())!
      buoy.vx = below(9) - 4
      buoy.vy = below(9) - 4
    }
  }

  /** The answer is the player's boat, and the side of the water. */
  join(player: Player): Uint8Array {
    const boat = this.#spawn()
    this.#boats.set(player.slot, boat)
    player.follow(boat)
    const answer = new DataView(new ArrayBuffer(8))
    answer.setUint32(0, boat)
    answer.setUint32(4, SIZE)
    return new Uint8Array(answer.buffer)
  }

  /** Two signed bytes: the speed in steps a tick. */
  input(player: Player, data: Uint8Array): void {
    if (data.byteLength !== 2) return player.kick('an input has two bytes')
    const boat = this.#things.get(this.#boats.get(player.slot)!)!
    boat.vx = (data[0]! << 24) >> 24
    boat.vy = (data[1]! << 24) >> 24
  }

  tick(): void {
    const side = SIZE * UNITS - 1
    for (const [entity, thing] of this.#things) {
      if (thing.vx === 0 && thing.vy === 0) continue
      thing.x += thing.vx
      thing.y += thing.vy
      if (thing.x < 0 || thing.x > side) thing.vx = -Math.max(thing.vx, -127)
      if (thing.y < 0 || thing.y > side) thing.vy = -Math.max(thing.vy, -127)
      thing.x = Math.min(Math.max(thing.x, 0), side)
      thing.y = Math.min(Math.max(thing.y, 0), side)
      this.#world.move(entity, thing.x / UNITS, thing.y / UNITS)
    }
  }

  leave(player: Player): void {
    const boat = this.#boats.get(player.slot)!
    this.#boats.delete(player.slot)
    this.#things.delete(boat)
    this.#world.remove(boat)
  }

  whole(entity: number): Uint8Array {
    const { x, y, hue } = this.#things.get(entity)!
    return new Uint8Array([x >> 8, x, y >> 8, y, hue])
  }

  /** By how much it moved, or where it is if that is too much for two signed bytes. */
  change(entity: number): Uint8Array {
    const thing = this.#things.get(entity)!
    const [dx, dy] = [thing.x - thing.toldX, thing.y - thing.toldY]
    thing.toldX = thing.x
    thing.toldY = thing.y
    const short = (n: number) => n >= -128 && n <= 127
    if (short(dx) && short(dy)) return new Uint8Array([dx, dy])
    return new Uint8Array([thing.x >> 8, thing.x, thing.y >> 8, thing.y])
  }

  #spawn(): number {
    const [x, y] = [below(SIZE * UNITS), below(SIZE * UNITS)]
    const entity = this.#world.spawn(x / UNITS, y / UNITS)
    this.#things.set(entity, { x, y, vx: 0, vy: 0, toldX: x, toldY: y, hue: below(256) })
    return entity
  }
}

/** A whole number from 0 to n - 1. */
const below = (n: number) => Math.floor(Math.random() * n)
