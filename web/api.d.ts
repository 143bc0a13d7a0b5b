// The public API of @tombolo/node, recorded by `npm run api -- --write`. See CHANGELOG.md for what a change of it means.

// calls.d.ts
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
export interface PlainCalls {
  addrs(): Promise<string[]>
  peers(): Promise<PeerInfo[]>
  relays(): Promise<Reservation[]>
  connect(addrOrPeer: string, options?: CallOptions): Promise<string>
  disconnect(peer: string): Promise<void>
  ping(peer: string, options?: CallOptions): Promise<number>
  echo(peer: string, bytes: Uint8Array, options?: CallOptions): Promise<Uint8Array>
  listeners(): Promise<ListenerInfo[]>
  streams(options?: { ended?: boolean }): Promise<StreamInfo[]>
  closeStream(id: number): Promise<void>
  broadcast(type: string, bytes: Uint8Array, options?: BroadcastOptions): Promise<void>
  keepHistory(type: string, limits?: HistoryLimits): Promise<void>
  recover(type: string, options?: CallOptions): Promise<Recovery>
  send(peer: string, type: string, bytes: Uint8Array, options?: SendOptions): Promise<void>
  sendAll(peers: string[], type: string, bytes: Uint8Array, options?: SendOptions): Promise<SendReport>
  request(peer: string, type: string, bytes: Uint8Array, options?: CallOptions): Promise<Uint8Array>
  stats(): Promise<NodeStats>
}
export type Way = 'plain' | 'shaped' | 'many' | 'one' | 'life'
export interface Call {
  way: Way
  args: readonly string[]
}
export declare const CALLS: {
  readonly addrs: {
    readonly way: 'plain'
    readonly args: readonly []
  }
  readonly peers: {
    readonly way: 'plain'
    readonly args: readonly []
  }
  readonly relays: {
    readonly way: 'plain'
    readonly args: readonly []
  }
  readonly connect: {
    readonly way: 'plain'
    readonly args: readonly ['peer', 'options']
  }
  readonly disconnect: {
    readonly way: 'plain'
    readonly args: readonly ['peer']
  }
  readonly ping: {
    readonly way: 'plain'
    readonly args: readonly ['peer', 'options']
  }
  readonly echo: {
    readonly way: 'plain'
    readonly args: readonly ['peer', 'bytes', 'options']
  }
  readonly open: {
    readonly way: 'shaped'
    readonly args: readonly ['peer', 'protocol', 'options']
  }
  readonly listen: {
    readonly way: 'one'
    readonly args: readonly ['protocol', 'handler', 'limits']
  }
  readonly listeners: {
    readonly way: 'plain'
    readonly args: readonly []
  }
  readonly services: {
    readonly way: 'shaped'
    readonly args: readonly ['peer', 'options']
  }
  readonly streams: {
    readonly way: 'plain'
    readonly args: readonly ['which']
  }
  readonly closeStream: {
    readonly way: 'plain'
    readonly args: readonly ['id']
  }
  readonly subscribe: {
    readonly way: 'many'
    readonly args: readonly ['type', 'buffering']
  }
  readonly broadcast: {
    readonly way: 'plain'
    readonly args: readonly ['type', 'bytes', 'options']
  }
  readonly validate: {
    readonly way: 'one'
    readonly args: readonly ['type', 'f']
  }
  readonly presence: {
    readonly way: 'many'
    readonly args: readonly ['type']
  }
  readonly keepHistory: {
    readonly way: 'plain'
    readonly args: readonly ['type', 'limits']
  }
  readonly recover: {
    readonly way: 'plain'
    readonly args: readonly ['type', 'options']
  }
  readonly send: {
    readonly way: 'plain'
    readonly args: readonly ['peer', 'type', 'bytes', 'options']
  }
  readonly sendAll: {
    readonly way: 'plain'
    readonly args: readonly ['peers', 'type', 'bytes', 'options']
  }
  readonly sendTo: {
    readonly way: 'shaped'
    readonly args: readonly ['filter', 'type', 'bytes', 'options']
  }
  readonly request: {
    readonly way: 'plain'
    readonly args: readonly ['peer', 'type', 'bytes', 'options']
  }
  readonly respond: {
    readonly way: 'one'
    readonly args: readonly ['type', 'f']
  }
  readonly hostRoom: {
    readonly way: 'many'
    readonly args: readonly ['name', 'step', 'options']
  }
  readonly standByRoom: {
    readonly way: 'many'
    readonly args: readonly ['name', 'step', 'options']
  }
  readonly joinRoom: {
    readonly way: 'many'
    readonly args: readonly ['name', 'options']
  }
  readonly rooms: {
    readonly way: 'shaped'
    readonly args: readonly ['options']
  }
  readonly placeRoom: {
    readonly way: 'shaped'
    readonly args: readonly ['kind', 'name', 'options']
  }
  readonly watchRooms: {
    readonly way: 'many'
    readonly args: readonly ['filter']
  }
  readonly board: {
    readonly way: 'shaped'
    readonly args: readonly ['host', 'room', 'query', 'options']
  }
  readonly stats: {
    readonly way: 'plain'
    readonly args: readonly []
  }
  readonly addRelays: {
    readonly way: 'life'
    readonly args: readonly ['relays']
  }
  readonly privateKey: {
    readonly way: 'life'
    readonly args: readonly []
  }
  readonly rest: {
    readonly way: 'life'
    readonly args: readonly []
  }
  readonly wake: {
    readonly way: 'life'
    readonly args: readonly []
  }
  readonly close: {
    readonly way: 'life'
    readonly args: readonly []
  }
}
export type CallName = keyof typeof CALLS
export declare function callsOf(...ways: Way[]): CallName[]
export declare function optionsAt(name: CallName): number

// errors.d.ts
import type { StreamReason } from './types.js'
declare const CODES: {
  readonly unsupported: 'the platform lacks something that the node cannot do without'
  readonly 'wasm-unreachable': 'the request for the program did not get an answer'
  readonly 'wasm-not-found': 'the program is not at its address'
  readonly 'wasm-refused': 'the server answered, but not with success'
  readonly 'wasm-type': 'what came is not served as application/wasm'
  readonly 'wasm-truncated': 'the transfer ended before the program did'
  readonly 'wasm-invalid': 'what came is not a WebAssembly program that this package can start'
  readonly 'worker-unreachable': 'the worker of the node could not be loaded'
  readonly option: 'an option has a value that it cannot have, or that cannot be had here'
  readonly crashed: 'the program of the node has ended; make another node'
  readonly argument: 'an argument, or an option of a call, has a value that it cannot have'
  readonly closed: 'the node, or what was called, is closed'
  readonly resting: 'the page is frozen or left, and its node makes no connection before it is back'
  readonly restart: 'the worker of the node crashed and is started again; what was under way is lost and may be tried again'
  readonly taken: 'the node has a listener, responder or validator of that name'
  readonly unreachable: 'the peer cannot be reached'
  readonly timeout: 'it took longer than it may'
  readonly lost: 'the connection ended before all was sent, or before the answer; whether it arrived is not known'
  readonly 'queue-full': 'as much as may wait for the peer waits already'
  readonly 'too-large': 'the message is larger than a message may be'
  readonly 'no-peers': 'no peer is known to be on the type'
  readonly refused: "this node's own validator refused the broadcast"
  readonly answer: 'the peer answered the request with an error, or has no answer to that type'
  readonly 'too-slow': 'the subscription ended since its messages were not read in time'
  readonly stream: 'a stream could not be opened, was refused, or ended before its time; `reason` says why'
  readonly seat: 'a seat in a room was refused, or has ended; `reason` says why'
  readonly failed: 'anything else; the message says what'
}
export type TomboloErrorCode = keyof typeof CODES
export declare const ERROR_CODES: Record<TomboloErrorCode, string>
export declare class TomboloError extends Error {
  readonly code: TomboloErrorCode
  readonly reason?: StreamReason
  constructor(
    code: TomboloErrorCode,
    message: string,
    options?: ErrorOptions & {
      reason?: StreamReason
    },
  )
}
export declare class RestartError extends TomboloError {
  constructor(message: string)
}
export {}

// gateway/answer.d.ts
import type { Ask } from './exchange.js'
export type Fetcher = (peer: string, protocol: string, path: string, init: RequestInit) => Promise<Response>
export type Rights = 'no scripts' | 'own origin' | 'trusted'
export declare const SANDBOX: Record<Rights, string>
export interface Site {
  folder: string
  rights: Rights
  only?: string | undefined
}
export declare function answer(
  fetcher: Fetcher,
  ask: Ask,
  body: ReadableStream<Uint8Array> | null,
  { folder, rights, only }: Site,
  signal: AbortSignal,
): Promise<Response>

// gateway/exchange.d.ts
export interface Ask {
  method: string
  url: string
  headers: [string, string][]
  body: boolean
}
export interface Head {
  status: number
  statusText: string
  headers: [string, string][]
  body: boolean
}
export type Word =
  | {
      taken: true
    }
  | {
      gone: true
    }
  | {
      head: Head
    }
  | {
      abort: true
    }
export declare class Exchange {
  readonly over: () => void
  say(word: Word): void
  close(): void
  send(body: ReadableStream<Uint8Array>): Promise<void>
  receive(ended: () => void): ReadableStream<Uint8Array>
}

// gateway/gateway.d.ts
import { type Fetcher } from './answer.js'
import type { Frame } from '../types.js'
export interface GatewayOptions {
  scriptUrl?: string | URL
  scope?: string
  origin?: string
  trusted?: boolean
}
export interface Gateway {
  readonly scripts: boolean
  readonly sandbox: string
  url(peer: string, protocol: string, path?: string): Promise<string>
  frame(peer: string, protocol: string, path?: string): Promise<Frame>
  close(): void
}
export declare function serveGateway(
  node: {
    fetch: Fetcher
  },
  options?: GatewayOptions,
): Promise<Gateway>

// http/server.d.ts
import type { PeerStream } from '../types.js'
export type HttpHandler = (
  request: Request,
  context: {
    peer: string
  },
) => Response | Promise<Response>
export declare function serveOn(stream: PeerStream, handler: HttpHandler, tell: (error: unknown) => void): Promise<void>

// index.d.ts
export declare const createNode: (
  options?: import('./types.js').CreateNodeOptions,
) => Promise<import('./node.js').TomboloNode>
export { RestartError, TomboloError, type TomboloErrorCode } from './errors.js'
export { serveGateway, type Gateway, type GatewayOptions } from './gateway/gateway.js'
export type { HttpHandler } from './http/server.js'
export type { Presence, Subscription } from './messages.js'
export type { TomboloNode } from './node.js'
export type * from './stats.js'
export type * from './types.js'
export type { Board, BoardLine, BoardLines, BoardOptions, BoardQuery, RoomBoard } from './world/board.js'
export type { Area, Arrival, Game, Player, World } from './world/game.js'
export type { ListedRoom, Lobby, RoomChange, RoomFilter } from './world/lobby.js'
export type {
  ListOptions,
  PlaceOptions,
  Room,
  RoomOptions,
  Rooms,
  RoomStats,
  SeatOptions,
  Standby,
  StandbyOptions,
  StandbyState,
} from './world/room.js'
export { View, type EntityUpdate, type Seat, type Tick } from './world/seat.js'
export { BEHIND, Clock, Path, Prediction } from './world/smooth.js'

// iteration.d.ts
export interface RawIteration<Batch> {
  next(): Promise<Batch | null>
  close(): Promise<void>
}
type Call = <T>(f: () => Promise<T>) => Promise<T>
export declare class Iteration<Item> implements AsyncIterableIterator<Item, undefined> {
  protected readonly call: Call
  protected constructor(
    raw: RawIteration<unknown>,
    read: () => Promise<Iterable<Item> | null>,
    call: Call,
    signal?: AbortSignal,
  )
  close(): Promise<void>
  next(): Promise<IteratorResult<Item, undefined>>
  return(): Promise<IteratorResult<Item, undefined>>
  [Symbol.asyncIterator](): this
}
export {}

// messages.d.ts
import { Iteration, type RawIteration } from './iteration.js'
import type { Message, PresenceChange } from './types.js'
export interface RawSubscription extends RawIteration<Uint8Array> {
  readonly type: string
  dropped(): Promise<number>
}
export interface RawPresence extends RawIteration<PresenceChange[]> {
  readonly type: string
  now(): Promise<string[]>
}
type Call = <T>(f: () => Promise<T>) => Promise<T>
export declare class Subscription extends Iteration<Message> {
  readonly type: string
  dropped(): Promise<number>
}
export declare class Presence extends Iteration<PresenceChange> {
  readonly type: string
  constructor(raw: RawPresence, call: Call, signal?: AbortSignal)
  now(): Promise<string[]>
}
export declare class Batch implements IterableIterator<Message, undefined> {
  constructor(bytes: Uint8Array, ahead?: () => void)
  next(): IteratorResult<Message, undefined>
  [Symbol.iterator](): this
}
export {}

// node.d.ts
import { type PlainCalls } from './calls.js'
import { type HttpHandler } from './http/server.js'
import { Presence, Subscription } from './messages.js'
import { Rooms } from './world/room.js'
import type {
  CallOptions,
  Listener,
  ListenerOptions,
  ListenOptions,
  Message,
  NodeEventListener,
  NodeEvents,
  OpenOptions,
  PeerFilter,
  PeerStream,
  Registration,
  Responder,
  SendOptions,
  SendReport,
  Service,
  StreamHandler,
  SubscribeOptions,
  Verdict,
} from './types.js'
export interface TomboloNode extends PlainCalls {}
export declare class TomboloNode extends EventTarget {
  get id(): string
  get network(): string
  get version(): string
  get worker(): 'none' | 'dedicated' | 'shared'
  open(peer: string, protocol: string, options?: OpenOptions): Promise<PeerStream>
  listen(protocol: string, handler: StreamHandler, options?: ListenOptions): Promise<Listener>
  fetch(peer: string, protocol: string, path: string, init?: RequestInit): Promise<Response>
  serve(protocol: string, handler: HttpHandler, options?: ListenOptions): Promise<Listener>
  services(peer: string, options?: CallOptions): Promise<Service[]>
  services(options?: CallOptions): Promise<Service[]>
  subscribe(type: string, options?: SubscribeOptions): Promise<Subscription>
  validate(type: string, f: (message: Message) => Verdict | Promise<Verdict>): Promise<Registration>
  presence(type: string, options?: CallOptions): Promise<Presence>
  sendTo(filter: PeerFilter, type: string, bytes: Uint8Array, options?: SendOptions): Promise<SendReport>
  respond(type: string, f: Responder): Promise<Registration>
  get world(): Rooms
  close(): Promise<void>
  addEventListener<K extends keyof NodeEvents>(
    type: K,
    listener: NodeEventListener<K> | null,
    options?: boolean | ListenerOptions,
  ): void
  removeEventListener<K extends keyof NodeEvents>(
    type: K,
    listener: NodeEventListener<K> | null,
    options?: boolean | EventListenerOptions,
  ): void
}

// stats.d.ts
export interface HandlerStats {
  runs: number
  panics: number
  late: number
  running: number
  overdue: {
    handler: string
    type: string
    id: string
    for: number
  }[]
  time: number
  maxTime: number
}
export interface DispatchStats {
  subscriptions: number
  types: number
  published: number
  unclaimed: number
  refused: number
  delivered: number
  duplicates: number
  dropped: {
    full: number
    superseded: number
    timeout: number
    closed: number
  }
  depth: number
  deepest: number
  handlers: HandlerStats
}
export interface LinkStats {
  links: number
  streams: number
  queued: {
    messages: number
    bytes: number
  }[]
  sent: number
  sentBytes: number
  batches: number
  received: number
  receivedBytes: number
  unsent: {
    queueFull: number
    lost: number
    expired: number
    tooLarge: number
  }
  requests: {
    sent: number
    answered: number
    errors: number
    failed: number
    pending: number
    strays: number
  }
  serving: {
    served: number
    busy: number
    unanswered: number
    unreplied: number
    queued: {
      messages: number
      bytes: number
    }
    handlers: HandlerStats
  }
  malformed: number
  refused: number
  stalled: number
}
export interface MeshStats {
  topics: number
  carried: number
  published: number
  unheard: number
  received: number
  replayed: number
  missing: number
  duplicates: number
  refused: number
  malformed: number
  ignored: number
  withheld: number
  panics: number
  graylisted: number
  droppedOutbound: number
  droppedControl: number
  droppedInbound: number
  notCarried: number
  tooManyTopics: number
  uncounted: number
  history: CatchUpStats
  histories: HistoryStats
}
export interface CatchUpStats {
  asked: number
  answered: number
  busy: number
  badAsks: number
  failed: number
  sent: number
  sentBytes: number
  synced: number
  badAnswers: number
  broken: number
  received: number
  repeated: number
  refused: number
}
export interface HistoryStats {
  entries: number
  bytes: number
  publishers: number
  added: number
  repeated: number
  refused: number
  aged: number
  evicted: number
  givenUp: number
  forgot: number
  loaded: number
  damaged: number
  written: number
  writeFailures: number
  unwritten: number
}
export interface DiscoveryStats {
  server: boolean
  table: number
  lookups: number
  found: number
  answers: number
  unanswered: number
  announcements: number
}
export interface BridgeStats {
  listeners: number
  forwards: number
  streams: number
  opened: number
  ended: Record<string, number>
  sent: number
  received: number
}
export interface DirectStats {
  open: number
  tried: number
  made: number
  failed: {
    unanswered: number
    refused: number
    noCircuit: number
    platform: number
    other: number
  }
  lost: number
  circuitsClosed: number
  circuitsMade: number
}
export interface NodeStats {
  peers: number
  connections: number
  reservations: number
  dispatch: DispatchStats
  links: LinkStats
  mesh: MeshStats
  discovery: DiscoveryStats
  bridge: BridgeStats
  direct: DirectStats
}

// types.d.ts
export type WasmModule = typeof globalThis extends {
  WebAssembly: {
    Module: {
      prototype: infer M
    }
  }
}
  ? M
  : object
export type Frame = typeof globalThis extends {
  HTMLIFrameElement: {
    prototype: infer F
  }
}
  ? F
  : object
export interface ListenerOptions {
  capture?: boolean
  once?: boolean
  passive?: boolean
  signal?: AbortSignal
}
export interface CallOptions {
  signal?: AbortSignal
}
export type Transport =
  'webtransport' | 'websocket' | 'webrtc' | 'webrtc-direct' | 'circuit' | 'quic' | 'tcp' | (string & {})
export type Direction = 'inbound' | 'outbound'
export interface LogRecord {
  level: Exclude<LogLevel, 'off'>
  time: number
  message: string
  attrs: string
}
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'off'
export interface NodeConfig {
  relays?: string[]
  token?: string
  identity?: 'persistent' | 'ephemeral' | Uint8Array
  histories?: 'memory' | 'persistent'
  network?: string
  transports?: ('webtransport' | 'websocket' | 'webrtc-direct')[]
  direct?: 'auto' | 'never'
  log?: LogLevel
}
export interface LoadProgress {
  loaded: number
  encoding: string
}
export interface CreateNodeOptions extends NodeConfig {
  wasm?: string | URL | WasmModule
  wasmRest?: string | URL
  onProgress?: (progress: LoadProgress) => void
  signal?: AbortSignal
  worker?: 'dedicated' | 'shared' | 'none'
}
export interface PeerInfo {
  id: string
  addrs: string[]
  addr: string
  transport: Transport
  direction: Direction
  relayed: boolean
  relay?: string
  rtt: number | null
  agent: string
  since: number
  connections: number
}
export interface Reservation {
  id: string
  addrs: string[]
  expires: number
}
export interface PeerStream {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly writable: WritableStream<Uint8Array>
  readonly peer: string
  readonly protocol: string
  reset(): void
}
export type StreamReason =
  | 'not allowed'
  | 'no such protocol'
  | 'target refused'
  | 'target timed out'
  | 'too many streams'
  | 'loop'
  | 'target failed'
  | 'client failed'
  | 'peer away'
  | 'peer lost'
  | 'reset by the peer'
  | 'timed out'
  | 'closed by hand'
  | 'shutdown'
  | (string & {})
export type SeatReason =
  | 'no-room'
  | 'full'
  | 'banned'
  | 'version'
  | 'password'
  | 'busy'
  | 'refused'
  | 'kicked'
  | 'replaced'
  | 'slow'
  | 'invalid'
  | 'closed'
  | 'moved'
  | 'walked'
export interface OpenOptions extends CallOptions {
  allowCustomProtocol?: boolean
}
export interface ListenerLimits {
  allow?: string[]
  deny?: string[]
  maxStreams?: number
  maxStreamsPerPeer?: number
  rate?: number
}
export interface ListenOptions extends ListenerLimits {
  announce?: string
  allowCustomProtocol?: boolean
}
export interface Registration {
  close(): Promise<void>
}
export interface Listener extends Registration {
  readonly protocol: string
  update(changes: ListenerLimits): Promise<void>
}
export type StreamHandler = (stream: PeerStream) => void | Promise<void>
export interface Service {
  peer: string
  protocol: string
  description: string
}
export interface ListenerInfo {
  id: number
  protocol: string
  listen: string
  target: string
  allowCustomProtocol?: boolean
  announce?: string
  access?: {
    allow?: string[]
    deny?: string[]
  }
  limits?: {
    streams?: number
    streamsPerPeer?: number
    rate?: number
  }
  live: number
  total: number
  refused: number
}
export interface StreamInfo {
  id: number
  protocol: string
  peer: string
  inbound: boolean
  origin: string
  target: string
  transport: Transport
  relay?: string
  sent: number
  received: number
  opened: number
  lastActive: number
  ended?: number
  reason?: StreamReason
  error?: string
}
export interface Message {
  from: string
  via: string
  type: string
  data: Uint8Array
  id: string
  missed: number
  broadcast: boolean
  replayed: boolean
}
export type Policy = 'drop-newest' | 'drop-oldest' | 'latest-per-sender' | 'block' | 'close-on-overflow'
export interface SubscribeOptions {
  buffer?: number
  policy?: Policy
  broadcasts?: boolean
  signal?: AbortSignal
}
export type Priority = 'high' | 'normal' | 'low'
export interface SendOptions extends CallOptions {
  priority?: Priority
}
export interface BroadcastOptions extends CallOptions {
  wait?: boolean
}
export type PeerFilter = NamedPeerFilter | ((peer: PeerInfo) => boolean)
export type NamedPeerFilter =
  | 'every'
  | 'sqrt'
  | {
      random: number
    }
export interface SendReport {
  reached: string[]
  failed: {
    peer: string
    reason: string
  }[]
}
export type Responder = (
  request: Pick<Message, 'from' | 'type' | 'data' | 'id'>,
  options: {
    signal: AbortSignal
  },
) => Uint8Array | Promise<Uint8Array>
export interface HistoryLimits {
  count?: number
  bytes?: number
  age?: number
}
export interface Gap {
  publisher: string
  epoch: string
  from: string
  to: string
}
export interface Recovery {
  messages: number
  complete: boolean
  asked: string[]
  gaps: Gap[]
}
export interface PresenceChange {
  peer: string
  joined: boolean
}
export type Verdict = 'accept' | 'ignore' | 'reject'
export interface PeerConnection {
  peer: string
  addr: string
  transport: Transport
  relayed: boolean
  direction: Direction
}
export interface NodeEvents {
  'peer:connect': PeerConnection
  'peer:disconnect': {
    peer: string
  }
  'peer:direct': PeerConnection
  'peer:relayed': PeerConnection
  'relay:reserved': {
    relay: string
    addrs: string[]
    expires: number
  }
  'relay:lost': {
    relay: string
    reason: string
  }
  'relay:failed': {
    relay: string
    reason: string
  }
  restart: {
    reason: string
  }
  'room:moved': {
    name: string
    host: string
    epoch: number
  }
  echo: {
    peer: string
    bytes: number
  }
  log: LogRecord
  error: {
    message: string
    fatal: boolean
  }
}
export type NodeEventListener<K extends keyof NodeEvents> =
  | ((event: CustomEvent<NodeEvents[K]>) => void)
  | {
      handleEvent(event: CustomEvent<NodeEvents[K]>): void
    }

// world/board.d.ts
import type { CallOptions } from '../types.js'
import type { Player } from './game.js'
export interface BoardOptions {
  period?: 'forever' | 'daily' | 'weekly'
  lowest?: boolean
  keep?: number
}
export declare class Board {
  readonly name: string
  readonly options: BoardOptions
  set(player: Player | string, score: number): void
  add(player: Player | string, by: number): void
  improve(player: Player | string, score: number): void
  remove(player: Player | string): void
}
export interface BoardLine {
  rank: number
  peer: string
  score: number
}
export interface BoardLines {
  end: Date | null
  players: number
  lines: BoardLine[]
}
export interface BoardQuery {
  around?: string
  each?: number
  rank?: number
  most?: number
  at?: Date
}
export interface RawBoards {
  board(host: string, room: string, query: object, options?: CallOptions): Promise<RawLines>
}
export interface RawLines {
  end: number
  players: number
  lines: BoardLine[]
}
export declare class RoomBoard {
  readonly room: string
  readonly name: string
  lines(query?: BoardQuery, options?: CallOptions): Promise<BoardLines>
  of(peer: string, options?: CallOptions): Promise<BoardLine | undefined>
  watch(query?: BoardQuery, options?: CallOptions): AsyncGenerator<BoardLines, void, undefined>
}

// world/game.d.ts
import { Board, type BoardOptions } from './board.js'
export interface Game {
  start?(world: World): void
  join(player: Player, data: Uint8Array): Uint8Array | void
  input?(player: Player, data: Uint8Array): void
  tick?(tick: number): void
  leave?(player: Player, why: string): void
  stays?(player: Player, to: Area, why: string): void
  whole(entity: number): Uint8Array
  change(entity: number): Uint8Array
  save?(entity: number): Uint8Array | void
  restore?(entity: number, data: Uint8Array): void
  savePlayer?(player: Player): Uint8Array | void
}
export interface Area {
  room: string
  host: string
}
export interface Arrival extends Area {
  state: Uint8Array
}
export declare class Player {
  readonly peer: string
  readonly number: number
  readonly slot: number
  readonly spectator: boolean
  readonly kept: Uint8Array
  readonly arrived: Arrival | undefined
  follow(entity: number): void
  look(x: number, y: number): void
  tell(data: Uint8Array): void
  kick(reason: string): void
  get walking(): boolean
  ready(to: Area): void
  walk(to: Area, state: Uint8Array): void
}
export declare class World {
  get size(): number
  has(entity: number): boolean
  at(entity: number): {
    x: number
    y: number
  }
  spawn(x: number, y: number): number
  move(entity: number, x: number, y: number): void
  touch(entity: number): void
  remove(entity: number): void
  get restored(): boolean
  keep(name: string, value?: Uint8Array): void
  kept(name: string): Uint8Array | undefined
  board(name: string, options?: BoardOptions): Board
  record(game: Game): void
  again(): void
}
export declare function playing(game: Game): (events: Uint8Array) => Uint8Array<ArrayBuffer>

// world/lobby.d.ts
import { Iteration, type RawIteration } from '../iteration.js'
export interface RoomFilter {
  name?: string
  version?: string
  tags?: Record<string, string>
  free?: number
  players?: number
  open?: boolean
}
export interface ListedRoom {
  name: string
  host: string
  version: string
  tags: Record<string, string>
  password: boolean
  hz: number
  players: number
  maxPlayers: number
  spectators: number
  maxSpectators: number
}
export interface RoomChange extends ListedRoom {
  gone: boolean
}
export interface RawLobby extends RawIteration<RoomChange[]> {
  rooms(): Promise<ListedRoom[]>
}
export declare class Lobby extends Iteration<RoomChange> {
  rooms(): Promise<ListedRoom[]>
}

// world/room.d.ts
import type { CallOptions } from '../types.js'
import { type Game } from './game.js'
import { Lobby, type ListedRoom, type RawLobby, type RoomFilter } from './lobby.js'
import { RoomBoard, type RawBoards } from './board.js'
import { Seat, type RawSeat } from './seat.js'
export interface RoomOptions {
  version?: string
  password?: string
  hz?: number
  players?: number
  spectators?: number
  seatsPerPeer?: number
  grace?: number
  radius?: number
  leave?: number
  visible?: number
  budget?: number
  inputs?: number
  inputSize?: number
  hidden?: boolean
  private?: boolean
  giveWay?: boolean
  tags?: Record<string, string>
  keep?: boolean
  standbys?: string[]
  neighbours?: string[]
}
export interface StandbyOptions extends Omit<RoomOptions, 'standbys'>, CallOptions {
  name: string
  host?: string
}
export interface StandbyState {
  host: string
  ready: boolean
  reason: string
  tick: number
  waiting: number
}
export interface Standby {
  state(): Promise<StandbyState>
  held(): Promise<Room | null>
  close(): Promise<void>
}
export interface ListOptions extends RoomFilter, CallOptions {
  wait?: number
}
export interface PlaceOptions extends CallOptions {
  tags?: Record<string, string>
}
export interface SeatOptions extends CallOptions {
  host?: string
  number?: number
  version?: string
  password?: string
  reconnect?: number
  spectator?: boolean
  data?: Uint8Array
}
export interface RoomStats {
  tick: number
  players: number
  away: number
  spectators: number
  peers: number
  entities: number
  median: number
  p99: number
  longest: number
  skipped: number
  load: number
  shedding: 'nothing' | 'far entities' | 'looking around' | 'every second tick' | 'joins'
  frames: number
  passed: number
  updates: number
  entered: number
  held: number
  bytes: number
  phases: {
    inputs: number
    game: number
    encoding: number
    looking: number
    telling: number
  }
  epoch: number
  standbys: string[]
}
export interface Room {
  close(): Promise<void>
  stats(): Promise<RoomStats>
  kick(peer: string, reason?: string): Promise<void>
  ban(peer: string, reason?: string): Promise<void>
  unban(peer: string): Promise<void>
  save(): Promise<void>
  nameStandbys(peers: string[]): Promise<void>
  setTags(tags: Record<string, string>): Promise<void>
  invite(page: string): Promise<string>
  nameNeighbours(peers: string[]): Promise<void>
  handOver(): Promise<string>
}
export type RawRoom = Room
export interface RawStandby extends RawRoom {
  state(): Promise<StandbyState>
  held(): Promise<boolean>
}
export interface RawRooms extends RawBoards {
  hostRoom(name: string, step: (events: Uint8Array) => Uint8Array, options: object): Promise<RawRoom>
  standByRoom(name: string, step: (events: Uint8Array) => Uint8Array, options: object): Promise<RawStandby>
  joinRoom(name: string, options: object): Promise<RawSeat>
  rooms(options?: ListOptions): Promise<ListedRoom[]>
  placeRoom(kind: string, name: string, options?: PlaceOptions): Promise<string>
  watchRooms(filter: RoomFilter): Promise<RawLobby>
}
export declare class Rooms {
  host(
    game: Game,
    options: RoomOptions & {
      name: string
    },
  ): Promise<Room>
  standBy(game: Game, options: StandbyOptions): Promise<Standby>
  join(name: string, options?: SeatOptions): Promise<Seat>
  board(host: string, room: string, board: string): RoomBoard
  accept(link: string, options?: Omit<SeatOptions, 'host' | 'password'>): Promise<Seat>
  list(options?: ListOptions): Promise<ListedRoom[]>
  place(kind: string, name: string, options?: PlaceOptions): Promise<string>
  watch(filter?: RoomFilter & CallOptions): Promise<Lobby>
}

// world/seat.d.ts
import { RoomBoard } from './board.js'
import { Iteration, type RawIteration } from '../iteration.js'
export interface RawSeat extends RawIteration<Uint8Array> {
  about(): Promise<SeatInfo>
  input(data: Uint8Array): Promise<number>
}
export interface SeatInfo {
  name: string
  host: string
  hz: number
  answer: Uint8Array
}
export interface EntityUpdate {
  entity: number
  isNew: boolean
  whole: boolean
  data: Uint8Array
}
export interface Tick {
  number: number
  reset: boolean
  applied: number
  waited: number
  left: number[]
  updates: EntityUpdate[]
  notes: Uint8Array[]
}
export declare class Seat extends Iteration<Tick> {
  get name(): string
  get host(): string
  get hz(): number
  get answer(): Uint8Array
  input(data: Uint8Array): Promise<number>
  board(name: string): RoomBoard
  leave(): Promise<void>
}
export declare function decodeTicks(batch: Uint8Array): Tick[]
export declare class View<T> extends Map<number, T> {
  constructor(whole: (data: Uint8Array) => T, change: (thing: T, data: Uint8Array) => T)
  take(tick: Tick): void
}

// world/smooth.d.ts
export declare const BEHIND = 2
export declare class Clock {
  constructor(hz: number)
  tick(number: number, now?: number): void
  at(now?: number): number
}
export declare class Path<T> {
  constructor(between: (a: T, b: T, share: number) => T)
  add(tick: number, at: T): void
  at(tick: number): T | undefined
}
export declare class Prediction<State, Input> {
  constructor(state: State, apply: (state: State, input: Input) => State)
  do(seq: number, input: Input): void
  told(state: State, applied: number): void
  get state(): State
}
