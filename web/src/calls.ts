/**
 * The calls of a node: their arguments and results, and how they reach the program. All other code that deals with calls uses this table.
 */
import type { NodeStats } from './stats.js'
import type {
  BroadcastOptions,
  CallOptions,
  HistoryLimits,
  ListenerInfo,
  PeerInfo,
  Recovery,
  Reservation,
  SendOptions,
  SendReport,
  StreamInfo,
} from './types.js'

/** The calls that go to the program unchanged, wherever it runs. Each rejects with a `TomboloError`: see its codes. */
export interface PlainCalls {
  /** Resolves to the addresses of this node, each ending in `/p2p/<id>`. */
  addrs(): Promise<string[]>

  /** Resolves to the peers that are connected now. */
  peers(): Promise<PeerInfo[]>

  /** Resolves to the reservations that this node holds. */
  relays(): Promise<Reservation[]>

  /** Connects to a peer by multiaddr or by ID. Resolves to its ID. */
  connect(addrOrPeer: string, options?: CallOptions): Promise<string>

  /** Closes all connections to a peer. */
  disconnect(peer: string): Promise<void>

  /** Measures a round trip to a peer. Resolves to its duration in milliseconds. */
  ping(peer: string, options?: CallOptions): Promise<number>

  /** Sends bytes to a peer's echo service and resolves to the bytes that came back. */
  echo(peer: string, bytes: Uint8Array, options?: CallOptions): Promise<Uint8Array>

  /** Resolves to the listeners of this node. */
  listeners(): Promise<ListenerInfo[]>

  /** Resolves to the streams that are open now, or, with `ended`, to the last 256 that have ended. */
  streams(options?: { ended?: boolean }): Promise<StreamInfo[]>

  /** Resets a stream at both ends. */
  closeStream(id: number): Promise<void>

  /** Sends a message to every subscriber of a type, signed. Rejects if no subscriber is known, unless `wait` is set. */
  broadcast(type: string, bytes: Uint8Array, options?: BroadcastOptions): Promise<void>

  /** Keeps the broadcasts of a type that this node receives: for peers that were offline, and for `recover`. */
  keepHistory(type: string, limits?: HistoryLimits): Promise<void>

  /** Requests from peers the broadcasts of a type that this node missed. The subscriptions receive them. */
  recover(type: string, options?: CallOptions): Promise<Recovery>

  /** Sends a message to one peer, connecting first if needed. Resolves when the message has been handed to the connection. */
  send(peer: string, type: string, bytes: Uint8Array, options?: SendOptions): Promise<void>

  /** Sends a message to several peers. Resolves to the peers that were reached, and the reason for each that was not. */
  sendAll(peers: string[], type: string, bytes: Uint8Array, options?: SendOptions): Promise<SendReport>

  /** Sends a request to a peer and resolves to the reply. If the signal aborts, the peer's handler is aborted, too. */
  request(peer: string, type: string, bytes: Uint8Array, options?: CallOptions): Promise<Uint8Array>

  /** Resolves to what the node has counted since it was made. */
  stats(): Promise<NodeStats>
}

/**
 * How a call reaches the program.
 *
 * - `plain`: it is passed on unchanged
 * - `shaped`: `TomboloNode` has a form of its own for it; below that, it is passed on unchanged
 * - `many`: it makes something that lasts, and that is made again in a new worker
 * - `one`: like `many`, but a node can have only one of a name, so the pages of a shared worker take turns
 * - `life`: each layer on the way does a part of it itself
 */
export type Way = 'plain' | 'shaped' | 'many' | 'one' | 'life'

export interface Call {
  way: Way
  /** The names of its arguments. The signal that aborts it is in `options`. */
  args: readonly string[]
}

export const CALLS = {
  addrs: { way: 'plain', args: [] },
  peers: { way: 'plain', args: [] },
  relays: { way: 'plain', args: [] },
  connect: { way: 'plain', args: ['peer', 'options'] },
  disconnect: { way: 'plain', args: ['peer'] },
  ping: { way: 'plain', args: ['peer', 'options'] },
  echo: { way: 'plain', args: ['peer', 'bytes', 'options'] },

  open: { way: 'shaped', args: ['peer', 'protocol', 'options'] },
  listen: { way: 'one', args: ['protocol', 'handler', 'limits'] },
  listeners: { way: 'plain', args: [] },
  services: { way: 'shaped', args: ['peer', 'options'] },
  streams: { way: 'plain', args: ['which'] },
  closeStream: { way: 'plain', args: ['id'] },

  subscribe: { way: 'many', args: ['type', 'buffering'] },
  broadcast: { way: 'plain', args: ['type', 'bytes', 'options'] },
  validate: { way: 'one', args: ['type', 'f'] },
  presence: { way: 'many', args: ['type'] },
  keepHistory: { way: 'plain', args: ['type', 'limits'] },
  recover: { way: 'plain', args: ['type', 'options'] },
  send: { way: 'plain', args: ['peer', 'type', 'bytes', 'options'] },
  sendAll: { way: 'plain', args: ['peers', 'type', 'bytes', 'options'] },
  sendTo: { way: 'shaped', args: ['filter', 'type', 'bytes', 'options'] },
  request: { way: 'plain', args: ['peer', 'type', 'bytes', 'options'] },
  respond: { way: 'one', args: ['type', 'f'] },

  hostRoom: { way: 'many', args: ['name', 'step', 'options'] },
  standByRoom: { way: 'many', args: ['name', 'step', 'options'] },
  joinRoom: { way: 'many', args: ['name', 'options'] },
  rooms: { way: 'shaped', args: ['options'] },
  placeRoom: { way: 'shaped', args: ['kind', 'name', 'options'] },
  watchRooms: { way: 'many', args: ['filter'] },
  board: { way: 'shaped', args: ['host', 'room', 'query', 'options'] },

  stats: { way: 'plain', args: [] },
  addRelays: { way: 'life', args: ['relays'] },
  privateKey: { way: 'life', args: [] },
  rest: { way: 'life', args: [] },
  wake: { way: 'life', args: [] },
  close: { way: 'life', args: [] },
} as const satisfies Record<string, Call>

export type CallName = keyof typeof CALLS

/** Returns the calls that go one of these ways. */
export function callsOf(...ways: Way[]): CallName[] {
  return (Object.keys(CALLS) as CallName[]).filter((name) => ways.includes(CALLS[name].way))
}

/** Returns the index of the argument of a call that has its signal, or -1. */
export function optionsAt(name: CallName): number {
  return (CALLS[name] as Call).args.indexOf('options')
}
