/** The game of a room. The page runs the game, and the program runs the room. */
import { Reader, Writer } from '../binary.js'
import { textOf } from '../values.js'
import { Board, type BoardOptions } from './board.js'
import { Do, Event } from './exchange.js'

/**
 * The rules of a room. The room calls the methods one at a time, in the order in which things happen. They must return at once, because
 * the tick waits for them. If a method throws, the room ends. Only `join` may throw: that refuses the player.
 */
export interface Game {
  /** Called once, before all else. The game keeps the world, and puts into it what is there from the beginning. */
  start?(world: World): void
  /**
   * Called when a peer asks for a seat. The player gets the bytes that `join` returns. To refuse the player, throw an Error: its message is
   * the reason.
   */
  join(player: Player, data: Uint8Array): Uint8Array | void
  /** Called with an input of a player. */
  input?(player: Player, data: Uint8Array): void
  /** Moves the world on by one tick. */
  tick?(tick: number): void
  /** Called when a player is gone. `why` is the reason: `left`, `lost`, `kicked`, …; `walked` if it continues in another room. */
  leave?(player: Player, why: string): void
  /** Called when a player could not walk to another room. The player continues here, and its inputs that have waited come next. */
  stays?(player: Player, to: Area, why: string): void
  /** Encodes an entity for a player that has not seen it; at most 1,024 bytes. */
  whole(entity: number): Uint8Array
  /**
   * Encodes what has changed about an entity since the last call for it. Called once in each tick in which it was spawned, moved or
   * touched.
   */
  change(entity: number): Uint8Array

  // With the following methods, the world of a room with `keep` or standbys outlasts it. A game has both of save and restore, or neither.

  /**
   * Encodes what to keep of an entity besides its place. If it returns nothing, for example for a player's avatar, the entity is not
   * restored when the room begins again.
   */
  save?(entity: number): Uint8Array | void
  /** Called for each restored entity, which is already in the world, with its number and place. Called before the first tick. */
  restore?(entity: number, data: Uint8Array): void
  /** Encodes what to keep of a player. When the player joins again, however much later, this is its `kept`. */
  savePlayer?(player: Player): Uint8Array | void
}

/** A room that players may walk to, of another host or of this node. The players' peers must be able to reach the host. */
export interface Area {
  room: string
  host: string
}

/** What a player brings when it walks here: the room that it left, and the state that the game there gave it. */
export interface Arrival extends Area {
  state: Uint8Array
}

/** How long after a failed walk a player may walk again, in milliseconds: a bit longer than the room's own limit. */
const WALK_AGAIN = 1100

/** The maximum size of the state that a player takes to another room, in bytes. */
const MAX_WALK_STATE = 4096

/** A seat in a room. */
export class Player {
  readonly #todo: Writer
  #walks = false
  #mayWalk = Infinity

  /** @internal */
  constructor(
    /** The ID of the player's peer. */
    readonly peer: string,
    /** Distinguishes the seats of one peer. The peer chose it. */
    readonly number: number,
    /** A small number that no other player has at the same time. */
    readonly slot: number,
    /** Whether the player only watches: it has no inputs. */
    readonly spectator: boolean,
    /** What `savePlayer` last returned for this player, in this room or before it; empty if nothing. */
    readonly kept: Uint8Array,
    /** What the player brought when it walked here from another room; undefined if it joined this one. */
    readonly arrived: Arrival | undefined,
    todo: Writer,
  ) {
    this.#todo = todo
  }

  /** Makes the player see what is around an entity, wherever the entity goes. */
  follow(entity: number): void {
    this.#todo.byte(Do.follow).number(this.slot).number(entity)
  }

  /** Makes the player see what is around a place. */
  look(x: number, y: number): void {
    this.#todo.byte(Do.look).number(this.slot).float(x).float(y)
  }

  /** Sends bytes to this player alone, in order. A player for whom more than 64 KiB wait is removed. */
  tell(data: Uint8Array): void {
    this.#todo.byte(Do.tell).number(this.slot).bytes(data)
  }

  /** Removes the player at the end of the tick. */
  kick(reason: string): void {
    this.#todo.byte(Do.kick).number(this.slot).bytes(text(reason))
  }

  /** Whether the player is on its way to another room. */
  get walking(): boolean {
    return this.#walks
  }

  /** Makes the player's peer connect to the host of a room that it may walk to soon. May be called in every tick near the border. */
  ready(to: Area): void {
    if (!this.#walks) this.#todo.byte(Do.ready).number(this.slot).bytes(text(to.room)).bytes(text(to.host))
  }

  /**
   * Moves the player to another room, which must name this node among its `neighbours`. `state`, of up to 4,096 bytes, is what the game
   * there finds in `arrived`. Until the player has arrived there, it sees this room, and its inputs wait. Then it leaves this room
   * (`walked`). If it cannot go, the room calls `stays`. This does nothing while the player walks, within a second after a failed walk, and
   * in `join`.
   */
  walk(to: Area, state: Uint8Array): void {
    if (state.byteLength > MAX_WALK_STATE) {
      throw new RangeError(`a player takes ${state.byteLength} bytes to another room; at most ${MAX_WALK_STATE} may be`)
    }
    if (this.#walks || performance.now() < this.#mayWalk) return
    this.#walks = true
    this.#todo.byte(Do.walk).number(this.slot).bytes(text(to.room)).bytes(text(to.host)).bytes(state)
  }

  /** @internal Called when the player has its seat. */
  seated(): void {
    this.#mayWalk = 0
  }

  /** @internal Called when the player could not walk. */
  stays(): void {
    this.#walks = false
    this.#mayWalk = performance.now() + WALK_AGAIN
  }
}

const text = (words: string) => new TextEncoder().encode(words)

/** The entities of a room: where each one is, and whether it has changed. The game keeps everything else about them. */
export class World {
  readonly #todo: Writer
  readonly #places = new Map<number, { x: number; y: number }>()
  readonly #changed = new Set<number>()
  /** Numbers below `#count` that no entity has. After entities were restored, undefined until `spawn` finds them. */
  #free: number[] | undefined = []
  readonly #kept = new Map<string, Uint8Array>()
  readonly #boards = new Map<string, Board>()
  #count = 0
  #restored = false

  /** @internal */
  constructor(todo: Writer) {
    this.#todo = todo
  }

  /** The number of entities. */
  get size(): number {
    return this.#places.size
  }

  has(entity: number): boolean {
    return this.#places.has(entity)
  }

  /** Returns the place of an entity. */
  at(entity: number): { x: number; y: number } {
    return { ...this.#place(entity) }
  }

  /** Puts a new entity into the world and returns its number. Numbers are small, and are reused when an entity was removed. */
  spawn(x: number, y: number): number {
    assertPlace(x, y)
    this.#free ??= Array.from({ length: this.#count }, (_, n) => n).filter((n) => !this.#places.has(n))
    const entity = this.#free.pop() ?? this.#count++
    this.#places.set(entity, { x, y })
    this.#changed.add(entity)
    this.#todo.byte(Do.spawn).number(entity).float(x).float(y)
    return entity
  }

  /** Moves an entity and marks it as changed. */
  move(entity: number, x: number, y: number): void {
    assertPlace(x, y)
    Object.assign(this.#place(entity), { x, y })
    this.#changed.add(entity)
    this.#todo.byte(Do.move).number(entity).float(x).float(y)
  }

  /** Marks an entity as changed: players get its new record. */
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

  /** Whether the room begins with a kept world. If so, `start` puts nothing into it: the entities come by `restore`. */
  get restored(): boolean {
    return this.#restored
  }

  /** Keeps a value of the game under a name, beside its entities and players. Without a value, deletes it. */
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

  /** Returns the value that was last kept under the name, in this room or before it. */
  kept(name: string): Uint8Array | undefined {
    return this.#kept.get(name)?.slice()
  }

  /**
   * Opens a board of the room, or returns the one that is open. Call it in `start`, always with the same options. The board is stored with
   * the world, is restored with it, and moves with the room to another host. Any peer can read it: see `node.world.board`.
   */
  board(name: string, options: BoardOptions = {}): Board {
    let board = this.#boards.get(name)
    if (board === undefined) {
      board = new Board(name, options, this.#todo, this.#boards.size)
      this.#boards.set(name, board)
    }
    return board
  }

  /** @internal Called when the room begins, with the values that were kept. */
  begin(restored: boolean, kept: [string, Uint8Array][]): void {
    this.#restored = restored
    for (const [name, value] of kept) this.#kept.set(name, value)
  }

  /** @internal Puts back an entity that was kept. */
  restore(entity: number, x: number, y: number): void {
    this.#count = Math.max(this.#count, entity + 1)
    this.#free = undefined
    this.#places.set(entity, { x, y })
    this.#changed.add(entity)
  }

  /** Appends the records of the entities that have changed. */
  record(game: Game): void {
    for (const entity of this.#changed) {
      this.#todo.byte(Do.record).number(entity).bytes(game.change(entity)).bytes(game.whole(entity))
    }
    this.#changed.clear()
  }

  /** Puts everything into the world of a new program, which has no entities, or outdated ones. */
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

/** The maximum distance of an entity from the middle, on each axis. */
const MAX_PLACE = 2 ** 24

function assertPlace(x: number, y: number): void {
  if (Math.abs(x) <= MAX_PLACE && Math.abs(y) <= MAX_PLACE) return
  throw new RangeError(`an entity cannot be at (${x}, ${y}): the world ends at ${MAX_PLACE}`)
}

/** Returns the function that the program calls to run a game. */
export function playing(game: Game): (events: Uint8Array) => Uint8Array<ArrayBuffer> {
  const todo = new Writer()
  const saved = new Writer()
  const world = new World(todo)
  const players = new Map<number, Player>()
  let started = false
  let saves = false

  /** A new program has begun the room. After a crash of the previous one, nobody has a seat any more, and the world is unchanged. */
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
      const reason = error instanceof Error ? error.message : textOf(error)
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
        const tick = read.number() // must be read even if the game has no tick
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
    // A save comes between two ticks: all other actions of the game go out with the next tick.
    return saves ? saved.take() : todo.take()
  }
}
