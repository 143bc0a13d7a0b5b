/** The rooms of a node: holding, finding and joining them. */
import { TomboloError } from '../errors.js'
import type { CallOptions } from '../types.js'
import { optionsOf } from '../values.js'
import { playing, type Game } from './game.js'
import { Lobby, type ListedRoom, type RawLobby, type RoomFilter } from './lobby.js'
import { type Asking, RoomBoard, type RawBoards } from './board.js'
import { Seat, type RawSeat } from './seat.js'

/** Options of a room. */
export interface RoomOptions {
  /** The version of the game. A player with another version is refused. */
  version?: string
  /** The password that players need to join. */
  password?: string
  /** Ticks per second, up to 100. Default 20. */
  hz?: number
  /** Maximum number of players. Default 256. */
  players?: number
  /** Maximum number of spectators, beside the players. Default none. */
  spectators?: number
  /** Maximum number of seats of one peer. Default 32. */
  seatsPerPeer?: number
  /** How long a player's seat is kept after its connection was lost, in milliseconds. Default 15,000. */
  grace?: number
  /** How far a player sees, in the world's own unit. Default: everybody sees everything. */
  radius?: number
  /** The distance at which an entity leaves a player's sight. Default 1.2 times `radius`. */
  leave?: number
  /** Maximum number of entities that one player sees, the nearest first. Default 256. */
  visible?: number
  /** Maximum bytes of records that a player receives in one tick. Records that do not fit wait, and become more urgent. Default 4,096. */
  budget?: number
  /** How many inputs of one player are taken per second. Further inputs wait at the player's end. Default twice `hz`. */
  inputs?: number
  /** Maximum size of an input in bytes. Default 256. */
  inputSize?: number
  /** Keeps the room out of searches: a player has to know its host. */
  hidden?: boolean
  /** Admits only players with an invitation: see `Room.invite`. The room is hidden, and gets a random password if it has none. */
  private?: boolean
  /**
   * Ends the room, with the event `room:moved`, if another peer holds a room of the same name and version that has more players, or as many
   * players and the lower peer ID. This is for rooms that any peer begins to hold if it finds none: if two begin at once, they come
   * together. The seats end with the reason `moved`, and their players can look for the other room. Anybody may hold a room of any name and
   * report anything about it, so a stranger can end this one. Such a room has no `keep` and no `standbys`, and is not `hidden`.
   */
  giveWay?: boolean
  /**
   * Tags by name, for example the map, which peers see when they search for rooms. At most 16, each with a name of up to 32 bytes and a
   * value of up to 128 bytes, both printable.
   */
  tags?: Record<string, string>
  /**
   * Stores the world in the browser as it changes, and begins with the world that was last stored. The game must have `save` and `restore`,
   * or `savePlayer`. The world is stored under this node's identity, so pass a persistent one to `createNode`.
   */
  keep?: boolean
  /** The peers that may hold the room after this node, in this order: see `standBy`. */
  standbys?: string[]
  /** The hosts whose rooms' players may walk to this one: see `Player.walk`. */
  neighbours?: string[]
}

/** Options of a standby: those of the room when this node holds it, and the peer that holds it now. */
export interface StandbyOptions extends Omit<RoomOptions, 'standbys'>, CallOptions {
  name: string
  /** The peer that holds the room. Default: the mesh is searched for the name. */
  host?: string
}

/** The state of a standby. */
export interface StandbyState {
  /** The peer that holds the room, as far as is known. */
  host: string
  /** Whether this node could take over now. */
  ready: boolean
  /** The reason why the host does not send it the world; empty if none is known. */
  reason: string
  /** The tick up to which this node has the world; 0 before it has any. */
  tick: number
  /** How many peers have players that wait here. */
  waiting: number
}

/** A standby of this node, for a room that another peer holds. */
export interface Standby {
  state(): Promise<StandbyState>
  /** Resolves to the room when this node holds it, or to null if the room or the standby was closed before. */
  held(): Promise<Room | null>
  /** Ends the standby, and also the room if this node holds it. */
  close(): Promise<void>
}

/** Options of a list of rooms. */
export interface ListOptions extends RoomFilter, CallOptions {
  /** How long to look for rooms, in milliseconds. Default 2,000. */
  wait?: number
}

export interface PlaceOptions extends CallOptions {
  /** Tags for the game, if the room is opened. */
  tags?: Record<string, string>
}

/** Options of a seat. */
export interface SeatOptions extends CallOptions {
  /** The peer that holds the room. Default: the mesh is searched for the name. */
  host?: string
  /**
   * Distinguishes this node's seats in the room. Default 0: a seat with a connection of its own. Another number takes a further seat over
   * the connection of seat 0, which the node must already have. A seat whose ticks are not read holds up the others.
   */
  number?: number
  /** The version of the game. It must be that of the room. */
  version?: string
  password?: string
  /** How long to try to restore a lost connection before the seat ends, in milliseconds. Default 30,000. */
  reconnect?: number
  /** Whether to watch only. */
  spectator?: boolean
  /** Data for the game, up to 32 KiB. */
  data?: Uint8Array
}

/** Statistics of a room. Times are in milliseconds. */
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
  /** The share of its period that a tick has taken lately. */
  load: number
  /** What the room does less often because of the load. */
  shedding: 'nothing' | 'far entities' | 'looking around' | 'every second tick' | 'joins'
  /** Frames that were sent: one for each peer and tick. */
  frames: number
  /** Frames that were not sent because the peer had not taken the one before. */
  passed: number
  /** Records of known entities that were sent. */
  updates: number
  /** Records of new entities that were sent. */
  entered: number
  /** Records that had to wait because the budget was used up. */
  held: number
  bytes: number
  /** How long each part of the last tick took, in their order. */
  phases: { inputs: number; game: number; encoding: number; looking: number; telling: number }
  /** Counts how often a peer began to hold the room; 0 if it has had no standbys. */
  epoch: number
  /** The standbys that are ready to take over. */
  standbys: string[]
}

/** A room that this node holds. */
export interface Room {
  /** Ends the room and informs its players. */
  close(): Promise<void>
  stats(): Promise<RoomStats>
  /** Removes all seats of a peer. */
  kick(peer: string, reason?: string): Promise<void>
  /** Removes all seats of a peer, and refuses the peer from now on. */
  ban(peer: string, reason?: string): Promise<void>
  unban(peer: string): Promise<void>
  /** Stores all changes so far, in a room with `keep`. */
  save(): Promise<void>
  /**
   * Names the peers that may hold the room after this node, in place of those named before. Name only peers that you would let hold the
   * room.
   */
  nameStandbys(peers: string[]): Promise<void>
  /** Replaces the tags: see the option `tags`. A peer that watches the rooms gets the change within a second. */
  setTags(tags: Record<string, string>): Promise<void>
  /**
   * Resolves to an invitation: a link to `page` that joins this room (see `accept`). It contains the password, and the current addresses of
   * the node and its standbys. All this is in the fragment of the link, which browsers do not send to the server of the page.
   */
  invite(page: string): Promise<string>
  /**
   * Names the hosts whose rooms' players may walk to this one, in place of those named before. Each host decides what its players bring.
   */
  nameNeighbours(peers: string[]): Promise<void>
  /** Hands the room over to the first standby that is ready, and resolves to its peer ID. Closing the node does this, too. */
  handOver(): Promise<string>
}

/** A room as the program, or a worker, hands it out. */
export type RawRoom = Room

/** A standby as the program, or a worker, hands it out. When the node holds the room, it is also the room. */
export interface RawStandby extends RawRoom {
  state(): Promise<StandbyState>
  held(): Promise<boolean>
}

/** The calls of a node that rooms use. */
export interface RawRooms extends RawBoards {
  hostRoom(name: string, step: (events: Uint8Array) => Uint8Array, options: object): Promise<RawRoom>
  standByRoom(name: string, step: (events: Uint8Array) => Uint8Array, options: object): Promise<RawStandby>
  joinRoom(name: string, options: object): Promise<RawSeat>
  rooms(options?: ListOptions): Promise<ListedRoom[]>
  placeRoom(kind: string, name: string, options?: PlaceOptions): Promise<string>
  watchRooms(filter: RoomFilter): Promise<RawLobby>
}

type Call = <T>(f: () => Promise<T>, signal?: AbortSignal) => Promise<T>

/** Throws if a game is incomplete. Otherwise reports whether its world can be kept. */
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
   * Opens a room in which peers play `game`. The room runs where the node runs, and the game runs here. So if the node's worker crashes and
   * is restarted, the room continues as it was, and its players come back.
   */
  async host(game: Game, options: RoomOptions & { name: string }): Promise<Room> {
    const keeps = check(game)
    const { name, ...others } = optionsOf(options)
    const step = playing(game)
    return this.#call(() => this.#raw.hostRoom(name, step, { ...others, keeps }))
  }

  /**
   * Makes this node a standby of a room that another peer holds and for which that peer names this node. The standby receives the world and
   * its changes, and takes the room over when the host leaves or has been silent for two seconds. `game` must follow the same rules as the
   * host's, and be new: it is started when this node takes the room over.
   */
  async standBy(game: Game, options: StandbyOptions): Promise<Standby> {
    if (!check(game)) throw new TomboloError('option', 'the game keeps nothing: it has no save, restore or savePlayer')
    const { name, ...others } = optionsOf(options)
    const step = playing(game)
    const raw = await this.#call(() => this.#raw.standByRoom(name, step, { ...others, keeps: true }), options.signal)
    return {
      state: () => this.#call(() => raw.state()),
      held: async () => ((await this.#call(() => raw.held())) ? raw : null),
      close: () => raw.close(),
    }
  }

  /** Takes a seat in a room. If the seat is refused, rejects with a `TomboloError` of the code `seat` whose `reason` says why. */
  async join(name: string, options: SeatOptions = {}): Promise<Seat> {
    const { signal } = optionsOf(options)
    const raw = await this.#call(() => this.#raw.joinRoom(name, options), signal)
    return new Seat(raw, await this.#call(() => raw.about()), this.#call, this.#asking, signal)
  }

  /** Returns a board that the game of a room keeps. It is requested from `host`, the peer that holds the room, which may be this node. */
  board(host: string, room: string, board: string): RoomBoard {
    return new RoomBoard(this.#asking, () => host, room, board)
  }

  /** Takes the seat that an invitation is for: see `Room.invite`. */
  async accept(link: string, options: Omit<SeatOptions, 'host' | 'password'> = {}): Promise<Seat> {
    const name = new URLSearchParams(link.slice(link.indexOf('#') + 1)).get('room') ?? ''
    return this.join(name, { ...options, invitation: link } as SeatOptions)
  }

  /** Resolves to the rooms of the mesh that pass the filter and are found within `wait` milliseconds, 2,000 by default. */
  list(options?: ListOptions): Promise<ListedRoom[]> {
    return this.#call(() => this.#raw.rooms(options), options?.signal)
  }

  /**
   * Resolves to the peer that holds a room of a kind. If the room does not exist, one of the peers that offer rooms of this kind opens it.
   * Which one follows from the room's name, so that two players who want the same room come together. Opening a room takes two seconds. If
   * no peer offers such rooms, the call rejects after ten seconds.
   */
  place(kind: string, name: string, options?: PlaceOptions): Promise<string> {
    return this.#call(() => this.#raw.placeRoom(kind, name, options), options?.signal)
  }

  /** Watches the rooms of the mesh that pass the filter. The signal closes the lobby. */
  async watch(filter: RoomFilter & CallOptions = {}): Promise<Lobby> {
    const { signal, ...asked } = optionsOf(filter)
    const raw = await this.#call(() => this.#raw.watchRooms(asked))
    return new Lobby(raw, this.#call, signal)
  }
}
