// A program without the DOM's types, as one for Node.js may be, has not all of the platform's: these are what there is.

/** `WebAssembly.Module`. */
export type WasmModule = typeof globalThis extends { WebAssembly: { Module: { prototype: infer M } } } ? M : object

/** `HTMLIFrameElement`. */
export type Frame = typeof globalThis extends { HTMLIFrameElement: { prototype: infer F } } ? F : object

/** `AddEventListenerOptions`. */
export interface ListenerOptions {
  capture?: boolean
  once?: boolean
  passive?: boolean
  signal?: AbortSignal
}

/** What a call that may take long can be given. */
export interface CallOptions {
  /** Ends the call: it rejects with the signal's reason. */
  signal?: AbortSignal
}

/** How the bytes of a connection travel. `circuit` is a connection that runs through a relay. */
export type Transport =
  'webtransport' | 'websocket' | 'webrtc' | 'webrtc-direct' | 'circuit' | 'quic' | 'tcp' | (string & {})

export type Direction = 'inbound' | 'outbound'

/** A line of the log of a node. */
export interface LogRecord {
  level: Exclude<LogLevel, 'off'>
  /** In milliseconds since 1970. */
  time: number
  message: string
  /** Details, in the form `key=value`; empty if there is no more to say. */
  attrs: string
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'off'

/** The options that the node itself knows; it checks them, and rejects a bad one with an `Error` that names it. */
export interface NodeConfig {
  /**
   * Relays to hold a reservation on: by URL, for example `https://relay.example`, or by multiaddrs that end in `/p2p/<id>`, of which several may be of one
   * relay. A relay that has a URL is asked where it can be dialled, and again when it cannot be reached there.
   */
  relays?: string[]
  /** A token of the relays' operator, for relays that take only peers with one. */
  token?: string
  /**
   * - `persistent`: kept in IndexedDB, so that a reload keeps the peer ID. Needs a secure context.
   * - `ephemeral` (the default): a fresh one each time.
   * - bytes: a libp2p private key in its protobuf encoding.
   */
  identity?: 'persistent' | 'ephemeral' | Uint8Array
  /**
   * Where the histories of `keepHistory` live: in `memory` (the default), or `persistent` in IndexedDB, so that a reload knows what it has
   * had. The identity must be persistent then, too.
   */
  histories?: 'memory' | 'persistent'
  /** Separates meshes from each other. Default `tombolo`. */
  network?: string
  /**
   * Default: all that the platform has. Where a peer has several, WebTransport is dialled first, then WebSocket, and WebRTC-direct only when neither has
   * connected: a browser may ask its user before it makes a WebRTC connection.
   */
  transports?: ('webtransport' | 'websocket' | 'webrtc-direct')[]
  /**
   * Whether peers that this node speaks with over a relay get a WebRTC connection without it: `auto`, or `never` (the default). Such a peer then
   * learns this node's address, and a browser may ask the user before it makes a connection. Of a node in a shared worker, one of its tabs has the
   * connections; when that tab goes, they end, and the next ones are another tab's. Under Node.js there are none, and the relay carries everything.
   */
  direct?: 'auto' | 'never'
  /** What goes to the console, and into `log` events. Default `warn`. */
  log?: LogLevel
}

/** How far the download of the program is. */
export interface LoadProgress {
  /** Bytes received, after the transfer encoding was undone. */
  loaded: number
  /** The transfer encoding that the server chose: `br`, `gzip`, or empty for none. */
  encoding: string
}

export interface CreateNodeOptions extends NodeConfig {
  /** Where `tombolo.wasm` is, or the compiled module. Default: beside this package's own files. */
  wasm?: string | URL | WasmModule
  /**
   * Where the rest of the program is, `tombolo.rest.wasm`: what a node does not begin with. It is fetched once the node is connected. Default: as
   * `wasm`, and beside it if that is an address.
   */
  wasmRest?: string | URL
  /** Called as the program arrives; not called when it is already here, or on its way for somebody who did not ask. */
  onProgress?: (progress: LoadProgress) => void
  /** Ends the wait for the node. A download that other callers wait for continues. */
  signal?: AbortSignal
  /**
   * Where the node runs. Its API is the same.
   *
   * - `dedicated` (the default in browsers): in a worker of its own, which leaves the page smooth, and which is started again when it crashes:
   *   see the event `restart`.
   * - `shared`: one node for all tabs of the origin that ask for it with the same options; `relays` may differ, and it has them all. It lives
   *   as long as one of the tabs does. What several tabs register of which a node has only one (the listener of a protocol, the responder of
   *   a type) is the first tab's, and the next one's when that is gone. `close` leaves the node to the others. Where the platform has no
   *   shared workers, and outside of secure contexts, this is `dedicated`.
   * - `none`: in the calling thread. Under Node.js, that is the only choice, and the default.
   */
  worker?: 'dedicated' | 'shared' | 'none'
}

export interface PeerInfo {
  id: string
  /** The addresses that the peer is known to have. */
  addrs: string[]
  /** The remote address of the best connection. */
  addr: string
  transport: Transport
  direction: Direction
  /** Whether the best connection runs through a relay. */
  relayed: boolean
  /** The peer ID of that relay. */
  relay?: string
  /** The last measured round trip in milliseconds. */
  rtt: number | null
  /** What the peer says it runs. Empty until it has said so. */
  agent: string
  /** When the best connection was made, in milliseconds since 1970. */
  since: number
  /** How many connections there are to the peer. */
  connections: number
}

/** A reservation that a relay holds for this node: while it lasts, other peers can reach the node through the relay. */
export interface Reservation {
  /** The relay's peer ID. */
  id: string
  /** The addresses of this node through the relay. */
  addrs: string[]
  /** When the reservation ends unless it is renewed (it is), in milliseconds since 1970. */
  expires: number
}

/**
 * A stream to a peer. `writable.close()` ends the sending half only; `readable.cancel()` ends the reading half only;
 * `writable.abort()` and `reset()` end both at once, and the peer sees that.
 *
 * A stream that does not end well fails both halves with a `TomboloError` whose `reason` says why: that the peer refused it, too.
 */
export interface PeerStream {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly writable: WritableStream<Uint8Array>
  /** The id of the peer at the other end. */
  readonly peer: string
  readonly protocol: string
  reset(): void
}

/**
 * Why a stream was refused, or ended before its time. The first six are the peer's word; a peer of a later version may have others.
 *
 * - `not allowed`: the listener does not let this node in
 * - `no such protocol`: the peer does not listen on it
 * - `target refused`, `target timed out`: the target of the listener could not be reached
 * - `too many streams`: a limit of the listener
 * - `loop`: the target of the listener is the forward that the stream came from
 * - `target failed`: the target of the listener failed; in a tab, its handler threw
 * - `client failed`: the program that opened the stream failed
 * - `peer away`: it cannot be reached
 * - `peer lost`: the connection to it ended
 * - `reset by the peer`: it did not say why
 * - `timed out`: nothing moved for too long
 * - `closed by hand`: reset here, or with `closeStream`
 * - `shutdown`: the node was closed
 */
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

/** Why a seat in a room was refused, or has ended. */
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
  /** Permits a protocol that is not within `/x/`. Default false. */
  allowCustomProtocol?: boolean
}

/** What of a listener can be changed while it listens: it holds for streams that are opened later. */
export interface ListenerLimits {
  /** The ids of the peers that are let in, and nobody else. Empty: everybody. */
  allow?: string[]
  /** The ids of peers that are kept out, even if they are allowed. */
  deny?: string[]
  /** Streams at a time. 0: no bound. */
  maxStreams?: number
  /** Streams of one peer at a time. 0: no bound. */
  maxStreamsPerPeer?: number
  /** Bytes a second each way, all streams together. 0: no bound. */
  rate?: number
}

/** By default, every peer is admitted, and the listener is not announced. */
export interface ListenOptions extends ListenerLimits {
  /** Describes the listener to peers that ask for this node's services, if they are let in. At most 256 bytes. */
  announce?: string
  /** Permits a protocol that is not within `/x/`. Default false. */
  allowCustomProtocol?: boolean
}

/** Something that was registered, and can be taken back. */
export interface Registration {
  close(): Promise<void>
}

/** A listener of this node. Closing or updating it does not close its open streams. */
export interface Listener extends Registration {
  readonly protocol: string
  /** Changes the given options, and leaves the others as they are. */
  update(changes: ListenerLimits): Promise<void>
}

/** Answers streams. One that throws, or rejects, resets its stream. */
export type StreamHandler = (stream: PeerStream) => void | Promise<void>

/** A listener that a peer announces, and lets this node use. */
export interface Service {
  peer: string
  protocol: string
  description: string
}

/** What is known of a listener of this node. */
export interface ListenerInfo {
  /** Never used again. */
  id: number
  protocol: string
  /** `/p2p/<this node>`. */
  listen: string
  /** `function <name>`, or `js` where it has none. */
  target: string
  allowCustomProtocol?: boolean
  announce?: string
  access?: { allow?: string[]; deny?: string[] }
  limits?: { streams?: number; streamsPerPeer?: number; rate?: number }
  /** Streams now. */
  live: number
  /** Streams let in, and not let in, so far. */
  total: number
  refused: number
}

/** What is known of a stream, living or ended. Times are in milliseconds since 1970. */
export interface StreamInfo {
  /** Never used again. */
  id: number
  protocol: string
  peer: string
  /** Whether the peer opened it. */
  inbound: boolean
  /** Who opened it, and where it leads: `/p2p/<peer>`, or what it is here. */
  origin: string
  target: string
  transport: Transport
  /** The peer ID of the relay, if the stream goes through one. */
  relay?: string
  /** Bytes to the peer, and from it. 0 where the browser carries them itself, which it does over WebTransport. */
  sent: number
  received: number
  opened: number
  /** When a byte last moved, or the stream was opened where the browser carries the bytes. */
  lastActive: number
  /** Absent while it lives. */
  ended?: number
  /** Why it did not end well. Absent: it did, or lives. */
  reason?: StreamReason
  /** The reason, with what was seen. */
  error?: string
}

/** A message, as a subscription yields it. */
export interface Message {
  /** The peer that made it: authenticated by the connection, or for a broadcast by its signature. */
  from: string
  /** The peer that handed it to this node; other than `from` only for a broadcast. */
  via: string
  type: string
  data: Uint8Array
  /** Tells apart the messages of one sender and type. */
  id: string
  /** How many messages this subscription lost between the one before and this one. */
  missed: number
  /** It was for the whole mesh, not for this node alone. */
  broadcast: boolean
  /** It came out of the history of a peer. */
  replayed: boolean
}

/**
 * What happens to a message when `buffer` messages wait to be read already. Whatever is lost is counted, and the next message says so.
 *
 * - `drop-newest` (the default) and `drop-oldest`: the sender with the most messages waiting loses one
 * - `latest-per-sender`: of each sender and type, only the newest message waits
 * - `block`: a message sent to this node waits, and its sender with it; a broadcast is dropped as by `drop-newest`
 * - `close-on-overflow`: the subscription ends, with an error
 */
export type Policy = 'drop-newest' | 'drop-oldest' | 'latest-per-sender' | 'block' | 'close-on-overflow'

export interface SubscribeOptions {
  /** How many messages may wait to be read. Default 256. */
  buffer?: number
  policy?: Policy
  /** Whether to hear what is broadcast to the mesh, and not only what is sent to this node. Default true. */
  broadcasts?: boolean
  /** Closes the subscription. */
  signal?: AbortSignal
}

/** `high` waits for room in the queue; the others reject when it is full. */
export type Priority = 'high' | 'normal' | 'low'

export interface SendOptions extends CallOptions {
  /** Default `normal`. */
  priority?: Priority
}

export interface BroadcastOptions extends CallOptions {
  /** If there is no subscriber, waits for one, as long as the signal allows; otherwise the call rejects. Default false. */
  wait?: boolean
}

/** Which connected peers a message goes to: all, about the square root of their number, some at random, or those the function picks. */
export type PeerFilter = NamedPeerFilter | ((peer: PeerInfo) => boolean)
export type NamedPeerFilter = 'every' | 'sqrt' | { random: number }

/** Who was reached, and why others were not. */
export interface SendReport {
  reached: string[]
  failed: { peer: string; reason: string }[]
}

/** Answers requests. The bytes it returns are the reply; what it throws is the error that the asking peer gets. */
export type Responder = (
  request: Pick<Message, 'from' | 'type' | 'data' | 'id'>,
  options: { signal: AbortSignal },
) => Uint8Array | Promise<Uint8Array>

/** Bounds of a history. What is not given has a default. */
export interface HistoryLimits {
  /** Messages. */
  count?: number
  bytes?: number
  /** Milliseconds. */
  age?: number
}

/** Messages that a publisher made and nobody who was asked still has. */
export interface Gap {
  publisher: string
  /** When the publisher began to count, in microseconds since 1970, as a decimal number. */
  epoch: string
  /** The first and the last number missing, as decimal numbers. */
  from: string
  to: string
}

/** What a recovery brought; the messages themselves went to the subscriptions. */
export interface Recovery {
  messages: number
  /** Whether nothing is missing, as far as those who were asked know. */
  complete: boolean
  asked: string[]
  gaps: Gap[]
}

export interface PresenceChange {
  peer: string
  joined: boolean
}

/** What becomes of a broadcast: `ignore` does not pass it on; `reject` also counts against who did. */
export type Verdict = 'accept' | 'ignore' | 'reject'

/** The best connection to a peer. */
export interface PeerConnection {
  peer: string
  addr: string
  transport: Transport
  relayed: boolean
  direction: Direction
}

/** The details of the events that a node dispatches. They are `CustomEvent`s. */
export interface NodeEvents {
  'peer:connect': PeerConnection
  'peer:disconnect': { peer: string }
  /** The best connection to a peer passes no relay any more. */
  'peer:direct': PeerConnection
  /** The direct connections to a peer have ended, and it is reached through a relay. */
  'peer:relayed': PeerConnection
  'relay:reserved': { relay: string; addrs: string[]; expires: number }
  'relay:lost': { relay: string; reason: string }
  /**
   * A relay could not be reached, or gave no reservation. It is tried again, less often each time. `relay` is its peer ID, or its URL if it has not answered yet.
   */
  'relay:failed': { relay: string; reason: string }
  /**
   * The worker of the node crashed, or did not answer, and was started again: with the same identity, relays and histories, and with all
   * that listens, serves, responds, validates, subscribes and watches presence. What was under way failed with a `RestartError`, connections
   * are made anew, and what was not read of a subscription is lost. Only with a worker.
   */
  restart: { reason: string }
  /** A room that this node held is held by another peer. */
  'room:moved': { name: string; host: string; epoch: number }
  /** A peer had bytes echoed by this node. */
  echo: { peer: string; bytes: number }
  /** A line of the log, at the level of the option `log` or above. What was logged while the node was made is on the console only. */
  log: LogRecord
  /** Something failed that no call was waiting for. After a fatal error the node is of no more use. */
  error: { message: string; fatal: boolean }
}

export type NodeEventListener<K extends keyof NodeEvents> =
  ((event: CustomEvent<NodeEvents[K]>) => void) | { handleEvent(event: CustomEvent<NodeEvents[K]>): void }
