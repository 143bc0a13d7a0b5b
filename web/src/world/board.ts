/** The leaderboards of rooms: how a game keeps them, and how any peer requests them. */
import type { Writer } from '../binary.js'
import type { Subscription } from '../messages.js'
import type { CallOptions, SubscribeOptions } from '../types.js'
import { optionsOf } from '../values.js'
import { Do } from './exchange.js'
import type { Player } from './game.js'

/** Options of a board that a game keeps. */
export interface BoardOptions {
  /** The period of a board, in UTC; a week begins on Monday. Default `forever`. */
  period?: 'forever' | 'daily' | 'weekly'
  /** Whether the lowest score is the best, as for times. Default false. */
  lowest?: boolean
  /** How many boards of earlier periods are kept beside the current one. Default none. */
  keep?: number
}

const PERIODS = ['forever', 'daily', 'weekly'] as const
const enum Change {
  set,
  add,
  improve,
  remove,
}

/**
 * A board that ranks the players of a room, given by their seats or peer IDs. Scores are integers. Among players with the same score, the
 * one who had it first comes first. A score goes to the board of the period in which the method is called.
 */
export class Board {
  readonly #todo: Writer
  readonly #number: number

  /** @internal */
  constructor(
    readonly name: string,
    readonly options: BoardOptions,
    todo: Writer,
    number: number,
  ) {
    if (!PERIODS.includes(options.period ?? 'forever')) throw new RangeError(`a board has no period ${options.period}`)
    this.#todo = todo
    this.#number = number
    this.open()
  }

  /** @internal Opens the board in the program. Boards are opened in the order of their numbers. */
  open(): void {
    const { period = 'forever', lowest = false, keep = 0 } = this.options
    this.#todo.byte(Do.board).bytes(new TextEncoder().encode(this.name))
    this.#todo
      .byte(PERIODS.indexOf(period))
      .byte(lowest ? 1 : 0)
      .number(keep)
  }

  /** Sets a player's score. With an unchanged score, the player keeps its rank. */
  set(player: Player | string, score: number): void {
    this.#change(Change.set, player, score)
  }

  /** Adds to a player's score, which counts as 0 if it has none. */
  add(player: Player | string, by: number): void {
    this.#change(Change.add, player, by)
  }

  /** Sets a player's score if it has none or a worse one. */
  improve(player: Player | string, score: number): void {
    this.#change(Change.improve, player, score)
  }

  /** Takes a player off the board. */
  remove(player: Player | string): void {
    this.#change(Change.remove, player, 0)
  }

  #change(change: Change, player: Player | string, score: number): void {
    if (!Number.isSafeInteger(score)) throw new RangeError(`a score of ${score}: it has to be a safe integer`)
    const peer = typeof player === 'string' ? player : player.peer
    this.#todo.byte(Do.score).number(this.#number).byte(change).bytes(new TextEncoder().encode(peer))
    this.#todo.long(BigInt(score)).long(BigInt(Date.now()))
  }
}

/** A line of a board. The best has rank 1. */
export interface BoardLine {
  rank: number
  peer: string
  score: number
}

/** Lines of a board. */
export interface BoardLines {
  /** When the board's period ends; null if it never does. */
  end: Date | null
  /** How many players are on the board. */
  players: number
  lines: BoardLine[]
}

/** Selects lines of a board: those around a player, or else those from a rank on. At most 100. */
export interface BoardQuery {
  /** The peer ID of the player whose line to return. If the player is not on the board, there are no lines. */
  around?: string
  /** How many lines to return before that line, and after it. Default 5. */
  each?: number
  /** The first rank. Default 1. */
  rank?: number
  /** The maximum number of lines. Default 10. */
  most?: number
  /** A time within the period of the board. Default now. */
  at?: Date
}

/** The call by which the program requests lines of a board. */
export interface RawBoards {
  board(host: string, room: string, query: object, options?: CallOptions): Promise<RawLines>
}

export interface RawLines {
  end: number
  players: number
  lines: BoardLine[]
}

/** @internal The calls of a node that a RoomBoard uses. */
export interface Asking {
  ask(host: string, room: string, query: object, options?: CallOptions): Promise<RawLines>
  subscribe(type: string, options: SubscribeOptions): Promise<Subscription>
}

/** A board of a room that any peer holds, for reading. */
export class RoomBoard {
  readonly #asking: Asking
  readonly #host: () => string

  /** @internal */
  constructor(
    asking: Asking,
    host: () => string,
    readonly room: string,
    readonly name: string,
  ) {
    this.#asking = asking
    this.#host = host
  }

  /** Requests the current lines of the board. */
  async lines(query: BoardQuery = {}, options?: CallOptions): Promise<BoardLines> {
    const { at, ...others } = { each: 5, most: 10, ...query }
    const wanted = { ...others, board: this.name, ...(at && { at: at.getTime() }) }
    const { end, ...lines } = await this.#asking.ask(this.#host(), this.room, wanted, options)
    return { end: end === 0 ? null : new Date(end), ...lines }
  }

  /** Requests the line of a player. Resolves to undefined if the player is not on the board. */
  async of(peer: string, options?: CallOptions): Promise<BoardLine | undefined> {
    return (await this.lines({ around: peer, each: 0 }, options)).lines[0]
  }

  /**
   * Yields the current lines of the board, and again when they have changed. The host reports a change among the ten best at most once a
   * second, and any other change within five seconds. If the board is that of a seat, watching continues when the room moves to another
   * host. The signal ends it, and so does leaving the loop.
   */
  async *watch(query: BoardQuery = {}, options: CallOptions = {}): AsyncGenerator<BoardLines, void, undefined> {
    const { signal } = optionsOf(options, 'argument', ['signal'])
    const told = await this.#asking.subscribe(`boards/${this.room}/${this.name}`, {
      buffer: 16,
      policy: 'drop-oldest',
      ...(signal && { signal }),
    })
    let last: string | undefined
    const changed = async () => {
      const lines = await this.lines(query, signal && { signal })
      const now = JSON.stringify(lines)
      return now === last ? undefined : ((last = now), lines)
    }
    try {
      yield (await changed())!
      for await (const { from } of told) {
        const lines = from === this.#host() ? await changed() : undefined // anybody can broadcast on this type
        if (lines !== undefined) yield lines
      }
    } finally {
      await told.close()
    }
  }
}
