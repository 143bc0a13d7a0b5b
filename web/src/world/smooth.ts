/** What a page draws of a room between its ticks. The same as core/world/seat/smooth.go. */

/** How many ticks behind the room an entity is drawn, so that there are mostly two records to draw it between. */
export const BEHIND = 2

/** Which part of a tick the clock falls back in each tick in which none comes early: it follows a line that has become slower. */
const SLACK = 0.002

/** Tells where a room is between the ticks that come. It follows those that were under way for the shortest time. */
export class Clock {
  readonly #hz: number
  #offset = NaN
  #last = 0
  #newest = 0

  constructor(hz: number) {
    this.#hz = hz
  }

  /**
   * Says that a tick of the room has come now, by `performance.now()`. A number that is before the last one is of another room, that the player
   * walked to: the clock begins anew.
   */
  tick(number: number, now = performance.now()): void {
    const at = (now / 1000) * this.#hz
    const anew = Number.isNaN(this.#offset) || number < this.#newest
    this.#newest = number
    const old = anew ? -Infinity : this.#offset - SLACK * (at - this.#last)
    this.#offset = Math.max(old, number - at)
    this.#last = at
  }

  /** The tick at which the room is; 0 before the first. */
  at(now = performance.now()): number {
    return Number.isNaN(this.#offset) ? 0 : this.#offset + (now / 1000) * this.#hz
  }
}

/** How many ticks a path goes back. */
const POINTS = 8

/** Where an entity was in the last ticks, to draw it between them. */
export class Path<T> {
  readonly #between: (a: T, b: T, share: number) => T
  readonly #points: { tick: number; at: T }[] = []

  /** Takes the game's way to go from one `T` to another; `share` is from 0 to 1. */
  constructor(between: (a: T, b: T, share: number) => T) {
    this.#between = between
  }

  /** Says where the entity is in a tick; the last word on a tick counts. */
  add(tick: number, at: T): void {
    const last = this.#points.at(-1)
    if (last?.tick === tick) this.#points.pop()
    else if (last !== undefined && tick < last.tick) this.#points.length = 0 // the room began anew
    if (this.#points.length === POINTS) this.#points.shift()
    this.#points.push({ tick, at })
  }

  /** Where the entity was at a tick, mostly `clock.at() - BEHIND`. It stands still before the first record and after the last one. */
  at(tick: number): T | undefined {
    const points = this.#points
    for (let i = points.length - 1; i >= 0; i--) {
      const a = points[i]!
      if (tick < a.tick) continue
      const b = points[i + 1]
      return b === undefined ? a.at : this.#between(a.at, b.at, (tick - a.tick) / (b.tick - a.tick))
    }
    return points[0]?.at
  }
}

/** How many inputs are predicted beyond what the room has told. */
const MAX_PENDING = 256

/** Shows what a player does before the room has told so: the state that it told last, with the inputs that it had not taken by then. */
export class Prediction<State, Input> {
  readonly #apply: (state: State, input: Input) => State
  readonly #pending: { seq: number; input: Input }[] = []
  #told: State

  /** `apply` is what the game does with an input, and has to be the same as there. */
  constructor(state: State, apply: (state: State, input: Input) => State) {
    this.#told = state
    this.#apply = apply
  }

  /** Says that an input was sent, with the number that `Seat.input` resolved to. */
  do(seq: number, input: Input): void {
    if (this.#pending.length === MAX_PENDING) this.#pending.shift()
    this.#pending.push({ seq, input })
  }

  /** Says what the room told: a state, and the last input that it has taken, or 0 as in `Tick.applied`. */
  told(state: State, applied: number): void {
    this.#told = state
    while (this.#pending.length > 0 && this.#pending[0]!.seq <= applied) this.#pending.shift()
  }

  /** What to show. */
  get state(): State {
    return this.#pending.reduce((state, { input }) => this.#apply(state, input), this.#told)
  }
}
