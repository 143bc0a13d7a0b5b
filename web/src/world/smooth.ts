/** Drawing a room smoothly between its ticks, as in core/world/seat/smooth.go. */

/** How many ticks behind the room an entity is drawn, so that there are usually two records to draw it between. */
export const BEHIND = 2

/** The part of a tick that the clock falls back in each tick in which none comes early. So it follows a connection that became slower. */
const SLACK = 0.002

/** Estimates where a room is between the ticks that come. It follows the ticks that travelled for the shortest time. */
export class Clock {
  readonly #hz: number
  #offset = NaN
  #last = 0
  #newest = 0

  constructor(hz: number) {
    this.#hz = hz
  }

  /**
   * Records that a tick of the room has come at `now`, in the time of `performance.now()`. A number below the last one belongs to another
   * room, to which the player walked: the clock begins anew.
   */
  tick(number: number, now = performance.now()): void {
    const at = (now / 1000) * this.#hz
    const anew = Number.isNaN(this.#offset) || number < this.#newest
    this.#newest = number
    const old = anew ? -Infinity : this.#offset - SLACK * (at - this.#last)
    this.#offset = Math.max(old, number - at)
    this.#last = at
  }

  /** Returns the tick at which the room is; 0 before the first tick came. */
  at(now = performance.now()): number {
    return Number.isNaN(this.#offset) ? 0 : this.#offset + (now / 1000) * this.#hz
  }
}

/** How many ticks a path goes back. */
const POINTS = 8

/** The places of an entity in the last ticks, to draw it between them. */
export class Path<T> {
  readonly #between: (a: T, b: T, share: number) => T
  readonly #points: { tick: number; at: T }[] = []

  /** `between` returns the `T` that is a `share`, from 0 to 1, of the way from `a` to `b`. */
  constructor(between: (a: T, b: T, share: number) => T) {
    this.#between = between
  }

  /** Records where the entity is in a tick. A later call for the same tick replaces it. */
  add(tick: number, at: T): void {
    const last = this.#points.at(-1)
    if (last?.tick === tick) this.#points.pop()
    else if (last !== undefined && tick < last.tick) this.#points.length = 0 // the room began anew
    if (this.#points.length === POINTS) this.#points.shift()
    this.#points.push({ tick, at })
  }

  /**
   * Returns where the entity was at a tick, usually `clock.at() - BEHIND`. Before the first record and after the last one, the entity
   * stands still. Returns undefined if there is no record.
   */
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

/** How many inputs are predicted beyond the last state from the room. */
const MAX_PENDING = 256

/**
 * Shows a player's own inputs before the room confirms them: the last state from the room, with the inputs applied that it had not yet
 * taken.
 */
export class Prediction<State, Input> {
  readonly #apply: (state: State, input: Input) => State
  readonly #pending: { seq: number; input: Input }[] = []
  #told: State

  /** `apply` must do with an input exactly what the game does with it. */
  constructor(state: State, apply: (state: State, input: Input) => State) {
    this.#told = state
    this.#apply = apply
  }

  /** Records that an input was sent, with the number that `Seat.input` resolved to. */
  do(seq: number, input: Input): void {
    if (this.#pending.length === MAX_PENDING) this.#pending.shift()
    this.#pending.push({ seq, input })
  }

  /** Records a state from the room, and the number of the last input that it has taken: `Tick.applied`, which may be 0. */
  told(state: State, applied: number): void {
    this.#told = state
    while (this.#pending.length > 0 && this.#pending[0]!.seq <= applied) this.#pending.shift()
  }

  /** The state to show. */
  get state(): State {
    return this.#pending.reduce((state, { input }) => this.#apply(state, input), this.#told)
  }
}
