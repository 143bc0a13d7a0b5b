/** A player's side of a room. */
import { Reader } from '../binary.js'
import { type Asking, RoomBoard } from './board.js'
import { Iteration, type RawIteration } from '../iteration.js'

/** A seat as the program, or a worker, hands it out. */
export interface RawSeat extends RawIteration<Uint8Array> {
  about(): Promise<SeatInfo>
  input(data: Uint8Array): Promise<number>
}

export interface SeatInfo {
  /** The name of the room. Changes when the player walks to another room. */
  name: string
  /** The peer that holds the room. */
  host: string
  /** How many ticks the room has per second. */
  hz: number
  /** The bytes that the game's `join` returned for this player. */
  answer: Uint8Array
}

/** What a player receives about an entity. */
export interface EntityUpdate {
  entity: number
  /** Whether the entity has just come into sight. */
  isNew: boolean
  /** Whether `data` is a whole record. Else it is what has changed since the last update. */
  whole: boolean
  /** A record in the game's own encoding. */
  data: Uint8Array
}

/** What a player receives in one tick of a room. */
export interface Tick {
  /**
   * Counts the ticks of the room, and never goes back, until the player walks to another room, which counts its own. Ticks without news are
   * left out, but a player receives at least two a second. If the connection has datagrams, two ticks may have the same number: what cannot
   * wait, and the rest.
   */
  number: number
  /** Whether the connection is a new one. The host or the room may have changed: forget what was known. */
  reset: boolean
  /** The number of the last input that the game has taken, if it took one since the previous tick; else 0. */
  applied: number
  /** How long that input waited for its tick, in milliseconds. */
  waited: number
  /** The entities that the player no longer sees. */
  left: number[]
  updates: EntityUpdate[]
  /** What the game sent to this player alone, with `Player.tell`. */
  notes: Uint8Array[]
}

type Call = <T>(f: () => Promise<T>) => Promise<T>

/** A seat in a room. It yields the ticks of the room, for `for await`. Leaving the loop gives up the seat. */
export class Seat extends Iteration<Tick> {
  readonly #raw: RawSeat
  readonly #asking: Asking
  #info: SeatInfo

  /** @internal */
  constructor(raw: RawSeat, info: SeatInfo, call: Call, asking: Asking, signal?: AbortSignal) {
    const read = async () => {
      const batch = await raw.next()
      if (batch === null) return null
      const ticks = decodeTicks(batch)
      // The room, its host and the answer may have changed.
      if (ticks.some(({ reset }) => reset)) this.#info = await raw.about()
      return ticks
    }
    super(raw, read, call, signal)
    this.#raw = raw
    this.#asking = asking
    this.#info = info
  }

  /** The name of the room. It changes when the player walks to another room. */
  get name(): string {
    return this.#info.name
  }

  /** The peer that holds the room. It changes when the room moves to another host. */
  get host(): string {
    return this.#info.host
  }

  /** How many ticks the room has per second. */
  get hz(): number {
    return this.#info.hz
  }

  /** The bytes that the game's `join` returned for this player. May change with a tick that has `reset`. */
  get answer(): Uint8Array {
    return this.#info.answer
  }

  /** Sends an input to the game. Resolves to the number of the input, which `Tick.applied` reports later. */
  input(data: Uint8Array): Promise<number> {
    return this.call(() => this.#raw.input(data))
  }

  /** Returns a board that the room's game keeps. It is requested from the peer that holds the room at that time. */
  board(name: string): RoomBoard {
    return new RoomBoard(this.#asking, () => this.host, this.name, name)
  }

  /** Gives up the seat. */
  leave(): Promise<void> {
    return this.close()
  }
}

const NEW = 1
const WHOLE = 2

/** Decodes ticks that wasm/jsapi/seats.go has encoded. */
export function decodeTicks(batch: Uint8Array): Tick[] {
  const read = new Reader(batch)
  const times = <T>(f: () => T) => Array.from({ length: read.number() }, f)
  const ticks: Tick[] = []
  while (read.more) {
    ticks.push({
      number: read.number(),
      reset: read.number() === 1,
      applied: read.number(),
      waited: read.number(),
      left: times(() => read.number()),
      updates: times(() => {
        const entity = read.number()
        const flags = read.number()
        return { entity, isNew: (flags & NEW) !== 0, whole: (flags & WHOLE) !== 0, data: read.bytes() }
      }),
      notes: times(() => read.bytes()),
    })
  }
  return ticks
}

/** The entities that a player sees, decoded as `T`: a map by entity number to which ticks are applied. */
export class View<T> extends Map<number, T> {
  readonly #whole: (data: Uint8Array) => T
  readonly #change: (thing: T, data: Uint8Array) => T

  /** `whole` decodes a whole record. `change` applies the record of a change to a `T`, and returns the result. */
  constructor(whole: (data: Uint8Array) => T, change: (thing: T, data: Uint8Array) => T) {
    super()
    this.#whole = whole
    this.#change = change
  }

  /** Applies a tick. */
  take(tick: Tick): void {
    if (tick.reset) this.clear()
    for (const entity of tick.left) this.delete(entity)
    for (const { entity, whole, data } of tick.updates) {
      this.set(entity, whole ? this.#whole(data) : this.#change(this.get(entity)!, data))
    }
  }
}
