/** Rooms of the mesh, as their hosts tell. */
import { Iteration, type RawIteration } from '../iteration.js'

/** Which rooms are looked for: all, if it is empty. */
export interface RoomFilter {
  name?: string
  /** Of the game. */
  version?: string
  /** What the room has at least. An empty value is any. */
  tags?: Record<string, string>
  /** How many seats are free at least. */
  free?: number
  /** How many seats are taken at least. */
  players?: number
  /** Leaves out the rooms that need a password. */
  open?: boolean
}

/** A room of the mesh, as its host tells. It proves nothing. */
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

/** A change of a room: it is new or has changed; or it is gone, of which only `name` and `host` count. */
export interface RoomChange extends ListedRoom {
  /** Its host has closed it or cannot be reached, or it does not pass the filter any more. */
  gone: boolean
}

export interface RawLobby extends RawIteration<RoomChange[]> {
  rooms(): Promise<ListedRoom[]>
}

type Call = <T>(f: () => Promise<T>) => Promise<T>

/** The rooms of the mesh and what becomes of them, for `for await`. Leaving the loop closes it. */
export class Lobby extends Iteration<RoomChange> {
  readonly #raw: RawLobby

  /** @internal */
  constructor(raw: RawLobby, call: Call, signal?: AbortSignal) {
    super(raw, () => raw.next(), call, signal)
    this.#raw = raw
  }

  /** The rooms that are known now. */
  rooms(): Promise<ListedRoom[]> {
    return this.call(() => this.#raw.rooms())
  }
}
