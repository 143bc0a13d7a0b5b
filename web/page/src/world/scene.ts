import { BEHIND, Clock, Path, Prediction, type Tick, View } from '@tombolo/node'
import { type Answer, applyChange, decodeThing, type Thing, UNITS } from './records.js'

/** A position, in the world's units. */
export interface Spot {
  x: number
  y: number
}

/** In steps a tick. */
export interface Speed {
  vx: number
  vy: number
}

/** A thing as it is drawn: interpolated between two records, unless it steps. */
export interface Shown extends Spot {
  entity: number
  thing: Thing
  /** The direction of its bow, in radians from east to south. */
  heading: number
  sails: boolean
}

interface Craft {
  path: Path<Spot>
  heading: number
  /** The tick in which it last moved. */
  moved: number
}

/** In units. A thing that moves further than this between two records did not sail there: it is a buoy that was taken. */
const LEAP = 16
/** The time in which an error of the prediction fades, unless it is a leap. */
const MEND_MS = 120
/** In ticks: a boat without a reported move for longer than this lies still. */
const STILL = 6

const between = (a: Spot, b: Spot, share: number): Spot => ({
  x: a.x + (b.x - a.x) * share,
  y: a.y + (b.y - a.y) * share,
})

/**
 * What this tab sees of a harbour, and where each thing is now: the own boat as predicted from its steering, others as they were two ticks
 * ago.
 */
export class Scene {
  readonly things = new View<Thing>(decodeThing, applyChange)
  readonly clock: Clock
  /** How many records have arrived. */
  updates = 0
  /** The newest tick. */
  tick = 0
  #answer: Answer
  readonly #crafts = new Map<number, Craft>()
  #own: Prediction<Spot, Speed> | undefined
  /** The movement of the own boat in the last step, and its time. */
  #step: Spot = { x: 0, y: 0 }
  #steppedAt = 0
  readonly #tickMs: number
  /** How far from its prediction the own boat is shown; this fades. */
  #error: Spot = { x: 0, y: 0 }
  #erredAt = 0

  constructor(answer: Answer, hz: number) {
    this.#answer = answer
    this.clock = new Clock(hz)
    this.#tickMs = 1000 / hz
  }

  get answer(): Answer {
    return this.#answer
  }

  get own(): Thing | undefined {
    return this.#answer.boat === undefined ? undefined : this.things.get(this.#answer.boat)
  }

  /** Applies a tick; if it has `reset`, `answer` may be a new one. */
  take(tick: Tick, answer: Answer): void {
    const now = performance.now()
    this.clock.tick(tick.number, now)
    this.tick = tick.number
    this.updates += tick.updates.length
    if (tick.reset) {
      this.#answer = answer
      this.#crafts.clear()
      this.#own = undefined
    }
    this.things.take(tick)
    for (const entity of tick.left) this.#crafts.delete(entity)
    for (const { entity } of tick.updates) this.#move(entity, tick.number)
    const { own } = this
    if (own === undefined) return
    if (this.#own === undefined) {
      this.#own = new Prediction<Spot, Speed>({ x: own.x, y: own.y }, (spot, speed) => this.#sail(spot, speed))
      this.#error = this.#step = { x: 0, y: 0 }
    }
    this.#smoothly(now, () => this.#own!.told({ x: own.x, y: own.y }, tick.applied))
  }

  /** Applies an input to the own boat; `seq` is the number of the input. */
  steer(seq: number, speed: Speed): void {
    const own = this.#own
    if (own === undefined) return
    const now = performance.now()
    this.#smoothly(now, () => {
      const { x, y } = own.state
      own.do(seq, speed)
      this.#step = { x: own.state.x - x, y: own.state.y - y }
      this.#steppedAt = now
    })
  }

  /** Returns where the own boat is shown; `stepping`: without gliding. */
  ownAt(now: number, stepping = false): Spot | undefined {
    if (this.#own === undefined) return undefined
    if (stepping) return this.#own.state
    const { x, y } = this.#predicted(now)
    const left = Math.exp((this.#erredAt - now) / MEND_MS)
    return { x: x + this.#error.x * left, y: y + this.#error.y * left }
  }

  /** Returns all things in sight, the own boat last. */
  shown(now: number, stepping = false): Shown[] {
    const all: Shown[] = []
    const tick = this.clock.at(now) - BEHIND
    let last: Shown | undefined
    for (const [entity, thing] of this.things) {
      const craft = this.#crafts.get(entity)
      if (craft === undefined) continue
      const isOwn = entity === this.#answer.boat
      const spot = (isOwn ? this.ownAt(now, stepping) : stepping ? thing : craft.path.at(tick)) ?? thing
      const sails = this.tick - craft.moved < STILL
      const shown = { entity, thing, x: spot.x, y: spot.y, heading: craft.heading, sails }
      if (isOwn) last = shown
      else all.push(shown)
    }
    if (last !== undefined) all.push(last)
    return all
  }

  #move(entity: number, tick: number): void {
    const { x, y } = this.things.get(entity)!
    const craft = this.#crafts.get(entity)
    const was = craft?.path.at(Infinity)
    if (craft === undefined || was === undefined || Math.hypot(x - was.x, y - was.y) > LEAP) {
      const path = new Path<Spot>(between)
      path.add(tick, { x, y })
      this.#crafts.set(entity, { path, heading: craft?.heading ?? -Math.PI / 2, moved: -Infinity })
      return
    }
    if (x !== was.x || y !== was.y) {
      craft.heading = Math.atan2(y - was.y, x - was.x)
      craft.moved = tick
    }
    craft.path.add(tick, { x, y })
  }

  /** Moves a boat as the game does in one tick. */
  #sail({ x, y }: Spot, { vx, vy }: Speed): Spot {
    const most = this.#answer.size - 1 / UNITS
    const within = (n: number) => Math.min(Math.max(n, 0), most)
    return { x: within(x + vx / UNITS), y: within(y + vy / UNITS) }
  }

  /** Returns the predicted position at this moment: it moves in steps of a tick, of which the last is still in progress. */
  #predicted(now: number): Spot {
    const { x, y } = this.#own!.state
    const left = 1 - Math.min(1, (now - this.#steppedAt) / this.#tickMs)
    return { x: x - this.#step.x * left, y: y - this.#step.y * left }
  }

  /** Changes the prediction without a jump in what is shown. */
  #smoothly(now: number, change: () => void): void {
    const before = this.ownAt(now)!
    change()
    const after = this.#predicted(now)
    const error = { x: before.x - after.x, y: before.y - after.y }
    this.#error = Math.hypot(error.x, error.y) > LEAP ? { x: 0, y: 0 } : error
    this.#erredAt = now
  }
}
