/** Rooms of a node: holding them, finding them and joining them. */
import { TomboloError } from '../errors.js'
import type { CallOptions } from '../types.js'
import { playing, type Game } from './game.js'
import { Lobby, type ListedRoom, type RawLobby, type RoomFilter } from './lobby.js'
import { type Asking, RoomBoard, type RawBoards } from './board.js'
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
  /** Keeps out whoever has no invitation: see `Room.invite`. The room is hidden, and its password, if there is none, is made up. */
  private?: boolean
  /**
   * Ends the room, with a `room:moved`, when another peer holds one of the same name and version that has more players, or as many and
   * the lower id: for a room that whoever finds none begins to hold, so that two who begin at once come together. The seats end with the
   * code `moved`; whoever had one looks for the other room. Anybody may hold a room of any name, and say of it what they like, so a
   * stranger can end this one. Such a room has no `keep` and no `standbys`, and is not `hidden`.
   */
  giveWay?: boolean
  /**
   * Tags that peers see when they search for rooms, by name, for example the map. At most 16, each with a name of up to 32 bytes
   * and a value of up to 128, both printable.
   */
  tags?: Record<string, string>
  /**
   * Stores the world in the browser as it changes, and begins as it was when it was last kept. The game has `save` and `restore`, or
   * `savePlayer`. Of this node's identity: give `createNode` one that lasts.
   */
  keep?: boolean
  /** The peers that may hold the room after this node, in this order: see `standBy`. */
  standbys?: string[]
  /** The hosts whose rooms' players may walk to this one: see `Player.walk`. */
  neighbours?: string[]
}

/** Options of a standby: those that the room has when this node holds it, and the peer that holds it now. */
export interface StandbyOptions extends Omit<RoomOptions, 'standbys'>, CallOptions {
  name: string
  /** The peer that holds the room. Default: the mesh is searched for the name. */
  host?: string
}

/** How a standby is doing. */
export interface StandbyState {
  /** The peer that holds the room, as far as is known. */
  host: string
  /** Whether this node could take over. */
  ready: boolean
  /** Why it is not fed; empty if that is not known. */
  reason: string
  /** The tick as of which this node knows the world; 0 before it knows any. */
  tick: number
  /** How many peers' players wait here. */
  waiting: number
}

/** This node's part in a room that another peer holds. */
export interface Standby {
  state(): Promise<StandbyState>
  /** Resolves to the room when this node holds it; to null when the room, or the standby, was closed before. */
  held(): Promise<Room | null>
  /** Ends the standby, and the room where this node holds it. */
  close(): Promise<void>
}

/** Which rooms to list, and for how long to look for them, in milliseconds. */
export interface ListOptions extends RoomFilter, CallOptions {
  wait?: number
}

export interface PlaceOptions extends CallOptions {
  /** For the game of a room that is opened. */
  tags?: Record<string, string>
}

/** Options of a seat. */
export interface SeatOptions extends CallOptions {
  /** The peer that holds the room. Default: the mesh is searched for the name. */
  host?: string
  /**
   * Tells this node's seats in the room apart. Default 0: a seat with a connection of its own. Another number takes a further seat over the
   * connection of seat 0, which the node has to have by then; a seat whose ticks are not read holds up the others.
   */
  number?: number
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
  /** What the last tick spent on each of its parts, in their order. */
  phases: { inputs: number; game: number; encoding: number; looking: number; telling: number }
  /** Counts the peers that have held the room; zero if no standbys were named. */
  epoch: number
  /** The standbys that are ready to take over. */
  standbys: string[]
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
  /** Stores what has changed until now, in a room with `keep`. */
  save(): Promise<void>
  /** Names the peers that may hold the room after this node, in place of those named before. Name only whom you would let hold the room. */
  nameStandbys(peers: string[]): Promise<void>
  /** Changes the tags: see the option `tags`. A peer that watches the rooms gets the change within a second. */
  setTags(tags: Record<string, string>): Promise<void>
  /**
   * A link to `page` with which one joins this room: see `accept`. It has the password, and where the node and its standbys can be reached
   * now. That is in its fragment, which browsers do not send to the server of the page.
   */
  invite(page: string): Promise<string>
  /** Names the hosts whose rooms' players may walk to this one, in place of those named before. Each says what its players bring. */
  nameNeighbours(peers: string[]): Promise<void>
  /** Hands the room over to the first standby that is ready, and resolves to that. Closing the node does so, too. */
  handOver(): Promise<string>
}

/** A room as the program, or a worker, hands it out. */
export type RawRoom = Room

/** A standby as they do: a room as well, when the node holds it. */
export interface RawStandby extends RawRoom {
  state(): Promise<StandbyState>
  held(): Promise<boolean>
}

/** The calls of a node that rooms take. */
export interface RawRooms extends RawBoards {
  hostRoom(name: string, step: (events: Uint8Array) => Uint8Array, options: object): Promise<RawRoom>
  standByRoom(name: string, step: (events: Uint8Array) => Uint8Array, options: object): Promise<RawStandby>
  joinRoom(name: string, options: object): Promise<RawSeat>
  rooms(options?: ListOptions): Promise<ListedRoom[]>
  placeRoom(kind: string, name: string, options?: PlaceOptions): Promise<string>
  watchRooms(filter: RoomFilter): Promise<RawLobby>
}

type Call = <T>(f: () => Promise<T>, signal?: AbortSignal) => Promise<T>

/** Says what is wrong with a game, or whether its world can be kept. */
function check(game: Game): boolean {
  for (const method of ['join', 'whole', 'change'] as const) {
    if (typeof game?.[method] !== 'function') throw new TomboloError('option', `the game has no method ${method}`)
  }
  if ((game.save === undefined) !== (game.restore === undefined)) {
    throw new TomboloError('option', 'the game has one of the methods save and restore, but not both')
  }
  return game.save !== undefined || game.savePlayer !== undefined
}

/** The rooms that a node holds, finds and joins: `node.world`. */
export class Rooms {
  readonly #raw: RawRooms
  readonly #call: Call
  readonly #asking: Asking

  /** @internal */
  constructor(raw: RawRooms, call: Call, subscribe: Asking['subscribe']) {
    this.#raw = raw
    this.#call = call
    this.#asking = {
      ask: (host, room, query, options) => call(() => raw.board(host, room, query, options), options?.signal),
      subscribe,
    }
  }

  /**
   * Holds a room, in which peers play `game`. The room runs where the node does, and the game here: in a worker that crashed and was started
   * again the room is as it was, and its players come back.
   */
  async host(game: Game, options: RoomOptions & { name: string }): Promise<Room> {
    const keeps = check(game)
    const { name, ...others } = options
    const step = playing(game)
    return this.#call(() => this.#raw.hostRoom(name, step, { ...others, keeps }))
  }

  /**
   * Stands by for a room that another peer holds and that names this node: it is told the world, and what changes in it, and holds the room
   * when that peer leaves, or nothing is heard of it for two seconds. `game` is as that peer's, and new: it is started when the room is held.
   */
  async standBy(game: Game, options: StandbyOptions): Promise<Standby> {
    if (!check(game)) throw new TomboloError('option', 'the game keeps nothing: it has no save, restore or savePlayer')
    const { name, ...others } = options
    const step = playing(game)
    const raw = await this.#call(() => this.#raw.standByRoom(name, step, { ...others, keeps: true }), options.signal)
    return {
      state: () => this.#call(() => raw.state()),
      held: async () => ((await this.#call(() => raw.held())) ? raw : null),
      close: () => raw.close(),
    }
  }

  /** Takes a seat in a room. Rejects with a `TomboloError` of the code `seat` where that is refused; `reason` says why. */
  async join(name: string, options: SeatOptions = {}): Promise<Seat> {
    const { signal } = options
    signal?.throwIfAborted()
    const raw = await this.#call(() => this.#raw.joinRoom(name, options), signal)
    return new Seat(raw, await this.#call(() => raw.about()), this.#call, this.#asking, signal)
  }

  /** A board that the game of a room keeps, to be asked for of the peer that holds the room. It may be this node. */
  board(host: string, room: string, board: string): RoomBoard {
    return new RoomBoard(this.#asking, () => host, room, board)
  }

  /** Takes the seat that an invitation is for: see `Room.invite`. */
  async accept(link: string, options: Omit<SeatOptions, 'host' | 'password'> = {}): Promise<Seat> {
    const name = new URLSearchParams(link.slice(link.indexOf('#') + 1)).get('room') ?? ''
    return this.join(name, { ...options, invitation: link } as SeatOptions)
  }

  /** The rooms of the mesh that pass the filter and are found within `wait` milliseconds, 2,000 by default. */
  list(options?: ListOptions): Promise<ListedRoom[]> {
    return this.#call(() => this.#raw.rooms(options), options?.signal)
  }

  /**
   * Resolves to the peer that holds a room, or that opens it because it offers rooms of this kind. Which one follows from the name, so that
   * two who want the same room come together. Opening one takes two seconds. Rejects after ten if no peer offers such rooms.
   */
  place(kind: string, name: string, options?: PlaceOptions): Promise<string> {
    return this.#call(() => this.#raw.placeRoom(kind, name, options), options?.signal)
  }

  /** Watches the rooms of the mesh that pass the filter. The signal closes it. */
  async watch(filter: RoomFilter & CallOptions = {}): Promise<Lobby> {
    const { signal, ...asked } = filter
    signal?.throwIfAborted()
    const raw = await this.#call(() => this.#raw.watchRooms(asked))
    return new Lobby(raw, this.#call, signal)
  }
}
