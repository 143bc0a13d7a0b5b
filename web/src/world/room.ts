/** Rooms of a node: holding them, finding them and joining them. */
import { TomboloError } from '../errors.js'
import type { CallOptions } from '../types.js'
import { playing, type Game } from './game.js'
import { Seat, type RawSeat } from './seat.js'

/** Options of a room. */
export interface RoomOptions {
  /** Of the game. A player of another version is refused. */
  version?: string
  /** What players have to know. */
  password?: string
  /** Ticks a second, up to 100. Default 20. */
  hz?: number
  /** How many may play. Default 256. */
  players?: number
  /** How many may watch besides. Default none. */
  spectators?: number
  /** How many seats one peer may have. Default 32. */
  seatsPerPeer?: number
  /** How long the seat of a player is kept whose connection was lost, in milliseconds. Default 15,000. */
  grace?: number
  /** How far a player sees, in the world's own unit. Default: everybody sees everything. */
  radius?: number
  /** How far off an entity leaves a player's sight. Default 1.2 times `radius`. */
  leave?: number
  /** How many entities one player sees, the nearest first. Default 256. */
  visible?: number
  /** How many bytes of records a player is told in one tick. What does not fit waits, and grows more urgent. Default 4,096. */
  budget?: number
  /** How many inputs of one player are taken in a second. More wait at its own end. Default twice `hz`. */
  inputs?: number
  /** Bounds an input, in bytes. Default 256. */
  inputSize?: number
  /** Keeps the room from being found by its name. */
  hidden?: boolean
}

/** Options of a seat. */
export interface SeatOptions extends CallOptions {
  /** The peer that holds the room. Default: the mesh is searched for the name. */
  host?: string
  /** Of the game; it has to be that of the room. */
  version?: string
  password?: string
  /** For how long a lost connection is tried again before the seat ends, in milliseconds. Default 30,000. */
  reconnect?: number
  /** Only watches. */
  spectator?: boolean
  /** What the game is given, up to 32 KiB. */
  data?: Uint8Array
}

/** A room of the mesh, as its host tells. */
export interface ListedRoom {
  name: string
  host: string
  version: string
  /** Whether a password is needed. */
  password: boolean
  hz: number
  players: number
  maxPlayers: number
  spectators: number
  maxSpectators: number
}

/** How a room is doing. Times are in milliseconds. */
export interface RoomStats {
  tick: number
  players: number
  /** Seats whose connection is lost. */
  away: number
  spectators: number
  peers: number
  entities: number
  /** How long the ticks of the last minute took. */
  median: number
  p99: number
  longest: number
  /** Ticks that were left out because the host was late. */
  skipped: number
  /** Which part of its period a tick takes. */
  load: number
  /** What is done less because of that. */
  shedding: 'nothing' | 'far entities' | 'looking around' | 'every second tick' | 'joins'
  frames: number
  /** Frames that were not sent because the peer had not taken the one before. */
  passed: number
  updates: number
  entered: number
  /** Records that waited for want of budget. */
  held: number
  bytes: number
}

/** A room that this node holds. */
export interface Room {
  /** Ends the room, and tells its players. */
  close(): Promise<void>
  stats(): Promise<RoomStats>
  /** Puts all seats of a peer out. */
  kick(peer: string, reason?: string): Promise<void>
  /** Puts them out, and refuses the peer from now on. */
  ban(peer: string, reason?: string): Promise<void>
  unban(peer: string): Promise<void>
}

/** A room as the program, or a worker, hands it out. */
export interface RawRoom {
  close(): Promise<void>
  stats(): Promise<RoomStats>
  kick(peer: string, reason?: string): Promise<void>
  ban(peer: string, reason?: string): Promise<void>
  unban(peer: string): Promise<void>
}

/** The calls of a node that rooms take. */
export interface RawRooms {
  hostRoom(name: string, step: (events: Uint8Array) => Uint8Array, options: object): Promise<RawRoom>
  joinRoom(name: string, options: object): Promise<RawSeat>
  rooms(options?: { wait?: number } & CallOptions): Promise<ListedRoom[]>
}

type Call = <T>(f: () => Promise<T>, signal?: AbortSignal) => Promise<T>

/** The rooms that a node holds, finds and joins: `node.world`. */
export class Rooms {
  readonly #raw: RawRooms
  readonly #call: Call

  /** @internal */
  constructor(raw: RawRooms, call: Call) {
    this.#raw = raw
    this.#call = call
  }

  /**
   * Holds a room, in which peers play `game`. The room runs where the node does, and the game here: in a worker that crashed and was started
   * again the room is as it was, and its players come back.
   */
  async host(game: Game, options: RoomOptions & { name: string }): Promise<Room> {
    for (const method of ['join', 'whole', 'change'] as const) {
      if (typeof game?.[method] !== 'function') throw new TomboloError('option', `the game has no method ${method}`)
    }
    const { name, ...others } = options
    const step = playing(game)
    return this.#call(() => this.#raw.hostRoom(name, step, others))
  }

  /** Takes a seat in a room. Rejects with a `TomboloError` of the code `seat` where that is refused; `reason` says why. */
  async join(name: string, options: SeatOptions = {}): Promise<Seat> {
    const { signal } = options
    signal?.throwIfAborted()
    const raw = await this.#call(() => this.#raw.joinRoom(name, options), signal)
    return new Seat(name, raw, await this.#call(() => raw.about()), this.#call, signal)
  }

  /** The rooms of the mesh that are found within `wait` milliseconds, 2,000 by default. */
  list(options?: { wait?: number } & CallOptions): Promise<ListedRoom[]> {
    return this.#call(() => this.#raw.rooms(options), options?.signal)
  }
}
