// A program that is compiled without the DOM's types, for example one for Node.js, lacks these types. It gets a stand-in instead.

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

/** Options of calls that may take long. */
export interface CallOptions {
  /** Aborts the call, which then rejects with the signal's reason. */
  signal?: AbortSignal
}

/** The transport of a connection. `circuit` is a connection through a relay. */
export type Transport =
  'webtransport' | 'websocket' | 'webrtc' | 'webrtc-direct' | 'circuit' | 'quic' | 'tcp' | (string & {})

export type Direction = 'inbound' | 'outbound'

/** A log line of a node. */
export interface LogRecord {
  level: Exclude<LogLevel, 'off'>
  /** In milliseconds since 1970. */
  time: number
  message: string
  /** Details, in the form `key=value`. May be empty. */
  attrs: string
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'off'

/** Options of the node itself. A bad value rejects with a `TomboloError` of the code `option`, which names the option. */
export interface NodeConfig {
  /**
   * Relays to hold reservations on: URLs, for example `https://relay.example`, or multiaddrs that end in `/p2p/<id>`, of which several may
   * belong to one relay. If a relay is given as a URL, the node requests its addresses from there, and again if it cannot reach the relay.
   */
  relays?: string[]
  /** A token from the relays' operator, for relays that require one. */
  token?: string
  /**
   * The key of the node, which determines its peer ID.
   *
   * - `persistent`: kept in IndexedDB, so that a reload keeps the peer ID. Requires a secure context.
   * - `ephemeral` (the default): a new key each time.
   * - bytes: a libp2p private key in its protobuf encoding.
   */
  identity?: 'persistent' | 'ephemeral' | Uint8Array
  /**
   * Where the histories of `keepHistory` are stored: in `memory` (the default), or in IndexedDB (`persistent`), so that after a reload the
   * node knows which messages it already has. `persistent` requires a persistent identity.
   */
  histories?: 'memory' | 'persistent'
  /** The name of the mesh. Nodes of different networks do not see each other. Default `tombolo`. */
  network?: string
  /**
   * The transports to dial with. Default: all that the platform has. If a peer supports several, the node dials over WebTransport first,
   * then over WebSocket, and over WebRTC-direct only if neither has connected, because a browser may ask its user before it makes a WebRTC
   * connection.
   */
  transports?: ('webtransport' | 'websocket' | 'webrtc-direct')[]
  /**
   * Whether the node tries to make a direct WebRTC connection to peers that it reaches through a relay: `auto`, or `never` (the default).
   * Such a peer then learns this node's address, and a browser may ask the user before it makes a connection. If the node is in a shared
   * worker, one of its tabs holds these connections; when that tab is closed, they end, and another tab makes the next ones. Under Node.js
   * there are no direct connections, and the relay carries everything.
   */
  direct?: 'auto' | 'never'
  /** The lowest level that goes to the console and into `log` events. Default `warn`. */
  log?: LogLevel
}

/** The progress of the program's download. */
export interface LoadProgress {
  /** Bytes received, after decompression. */
  loaded: number
  /** The content encoding that the server chose: `br`, `gzip`, or empty for none. */
  encoding: string
}

export interface CreateNodeOptions extends NodeConfig {
  /** The address of `tombolo.wasm`, or the compiled module. Default: the file beside this package's own files. */
  wasm?: string | URL | WasmModule
  /**
   * The address of `tombolo.rest.wasm`, the part of the program that a node does not need at first. It is fetched once the node is
   * connected. Default: beside `wasm` if that is an address, else beside this package's own files.
   */
  wasmRest?: string | URL
  /** Called while the program arrives. Not called if the program is already loaded, or if a call without `onProgress` is loading it. */
  onProgress?: (progress: LoadProgress) => void
  /** Aborts the call. A download that other callers wait for continues. */
  signal?: AbortSignal
  /**
   * Where the node runs. The API is the same everywhere.
   *
   * - `dedicated` (the default in browsers): in a worker of its own, which keeps the page smooth. If the worker crashes, it is restarted:
   *   see the event `restart`.
   * - `shared`: one node for all tabs of the origin that ask for it with the same options. `relays` may differ: the node uses all of them.
   *   The node ends with the last of the tabs; `close` leaves it to the others. A node has one listener per protocol, and one responder and
   *   one validator per type: if several tabs register one, the first tab's is used, and the next tab's when the first is gone. If the
   *   platform has no shared workers, or the context is not secure, this is `dedicated`.
   * - `none`: in the calling thread. Under Node.js, this is the default and the only choice.
   */
  worker?: 'dedicated' | 'shared' | 'none'
}

export interface PeerInfo {
  id: string
  /** The known addresses of the peer. */
  addrs: string[]
  /** The remote address of the best connection. */
  addr: string
  transport: Transport
  direction: Direction
  /** Whether the best connection passes through a relay. */
  relayed: boolean
  /** The peer ID of that relay. */
  relay?: string
  /** The last measured round trip in milliseconds; null before the first measurement. */
  rtt: number | null
  /** The software that the peer reports. Empty until it has. */
  agent: string
  /** When the best connection was made, in milliseconds since 1970. */
  since: number
  /** The number of connections to the peer. */
  connections: number
}

/** A reservation that a relay holds for this node: while it lasts, other peers can reach the node through the relay. */
export interface Reservation {
  /** The relay's peer ID. */
  id: string
  /** The addresses of this node through the relay. */
  addrs: string[]
  /** When the reservation expires, in milliseconds since 1970. The node renews it before that. */
  expires: number
}

/**
 * A stream to a peer. `writable.close()` ends the sending half only; `readable.cancel()` ends the reading half only;
 * `writable.abort()` and `reset()` end both at once, and the peer sees that.
 *
 * If the peer refuses the stream, or it ends early, both halves fail with a `TomboloError` whose `reason` says why.
 */
export interface PeerStream {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly writable: WritableStream<Uint8Array>
  /** The ID of the peer at the other end. */
  readonly peer: string
  readonly protocol: string
  reset(): void
}

/**
 * The reason why a stream was refused or ended early. The peer reports the first six; a peer of a later version may report others.
 *
 * - `not allowed`: the listener does not admit this node
 * - `no such protocol`: the peer does not listen on it
 * - `target refused`, `target timed out`: the target of the listener could not be reached
 * - `too many streams`: a limit of the listener
 * - `loop`: the target of the listener is the forward that the stream came from
 * - `target failed`: the target of the listener failed; in a tab, its handler threw
 * - `client failed`: the program that opened the stream failed
 * - `peer away`: the peer cannot be reached
 * - `peer lost`: the connection to the peer ended
 * - `reset by the peer`: the peer reset the stream and did not say why
 * - `timed out`: no byte moved for too long
 * - `closed by hand`: this node reset or aborted the stream, or called `closeStream`
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

/** The reason why a seat in a room was refused or ended. */
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

/** Options of a listener that can be changed while it listens. A change applies to streams that are opened later. */
export interface ListenerLimits {
  /** The IDs of the only peers that may open streams. Empty: any peer may. */
  allow?: string[]
  /** The IDs of peers that may not open streams, even if `allow` names them. */
  deny?: string[]
  /** Maximum concurrent streams. 0: no limit. */
  maxStreams?: number
  /** Maximum concurrent streams of one peer. 0: no limit. */
  maxStreamsPerPeer?: number
  /** Maximum bytes per second in each direction, for all streams together. 0: no limit. */
  rate?: number
}

/** Options of a listener. By default, any peer may open a stream, and the listener is not announced. */
export interface ListenOptions extends ListenerLimits {
  /** A description for peers that ask for this node's services. Only peers that may open a stream get it. At most 256 bytes. */
  announce?: string
  /** Permits a protocol that is not within `/x/`. Default false. */
  allowCustomProtocol?: boolean
}

/** A registration. `close` undoes it. */
export interface Registration {
  close(): Promise<void>
}

/** A listener of this node. Closing or updating it does not close its open streams. */
export interface Listener extends Registration {
  readonly protocol: string
  /** Changes the given options and leaves the others as they are. */
  update(changes: ListenerLimits): Promise<void>
}

/** Handles a stream. If it throws or rejects, the stream is reset. */
export type StreamHandler = (stream: PeerStream) => void | Promise<void>

/** A listener that a peer announces and that this node may use. */
export interface Service {
  peer: string
  protocol: string
  description: string
}

/** A listener of this node, reported by `listeners`. */
export interface ListenerInfo {
  /** Never used again. */
  id: number
  protocol: string
  /** `/p2p/<this node>`. */
  listen: string
  /** `function <name>`, or `js` if the handler has no name. */
  target: string
  allowCustomProtocol?: boolean
  announce?: string
  access?: { allow?: string[]; deny?: string[] }
  limits?: { streams?: number; streamsPerPeer?: number; rate?: number }
  /** Streams that are open now. */
  live: number
  /** Streams admitted so far, and streams refused. */
  total: number
  refused: number
}

/** A stream that is open or has ended, reported by `streams`. Times are in milliseconds since 1970. */
export interface StreamInfo {
  /** Never used again. */
  id: number
  protocol: string
  peer: string
  /** Whether the peer opened it. */
  inbound: boolean
  /** The end that opened the stream, and the other end. Each is `/p2p/<peer>`, or the name of the local end. */
  origin: string
  target: string
  transport: Transport
  /** The peer ID of the relay, if the stream passes through one. */
  relay?: string
  /** Bytes sent to the peer, and received from it. 0 if the browser carries them itself, as it does over WebTransport. */
  sent: number
  received: number
  opened: number
  /** When a byte last moved; if the browser carries the bytes, when the stream was opened. */
  lastActive: number
  /** Absent while the stream is open. */
  ended?: number
  /** The reason why the stream ended early. Absent if it ended well or is still open. */
  reason?: StreamReason
  /** The reason in more detail. */
  error?: string
}

/** A message, as a subscription yields it. */
export interface Message {
  /** The peer that sent it: authenticated by the connection, or by the signature of a broadcast. */
  from: string
  /** The peer that handed it to this node. Differs from `from` only for a broadcast. */
  via: string
  type: string
  data: Uint8Array
  /** Distinguishes the messages of one sender and type. */
  id: string
  /** How many messages this subscription lost between the previous message and this one. */
  missed: number
  /** Whether it was sent to the whole mesh, not to this node alone. */
  broadcast: boolean
  /** Whether it came from the history of a peer. */
  replayed: boolean
}

/**
 * What happens to a message if `buffer` messages are already waiting to be read. Lost messages are counted: see `Message.missed`.
 *
 * - `drop-newest` (the default) and `drop-oldest`: the sender with the most messages waiting loses one
 * - `latest-per-sender`: only the newest message of each sender and type waits
 * - `block`: a message sent to this node waits, and its sender with it; a broadcast is dropped as with `drop-newest`
 * - `close-on-overflow`: the subscription ends with an error
 */
export type Policy = 'drop-newest' | 'drop-oldest' | 'latest-per-sender' | 'block' | 'close-on-overflow'

export interface SubscribeOptions {
  /** How many messages may wait to be read. Default 256. */
  buffer?: number
  policy?: Policy
  /** Whether to receive broadcasts, too, and not only messages sent to this node. Default true. */
  broadcasts?: boolean
  /** Closes the subscription. */
  signal?: AbortSignal
}

/** The priority of a message. If the queue is full, a call with `high` waits for room; with the others, it rejects. */
export type Priority = 'high' | 'normal' | 'low'

export interface SendOptions extends CallOptions {
  /** Default `normal`. */
  priority?: Priority
}

export interface BroadcastOptions extends CallOptions {
  /** If nobody is subscribed, whether to wait for a subscriber until the signal aborts, instead of rejecting. Default false. */
  wait?: boolean
}

/** The connected peers that get a message: all, about the square root of their number, some at random, or those that the function picks. */
export type PeerFilter = NamedPeerFilter | ((peer: PeerInfo) => boolean)
export type NamedPeerFilter = 'every' | 'sqrt' | { random: number }

/** The peers that were reached, and those that were not, each with the reason. */
export interface SendReport {
  reached: string[]
  failed: { peer: string; reason: string }[]
}

/** Answers requests. It returns the reply; if it throws, the asking peer gets the error. */
export type Responder = (
  request: Pick<Message, 'from' | 'type' | 'data' | 'id'>,
  options: { signal: AbortSignal },
) => Uint8Array | Promise<Uint8Array>

/** Limits of a history. Each has a default. */
export interface HistoryLimits {
  /** Maximum number of messages. */
  count?: number
  bytes?: number
  /** Maximum age of a message in milliseconds. */
  age?: number
}

/** A range of a publisher's messages that none of the peers asked has any more. */
export interface Gap {
  publisher: string
  /** When the publisher began to number its messages, in microseconds since 1970, as a decimal number. */
  epoch: string
  /** The first and the last missing number, as decimal numbers. */
  from: string
  to: string
}

/** The result of a recovery. The messages themselves went to the subscriptions. */
export interface Recovery {
  messages: number
  /** Whether nothing is missing, as far as the peers asked know. */
  complete: boolean
  asked: string[]
  gaps: Gap[]
}

export interface PresenceChange {
  peer: string
  joined: boolean
}

/** What to do with a broadcast: `ignore` drops it; `reject` also counts against the peer that passed it on. */
export type Verdict = 'accept' | 'ignore' | 'reject'

/** The best connection to a peer. */
export interface PeerConnection {
  peer: string
  addr: string
  transport: Transport
  relayed: boolean
  direction: Direction
}

/** The events that a node dispatches, with the type of their `detail`. They are `CustomEvent`s. */
export interface NodeEvents {
  'peer:connect': PeerConnection
  'peer:disconnect': { peer: string }
  /** The best connection to a peer no longer passes through a relay. */
  'peer:direct': PeerConnection
  /** The direct connections to a peer have ended; it is now reached through a relay. */
  'peer:relayed': PeerConnection
  'relay:reserved': { relay: string; addrs: string[]; expires: number }
  'relay:lost': { relay: string; reason: string }
  /**
   * A relay could not be reached, or granted no reservation. The node keeps retrying, less often each time. `relay` is the relay's peer ID,
   * or its URL if it has not answered yet.
   */
  'relay:failed': { relay: string; reason: string }
  /**
   * The node's worker crashed or stopped answering, and was restarted with the same identity, relays and histories, and with all listeners,
   * HTTP handlers, responders, validators, subscriptions, presences and rooms. Calls and streams that were under way failed with a
   * `RestartError`, connections are made anew, and unread messages are lost. Only with a worker.
   */
  restart: { reason: string }
  /** Another peer now holds a room that this node held. */
  'room:moved': { name: string; host: string; epoch: number }
  /** This node echoed the bytes of a peer. */
  echo: { peer: string; bytes: number }
  /** A log line, at the level of the option `log` or above. Lines logged while the node was being made go to the console only. */
  log: LogRecord
  /** Something failed that no call was waiting for. After a fatal error the node cannot be used any more. */
  error: { message: string; fatal: boolean }
}

export type NodeEventListener<K extends keyof NodeEvents> =
  ((event: CustomEvent<NodeEvents[K]>) => void) | { handleEvent(event: CustomEvent<NodeEvents[K]>): void }
