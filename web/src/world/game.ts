/** The game of a room, as a page plays it for the program, which runs the room. */
import { Reader, Writer } from '../binary.js'
import { Board, type BoardOptions } from './board.js'
import { Do, Event } from './exchange.js'

/**
 * The rules of a room. The room calls the methods one at a time, in the order in which things happen. They must return at once, because
 * the tick waits for them. If a method throws, the room ends. Only `join` may throw: that refuses the player.
 */
export interface Game {
  /** Called once, before all else. The game keeps the world, and puts into it what is there from the beginning. */
  start?(world: World): void
  /** A peer asks for a seat. The player gets the bytes that `join` returns. To refuse the player, throw an Error: its message is the reason. */
  join(player: Player, data: Uint8Array): Uint8Array | void
  /** What a player does. */
  input?(player: Player, data: Uint8Array): void
  /** Moves the world on by one tick. */
  tick?(tick: number): void
  /** A player is gone, and why: `left`, `lost`, `kicked`, …; `walked` if it continues in another room. */
  leave?(player: Player, why: string): void
  /** A player could not walk to another room, and why. It continues here, and its inputs that have waited come next. */
  stays?(player: Player, to: Area, why: string): void
  /** What an entity looks like to somebody who has not seen it; at most 1,024 bytes. */
  whole(entity: number): Uint8Array
  /** What has changed of an entity since the last call for it. Called once in each tick in which it was spawned, moved or touched. */
  change(entity: number): Uint8Array

  // With the following, the world outlasts its room, where that is kept or has standbys. A game that has one of save and restore has both.

  /** What is to be kept of an entity besides its place. Without, such as for a player's own avatar, it is not there when the room begins again. */
  save?(entity: number): Uint8Array | void
  /** An entity was restored: it is in the world already, with its number and place. Called before the first tick. */
  restore?(entity: number, data: Uint8Array): void
  /** What is to be kept of a player: its `kept` when it joins again, however much later. */
  savePlayer?(player: Player): Uint8Array | void
}

/** A room of another host, or of this node, that players may walk to. Their peers have to be able to reach the host. */
export interface Area {
  room: string
  host: string
}

/** What a player brings that walked here: the room that it left, and what the game there gave it. */
export interface Arrival extends Area {
  state: Uint8Array
}

/** How long a player stays that could not walk, before it may again, in milliseconds: a bit longer than the room's own time. */
const WALK_AGAIN = 1100

/** What a player may take to another room, in bytes. */
const MAX_WALK_STATE = 4096

/** A seat in a room. */
export class Player {
  readonly #todo: Writer
  #walks = false
  #mayWalk = Infinity

  /** @internal */
  constructor(
    /** The player's peer. */
    readonly peer: string,
    /** Tells the seats of one peer apart; the peer chose it. */
    readonly number: number,
    /** A small number that no other player has at the same time. */
    readonly slot: number,
    /** It only watches, and has no inputs. */
    readonly spectator: boolean,
    /** What `savePlayer` last gave for this player, in this room or before it; empty if nothing. */
    readonly kept: Uint8Array,
    /** What the player brought when it walked here from another room; undefined if it has joined this one. */
    readonly arrived: Arrival | undefined,
    todo: Writer,
  ) {
    this.#todo = todo
  }

  /** Has the player see what is around an entity, wherever it goes. */
  follow(entity: number): void {
    this.#todo.byte(Do.follow).number(this.slot).number(entity)
  }

  /** Has the player see what is around a place. */
  look(x: number, y: number): void {
    this.#todo.byte(Do.look).number(this.slot).float(x).float(y)
  }

  /** Sends bytes to this player alone, in order. A player for whom over 64 KiB wait is put out. */
  tell(data: Uint8Array): void {
    this.#todo.byte(Do.tell).number(this.slot).bytes(data)
  }

  /** Puts the player out, at the end of the tick. */
  kick(reason: string): void {
    this.#todo.byte(Do.kick).number(this.slot).bytes(text(reason))
  }

  /** Whether the player is on its way to another room. */
  get walking(): boolean {
    return this.#walks
  }

  /** Has the player's peer connect to the host of a room that it may walk to soon. A game may say so in every tick near the border. */
  ready(to: Area): void {
    if (!this.#walks) this.#todo.byte(Do.ready).number(this.slot).bytes(text(to.room)).bytes(text(to.host))
  }

  /**
   * Moves the player to another room, which names this node among its `neighbours`. `state`, of up to 4,096 bytes, is what the game there
   * finds in `arrived`. Until the player is there, it sees this room, and its inputs wait; then it leaves this room (`walked`). If it cannot go,
   * the room calls `stays`. While a player walks, in `join`, and within a second after it could not walk, this does nothing.
   */
  walk(to: Area, state: Uint8Array): void {
    if (state.byteLength > MAX_WALK_STATE) {
      throw new RangeError(`a player takes ${state.byteLength} bytes to another room; at most ${MAX_WALK_STATE} may be`)
    }
    if (this.#walks || performance.now() < this.#mayWalk) return
    this.#walks = true
    this.#todo.byte(Do.walk).number(this.slot).bytes(text(to.room)).bytes(text(to.host)).bytes(state)
  }

  /** @internal It has its seat. */
  seated(): void {
    this.#mayWalk = 0
  }

  /** @internal It could not walk. */
  stays(): void {
    this.#walks = false
    this.#mayWalk = performance.now() + WALK_AGAIN
  }
}

const text = (words: string) => new TextEncoder().encode(words)

/** The entities of a room: where each is, and whether it has changed. What else there is to know of them is the game's own. */
export class World {
  readonly #todo: Writer
  readonly #places = new Map<number, { x: number; y: number }>()
  readonly #changed = new Set<number>()
  /** Numbers below `#count` that no entity has; undefined until they are looked for after entities were restored. */
  #free: number[] | undefined = []
  readonly #kept = new Map<string, Uint8Array>()
  readonly #boards = new Map<string, Board>()
  #count = 0
  #restored = false

  /** @internal */
  constructor(todo: Writer) {
    this.#todo = todo
  }

  /** How many entities there are. */
  get size(): number {
    return this.#places.size
  }

  has(entity: number): boolean {
    return this.#places.has(entity)
  }

  /** Where an entity is. */
  at(entity: number): { x: number; y: number } {
    return { ...this.#place(entity) }
  }

  /** Puts a new entity into the world. Its number is a small one, which is used again when the entity was removed. */
  spawn(x: number, y: number): number {
    assertPlace(x, y)
    this.#free ??= Array.from({ length: this.#count }, (_, n) => n).filter((n) => !this.#places.has(n))
    const entity = this.#free.pop() ?? this.#count++
    this.#places.set(entity, { x, y })
    this.#changed.add(entity)
    this.#todo.byte(Do.spawn).number(entity).float(x).float(y)
    return entity
  }

  /** Moves an entity, which is a change. */
  move(entity: number, x: number, y: number): void {
    assertPlace(x, y)
    Object.assign(this.#place(entity), { x, y })
    this.#changed.add(entity)
    this.#todo.byte(Do.move).number(entity).float(x).float(y)
  }

  /** Says that what players see of an entity has changed. */
  touch(entity: number): void {
    this.#place(entity)
    this.#changed.add(entity)
    this.#todo.byte(Do.touch).number(entity)
  }

  remove(entity: number): void {
    this.#place(entity)
    this.#places.delete(entity)
    this.#changed.delete(entity)
    this.#free?.push(entity)
    this.#todo.byte(Do.remove).number(entity)
  }

  /** Whether the room begins with what was kept, so that `start` puts nothing into the world: the entities come by `restore`. */
  get restored(): boolean {
    return this.#restored
  }

  /** Has a value of the game kept under a name, beside its entities and players; without a value, it is deleted. */
  keep(name: string, value?: Uint8Array): void {
    const key = new TextEncoder().encode(name)
    if (value === undefined) {
      this.#kept.delete(name)
      this.#todo.byte(Do.forget).bytes(key)
    } else {
      this.#kept.set(name, value.slice())
      this.#todo.byte(Do.keep).bytes(key).bytes(value)
    }
  }

  /** What `keep` was last given under the name, in this room or before it. */
  kept(name: string): Uint8Array | undefined {
    return this.#kept.get(name)?.slice()
  }

  /**
   * Opens a board of the room, or returns the one that is open. Call it in `start`, always with the same options. The board has what was kept
   * of it: it is stored with the world, and moves with the room to another host. Any peer may ask for it, see `node.world.board`.
   */
  board(name: string, options: BoardOptions = {}): Board {
    let board = this.#boards.get(name)
    if (board === undefined) {
      board = new Board(name, options, this.#todo, this.#boards.size)
      this.#boards.set(name, board)
    }
    return board
  }

  /** @internal The room begins with this. */
  begin(restored: boolean, kept: [string, Uint8Array][]): void {
    this.#restored = restored
    for (const [name, value] of kept) this.#kept.set(name, value)
  }

  /** @internal An entity that was kept. */
  restore(entity: number, x: number, y: number): void {
    this.#count = Math.max(this.#count, entity + 1)
    this.#free = undefined
    this.#places.set(entity, { x, y })
    this.#changed.add(entity)
  }

  /** Adds what the entities that have changed look like. */
  record(game: Game): void {
    for (const entity of this.#changed) {
      this.#todo.byte(Do.record).number(entity).bytes(game.change(entity)).bytes(game.whole(entity))
    }
    this.#changed.clear()
  }

  /** Puts all entities into the world of a new program, which knows of none, or of older ones. */
  again(): void {
    this.#todo.byte(Do.anew)
    for (const [name, value] of this.#kept) this.keep(name, value)
    for (const board of this.#boards.values()) board.open()
    for (const [entity, { x, y }] of this.#places) {
      this.#changed.add(entity)
      this.#todo.byte(Do.spawn).number(entity).float(x).float(y)
    }
  }

  #place(entity: number): { x: number; y: number } {
    const place = this.#places.get(entity)
    if (place === undefined) throw new RangeError(`there is no entity ${entity}`)
    return place
  }
}

/** How far from the middle an entity may be. */
const MAX_PLACE = 2 ** 24

function assertPlace(x: number, y: number): void {
  if (Math.abs(x) <= MAX_PLACE && Math.abs(y) <= MAX_PLACE) return
  throw new RangeError(`an entity cannot be at (${x}, ${y}): the world ends at ${MAX_PLACE}`)
}

/** The function by which the program plays a game. */
export function playing(game: Game): (events: Uint8Array) => Uint8Array<ArrayBuffer> {
  const todo = new Writer()
  const saved = new Writer()
  const world = new World(todo)
  const players = new Map<number, Player>()
  let started = false
  let saves = false

  /** A new program has begun the room: after a crash of the one before, nobody has a seat any more, and the world is as it was. */
  const start = (read: Reader) => {
    const restored = read.byte() === 1
    const kept = Array.from({ length: read.number() }, (): [string, Uint8Array] => [
      new TextDecoder().decode(read.bytes()),
      read.bytes(),
    ])
    if (started) {
      for (const player of players.values()) game.leave?.(player, 'lost')
      players.clear()
      todo.take()
      return world.again()
    }
    started = true
    world.begin(restored, kept)
    game.start?.(world)
  }
  const save = (read: Reader) => {
    const numbers = () => Array.from({ length: read.number() }, () => read.number())
    for (const entity of numbers()) {
      const data = world.has(entity) ? game.save?.(entity) : undefined
      if (data !== undefined) saved.byte(Do.save).number(entity).bytes(data)
    }
    for (const slot of numbers()) {
      const player = players.get(slot)
      const data = player && game.savePlayer?.(player)
      if (data !== undefined) saved.byte(Do.savePlayer).number(slot).bytes(data)
    }
  }
  const join = (read: Reader, slot: number) => {
    const number = read.number()
    const spectator = read.byte() === 1
    const peer = new TextDecoder().decode(read.bytes())
    const data = read.bytes()
    const kept = read.bytes()
    const arrived = read.byte() === 1 ? { ...area(read), state: read.bytes() } : undefined
    const player = new Player(peer, number, slot, spectator, kept, arrived, todo)
    try {
      const answer = game.join(player, data) ?? new Uint8Array()
      player.seated()
      players.set(slot, player)
      todo.byte(Do.seat).number(slot).bytes(answer)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      todo.byte(Do.refuse).number(slot).bytes(text(reason))
    }
  }
  const area = (read: Reader): Area => ({
    room: new TextDecoder().decode(read.bytes()),
    host: new TextDecoder().decode(read.bytes()),
  })
  const take = (read: Reader) => {
    switch (read.byte() as Event) {
      case Event.start:
        return start(read)
      case Event.join:
        return join(read, read.number())
      case Event.input: {
        const player = players.get(read.number())
        const data = read.bytes()
        if (player !== undefined) game.input?.(player, data)
        return
      }
      case Event.leave: {
        const slot = read.number()
        const why = new TextDecoder().decode(read.bytes())
        const player = players.get(slot)
        players.delete(slot)
        if (player !== undefined) game.leave?.(player, why)
        return
      }
      case Event.tick: {
        const tick = read.number() // also of a game that has no tick
        game.tick?.(tick)
        if (read.byte() === 1) world.record(game)
        return
      }
      case Event.restore: {
        const entity = read.number()
        world.restore(entity, read.float(), read.float())
        const data = read.bytes()
        return game.restore?.(entity, data)
      }
      case Event.save:
        saves = true
        return save(read)
      case Event.stays: {
        const player = players.get(read.number())
        const to = area(read)
        const why = new TextDecoder().decode(read.bytes())
        player?.stays()
        if (player !== undefined) game.stays?.(player, to, why)
        return
      }
    }
  }
  return (events) => {
    saves = false
    for (const read = new Reader(events); read.more;) take(read)
    // A save comes between two ticks: what the game does else is for the next.
    return saves ? saved.take() : todo.take()
  }
}
