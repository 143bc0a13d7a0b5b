import type { Game, Player, World } from '@tombolo/node'
import {
  type Answer,
  at,
  BOAT_BYTES,
  decodePapers,
  decodeThing,
  encodeAnswer,
  encodeScores,
  encodeThing,
  malformed,
  type Papers,
  type Thing,
  UNITS,
} from './records.js'

// The rules of a harbour: the same game as core/world/demo, for a tab that hosts a world. Its saved state is the same, too.

/** The distance from which a boat takes a buoy, in steps. */
const REACH = 40
/** Players receive the scores every this many ticks, if they have changed. */
const SCORES_EVERY = 20
/** Players receive the scores every this many ticks in any case: a page that was reloaded has its seat back, but no scores. */
const SCORES_ANYWAY = 200
/** The side of the square in which a player with papers starts, in steps. */
const AMIDST = 24 * UNITS
const MAX_SIZE = 4095
const MAX_SCORE = 2 ** 16 - 1

export interface HarbourOptions {
  /** The length of each side of the water, in units. */
  size: number
  /**
   * How far players see, and the distance at which things go out of sight: the `radius` and `leave` of the room. 0 if they see everything.
   */
  sight: number
  sightEnd: number
  /** The number of drifting buoys. */
  buoys: number
}

/** A boat or a buoy. Its coordinates are in steps. */
interface Own extends Thing {
  vx: number
  vy: number
  toldX: number
  toldY: number
  /** Whether its next record must hold everything, not only its movement. */
  anew: boolean
}

interface Sailor {
  player: Player
  entity: number
  boat: Own
  standsBy: boolean
  /** The rank and scores that the player received last. */
  told: string
}

export class Harbour implements Game {
  #world!: World
  #options: HarbourOptions
  readonly #onCrew: (standsBy: string[]) => void
  readonly #things = new Map<number, Own>()
  readonly #buoys = new Map<number, Own>()
  readonly #sailors = new Map<number, Sailor>() // by slot, in the order of joining

  /** `onCrew` is called with the peers that are willing to host the world after this one, whenever they change. */
  constructor(options: HarbourOptions, onCrew: (standsBy: string[]) => void = () => {}) {
    this.#options = options
    this.#onCrew = onCrew
  }

  start(world: World): void {
    this.#world = world
    const kept = world.kept('size')
    if (kept?.length === 12) {
      const [size, sight, sightEnd] = [0, 4, 8].map((from) => at(kept).getUint32(from)) as [number, number, number]
      const side = Math.min(Math.max(size, 1), MAX_SIZE)
      this.#options = { ...this.#options, size: side, sight: sight / UNITS, sightEnd: sightEnd / UNITS }
    } else {
      world.keep('size', encodeAnswer({ boat: 0, ...this.#options }).subarray(4))
    }
    if (world.restored) return
    for (let i = 0; i < this.#options.buoys; i++) {
      const buoy = thing({ ...this.#anywhere(), hue: below(256), boat: false, vx: below(9) - 4, vy: below(9) - 4 })
      this.#buoys.set(this.#spawn(buoy), buoy)
    }
  }

  /**
   * `data` holds papers, or is empty. A player gets its boat as it left it, or a new one. A new boat starts near the middle if the player
   * sent papers and is not blind.
   */
  join(player: Player, data: Uint8Array): Uint8Array {
    const { size, sight, sightEnd } = this.#options
    const answer: Answer = { boat: undefined, size, sight, sightEnd }
    if (player.spectator) {
      player.look(size / 2, size / 2)
      return encodeAnswer(answer)
    }
    const papers = data.length > 0 ? decodePapers(data) : undefined
    const boat = this.#boatOf(player, papers)
    const entity = this.#spawn(boat)
    this.#sailors.set(player.slot, { player, entity, boat, standsBy: papers?.standsBy ?? false, told: '' })
    if (papers?.blind) player.look(-(2 ** 24), -(2 ** 24))
    else player.follow(entity)
    this.#tellCrew(papers?.standsBy)
    return encodeAnswer({ ...answer, boat: entity })
  }

  /** `data` is the speed in steps a tick, as two signed bytes. */
  input(player: Player, data: Uint8Array): void {
    if (data.length !== 2) return player.kick(malformed(`an input of ${data.length} bytes`).message)
    const { boat } = this.#sailors.get(player.slot)!
    boat.vx = at(data).getInt8(0)
    boat.vy = at(data).getInt8(1)
  }

  tick(tick: number): void {
    for (const [entity, thing] of this.#things) this.#move(entity, thing)
    for (const [entity, buoy] of this.#buoys) this.#take(entity, buoy)
    if (tick % SCORES_EVERY === 0) this.#tellScores(tick % SCORES_ANYWAY === 0)
  }

  leave(player: Player): void {
    const sailor = this.#sailors.get(player.slot)
    if (sailor === undefined) return
    this.#sailors.delete(player.slot)
    this.#things.delete(sailor.entity)
    this.#world.remove(sailor.entity)
    this.#tellCrew(sailor.standsBy)
  }

  whole(entity: number): Uint8Array {
    return encodeThing(this.#things.get(entity)!)
  }

  /** Returns how far the thing moved; its position if it moved too far for that; or everything, for a boat that has scored. */
  change(entity: number): Uint8Array {
    const thing = this.#things.get(entity)!
    const { x, y, anew } = thing
    const [dx, dy] = [x - thing.toldX, y - thing.toldY]
    Object.assign(thing, { toldX: x, toldY: y, anew: false })
    if (anew) return encodeThing(thing)
    return isByte(dx) && isByte(dy) ? Uint8Array.of(dx, dy) : Uint8Array.of(x >> 8, x, y >> 8, y)
  }

  /** Returns a buoy's speed and hue. Boats are saved with their players. */
  save(entity: number): Uint8Array | undefined {
    const buoy = this.#buoys.get(entity)
    return buoy && Uint8Array.of(buoy.vx, buoy.vy, buoy.hue)
  }

  restore(entity: number, data: Uint8Array): void {
    if (data.length !== 3) throw malformed(`what is kept of a buoy has ${data.length} bytes`)
    const { x, y } = this.#world.at(entity)
    const [vx, vy] = [at(data).getInt8(0), at(data).getInt8(1)]
    const buoy = thing({ x: Math.trunc(x * UNITS), y: Math.trunc(y * UNITS), hue: data[2]!, boat: false, vx, vy })
    this.#things.set(entity, buoy)
    this.#buoys.set(entity, buoy)
  }

  /** Returns all about the player's boat except the name, and its speed. The name comes with the player. */
  savePlayer(player: Player): Uint8Array | undefined {
    const boat = this.#sailors.get(player.slot)?.boat
    return boat && Uint8Array.from([...encodeThing(boat).subarray(0, BOAT_BYTES), boat.vx, boat.vy])
  }

  #boatOf(player: Player, papers: Papers | undefined): Own {
    const { kept } = player
    const name = papers?.name ?? ''
    const hue = papers?.hue ?? below(256)
    if (kept.length !== BOAT_BYTES + 2) {
      const place = papers === undefined || papers.blind ? this.#anywhere() : this.#amid()
      return thing({ ...place, hue, boat: true, name })
    }
    const was = decodeThing(kept.subarray(0, BOAT_BYTES))
    const within = (n: number) => Math.min(n * UNITS, this.#options.size * UNITS - 1)
    return thing({
      ...was,
      x: within(was.x),
      y: within(was.y),
      hue: papers?.hue ?? was.hue,
      name,
      vx: at(kept).getInt8(BOAT_BYTES),
      vy: at(kept).getInt8(BOAT_BYTES + 1),
    })
  }

  #anywhere(): { x: number; y: number } {
    const side = this.#options.size * UNITS
    return { x: below(side), y: below(side) }
  }

  /** Returns a position near the middle, where players find one another. */
  #amid(): { x: number; y: number } {
    const side = this.#options.size * UNITS
    const wide = Math.min(side, AMIDST)
    const from = Math.trunc((side - wide) / 2)
    return { x: from + below(wide), y: from + below(wide) }
  }

  #spawn(thing: Own): number {
    const entity = this.#world.spawn(thing.x / UNITS, thing.y / UNITS)
    this.#things.set(entity, thing)
    return entity
  }

  /** Moves a thing by its speed, bouncing it off the walls. */
  #move(entity: number, thing: Own): void {
    if (thing.vx === 0 && thing.vy === 0) return
    const side = this.#options.size * UNITS - 1
    ;[thing.x, thing.vx] = bounce(thing.x + thing.vx, thing.vx, side)
    ;[thing.y, thing.vy] = bounce(thing.y + thing.vy, thing.vy, side)
    this.#world.move(entity, thing.x / UNITS, thing.y / UNITS)
  }

  /** Gives a buoy to a boat that has reached it, and moves the buoy elsewhere. */
  #take(entity: number, buoy: Own): void {
    for (const { boat, entity: boatEntity } of this.#sailors.values()) {
      const [dx, dy] = [boat.x - buoy.x, boat.y - buoy.y]
      if (dx * dx + dy * dy > REACH * REACH) continue
      boat.score = Math.min(boat.score + 1, MAX_SCORE)
      boat.anew = true
      this.#world.touch(boatEntity)
      Object.assign(buoy, this.#anywhere())
      this.#world.move(entity, buoy.x / UNITS, buoy.y / UNITS)
      return
    }
  }

  /** Sends each player the best scores and its own rank. `anyway`: even if they have not changed. */
  #tellScores(anyway: boolean): void {
    const sailors = [...this.#sailors.values()]
    const lines = sailors.map(({ boat }) => boat).filter(({ score }) => score > 0)
    lines.sort((a, b) => b.score - a.score)
    const of = lines.length
    const best = encodeScores({ rank: 0, of, lines }).join()
    for (const sailor of sailors) {
      const { score } = sailor.boat
      const rank = score === 0 ? 0 : lines.findIndex((other) => other.score === score) + 1
      const told = `${rank}: ${best}`
      if ((of === 0 && sailor.told === '') || (told === sailor.told && !anyway)) continue
      sailor.told = told
      sailor.player.tell(encodeScores({ rank, of, lines }))
    }
  }

  #tellCrew(standsBy: boolean | undefined): void {
    if (!standsBy) return
    const peers = [...this.#sailors.values()].filter((sailor) => sailor.standsBy).map(({ player }) => player.peer)
    this.#onCrew([...new Set(peers)])
  }
}

/** Returns a position and a speed after bouncing off the walls at 0 and `side`. */
export function bounce(at: number, v: number, side: number): [number, number] {
  return at < 0 || at > side ? [Math.min(Math.max(at, 0), side), -Math.max(v, -127)] : [at, v]
}

function thing(of: Partial<Own> & Pick<Own, 'x' | 'y' | 'hue' | 'boat'>): Own {
  return { score: 0, name: '', vx: 0, vy: 0, toldX: of.x, toldY: of.y, anew: false, ...of }
}

function isByte(n: number): boolean {
  return n >= -128 && n <= 127
}

/** Returns a random whole number from 0 to n - 1. */
function below(n: number): number {
  return Math.floor(Math.random() * n)
}
