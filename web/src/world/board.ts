/** The boards of rooms: how a game keeps them, and how any peer asks for them. */
import type { Writer } from '../binary.js'
import type { Subscription } from '../messages.js'
import type { CallOptions, SubscribeOptions } from '../types.js'
import { Do } from './exchange.js'
import type { Player } from './game.js'

/** Options of a board that a game keeps. */
export interface BoardOptions {
  /** For how long a board lasts, in UTC; a week begins on Monday. Default `forever`. */
  period?: 'forever' | 'daily' | 'weekly'
  /** The lowest score is the best, such as for times. */
  lowest?: boolean
  /** How many boards of periods before are kept beside that of now. Default none. */
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
 * Ranks the players of a room, given by their seats or peer IDs. Scores are integers. Of those with the same score, the one who had it first
 * is before the others. A score goes to the board of the period in which the method is called.
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

  /** @internal Opens it in the program, in the order of the boards' numbers. */
  open(): void {
    const { period = 'forever', lowest = false, keep = 0 } = this.options
    this.#todo.byte(Do.board).bytes(new TextEncoder().encode(this.name))
    this.#todo
      .byte(PERIODS.indexOf(period))
      .byte(lowest ? 1 : 0)
      .number(keep)
  }

  /** Gives a player a score. With the same score, it keeps its place. */
  set(player: Player | string, score: number): void {
    this.#change(Change.set, player, score)
  }

  /** Adds to a player's score, which is 0 if it has none. */
  add(player: Player | string, by: number): void {
    this.#change(Change.add, player, by)
  }

  /** Gives a player a score if it has none, or a worse one. */
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
  /** When the board's period ends; null, if never. */
  end: Date | null
  /** How many players are on the board. */
  players: number
  lines: BoardLine[]
}

/** Which lines of a board: those around a player, or else those from a rank on. At most 100. */
export interface BoardQuery {
  /** The player, by its peer ID, whose line is wanted. If it is not on the board, there are no lines. */
  around?: string
  /** How many lines before and after it. Default 5. */
  each?: number
  /** The first rank. Default 1. */
  rank?: number
  /** How many lines. Default 10. */
  most?: number
  /** A moment of the period whose board is wanted. Default now. */
  at?: Date
}

/** What the program is asked, and answers. */
export interface RawBoards {
  board(host: string, room: string, query: object, options?: CallOptions): Promise<RawLines>
}

export interface RawLines {
  end: number
  players: number
  lines: BoardLine[]
}

/** @internal What a RoomBoard takes of its node. */
export interface Asking {
  ask(host: string, room: string, query: object, options?: CallOptions): Promise<RawLines>
  subscribe(type: string, options: SubscribeOptions): Promise<Subscription>
}

/** A board of a room that some peer holds, as it can be asked for. */
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

  /** Lines of the board, as they are now. */
  async lines(query: BoardQuery = {}, options?: CallOptions): Promise<BoardLines> {
    const { at, ...others } = { each: 5, most: 10, ...query }
    const wanted = { ...others, board: this.name, ...(at && { at: at.getTime() }) }
    const { end, ...lines } = await this.#asking.ask(this.#host(), this.room, wanted, options)
    return { end: end === 0 ? null : new Date(end), ...lines }
  }

  /** The line of a player; undefined if it is not on the board. */
  async of(peer: string, options?: CallOptions): Promise<BoardLine | undefined> {
    return (await this.lines({ around: peer, each: 0 }, options)).lines[0]
  }

  /**
   * Yields lines of the board, as they are now and then whenever the host tells that the ten best have changed, at most once a second; it tells
   * of others within five seconds. It continues when the room of a seat has moved to another host. The signal, or leaving the loop, ends it.
   */
  async *watch(query: BoardQuery = {}, { signal }: CallOptions = {}): AsyncGenerator<BoardLines, void, undefined> {
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
        const lines = from === this.#host() ? await changed() : undefined // anybody may say something on any type
        if (lines !== undefined) yield lines
      }
    } finally {
      await told.close()
    }
  }
}
