/** Rooms of the mesh, as their hosts report them. */
import { Iteration, type RawIteration } from '../iteration.js'

/** Selects rooms. An empty filter selects all. */
export interface RoomFilter {
  name?: string
  /** The version of the game. */
  version?: string
  /** Tags that the room must have. An empty value matches any. */
  tags?: Record<string, string>
  /** The minimum number of free seats. */
  free?: number
  /** The minimum number of players. */
  players?: number
  /** Leaves out rooms that need a password. */
  open?: boolean
}

/** A room of the mesh, as its host reports it. Nothing proves what the host says. */
export interface ListedRoom {
  name: string
  host: string
  version: string
  tags: Record<string, string>
  /** Whether a password is needed. */
  password: boolean
  hz: number
  players: number
  maxPlayers: number
  spectators: number
  maxSpectators: number
}

/** A change of a room: it is new, has changed, or is gone. If it is gone, only `name` and `host` are meaningful. */
export interface RoomChange extends ListedRoom {
  /** Whether its host has closed it or cannot be reached, or it no longer passes the filter. */
  gone: boolean
}

export interface RawLobby extends RawIteration<RoomChange[]> {
  rooms(): Promise<ListedRoom[]>
}

type Call = <T>(f: () => Promise<T>) => Promise<T>

/** The rooms of the mesh and their changes, for `for await`. Leaving the loop closes it. */
export class Lobby extends Iteration<RoomChange> {
  readonly #raw: RawLobby

  /** @internal */
  constructor(raw: RawLobby, call: Call, signal?: AbortSignal) {
    super(raw, () => raw.next(), call, signal)
    this.#raw = raw
  }

  /** Resolves to the rooms that are known now. */
  rooms(): Promise<ListedRoom[]> {
    return this.call(() => this.#raw.rooms())
  }
}
