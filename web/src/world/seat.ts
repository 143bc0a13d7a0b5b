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
  /** The room; another one after the player has walked there. */
  name: string
  /** The peer that holds the room. */
  host: string
  /** How many ticks the room has in a second. */
  hz: number
  /** What the game told the player when it took the seat. */
  answer: Uint8Array
}

/** What a player receives of an entity. */
export interface EntityUpdate {
  entity: number
  /** It came into sight. */
  isNew: boolean
  /** `data` is all there is to know; else what has changed since the last update. */
  whole: boolean
  /** Of the game's own form. */
  data: Uint8Array
}

/** What a player receives in one tick of a room. */
export interface Tick {
  /**
   * Counts the ticks of the room, and never goes back, until the player walks to another room, which counts its own. Those in which there is
   * nothing to tell are left out, except that a player hears twice a second at least. Where the connection has datagrams, two may have the same number: what cannot wait, and the rest.
   */
  number: number
  /** The connection is a new one, and the host or the room may be another: what was known is to be forgotten. */
  reset: boolean
  /** The number of the last input that the game has taken, if it took one since the tick before; else 0. */
  applied: number
  /** For how long that input waited for its tick, in milliseconds. */
  waited: number
  /** The entities that the player sees no longer. */
  left: number[]
  updates: EntityUpdate[]
  /** What the game tells this player alone. */
  notes: Uint8Array[]
}

type Call = <T>(f: () => Promise<T>) => Promise<T>

/** A seat in a room: its ticks, for `for await`. Leaving the loop gives the seat up. */
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
      // The room and the host may be another one, and what it answers.
      if (ticks.some(({ reset }) => reset)) this.#info = await raw.about()
      return ticks
    }
    super(raw, read, call, signal)
    this.#raw = raw
    this.#asking = asking
    this.#info = info
  }

  /** The name of the room; another one after the player has walked there. */
  get name(): string {
    return this.#info.name
  }

  /** The peer that holds the room; another one after the room has moved. */
  get host(): string {
    return this.#info.host
  }

  /** How many ticks the room has in a second. */
  get hz(): number {
    return this.#info.hz
  }

  /** What the game told the player when it took the seat. It may be another after a tick with `reset`. */
  get answer(): Uint8Array {
    return this.#info.answer
  }

  /** Tells the game what the player does. Resolves to the input's number, which `Tick.applied` tells later. */
  input(data: Uint8Array): Promise<number> {
    return this.call(() => this.#raw.input(data))
  }

  /** A board that the room's game keeps. It is asked for of whoever holds the room. */
  board(name: string): RoomBoard {
    return new RoomBoard(this.#asking, () => this.host, this.name, name)
  }

  /** Gives the seat up. */
  leave(): Promise<void> {
    return this.close()
  }
}

const NEW = 1
const WHOLE = 2

/** Reads ticks as wasm/jsapi/seats.go has written them. */
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

/** What a player sees of a game whose entities look like `T`: a map by entity that ticks are applied to. */
export class View<T> extends Map<number, T> {
  readonly #whole: (data: Uint8Array) => T
  readonly #change: (thing: T, data: Uint8Array) => T

  /** Takes the game's two ways to read a record: a whole one, and what changed of a `T`, which it returns anew. */
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
