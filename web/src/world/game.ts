/** The game of a room, as a page plays it for the program, which runs the room. */
import { Reader, Writer } from '../binary.js'
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
  /** A player is gone, and why: `left`, `lost`, `kicked`, … */
  leave?(player: Player, why: string): void
  /** What an entity looks like to somebody who has not seen it; at most 1,024 bytes. */
  whole(entity: number): Uint8Array
  /** What has changed of an entity since the last call for it. Called once in each tick in which it was spawned, moved or touched. */
  change(entity: number): Uint8Array
}

/** A seat in a room. */
export class Player {
  readonly #todo: Writer

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
    this.#todo.byte(Do.kick).number(this.slot).bytes(new TextEncoder().encode(reason))
  }
}

/** The entities of a room: where each is, and whether it has changed. What else there is to know of them is the game's own. */
export class World {
  readonly #todo: Writer
  readonly #places = new Map<number, { x: number; y: number }>()
  readonly #changed = new Set<number>()
  readonly #free: number[] = []
  #count = 0

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
    this.#free.push(entity)
    this.#todo.byte(Do.remove).number(entity)
  }

  /** Adds what the entities that have changed look like. */
  record(game: Game): void {
    for (const entity of this.#changed) {
      this.#todo.byte(Do.record).number(entity).bytes(game.change(entity)).bytes(game.whole(entity))
    }
    this.#changed.clear()
  }

  /** Puts all entities into the world of a new program, which knows of none. */
  again(): void {
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
  const world = new World(todo)
  const players = new Map<number, Player>()
  let started = false

  /** A new program has begun the room: after a crash of the one before, nobody has a seat any more, and the world is as it was. */
  const start = () => {
    if (started) {
      for (const player of players.values()) game.leave?.(player, 'lost')
      players.clear()
      todo.take()
      return world.again()
    }
    started = true
    game.start?.(world)
  }
  const join = (read: Reader, slot: number) => {
    const number = read.number()
    const spectator = read.byte() === 1
    const peer = new TextDecoder().decode(read.bytes())
    const player = new Player(peer, number, slot, spectator, todo)
    const data = read.bytes()
    try {
      const answer = game.join(player, data) ?? new Uint8Array()
      players.set(slot, player)
      todo.byte(Do.seat).number(slot).bytes(answer)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      todo.byte(Do.refuse).number(slot).bytes(new TextEncoder().encode(reason))
    }
  }
  const take = (read: Reader) => {
    switch (read.byte() as Event) {
      case Event.start:
        return start()
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
        game.tick?.(read.number())
        if (read.byte() === 1) world.record(game)
      }
    }
  }
  return (events) => {
    for (const read = new Reader(events); read.more;) take(read)
    return todo.take()
  }
}
