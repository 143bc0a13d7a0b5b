/** What a call that may take long can be given. */
export interface CallOptions {
  /** Ends the call: it rejects with the signal's reason. */
  signal?: AbortSignal
}

/** How the bytes of a connection travel. `circuit` is a connection that runs through a relay. */
export type Transport =
  'webtransport' | 'websocket' | 'webrtc' | 'webrtc-direct' | 'circuit' | 'quic' | 'tcp' | (string & {})

export type Direction = 'inbound' | 'outbound'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'off'

/** The options that the node itself knows; it checks them, and rejects a bad one with an `Error` that names it. */
export interface NodeConfig {
  /** Relays to hold a reservation on, as multiaddrs that end in `/p2p/<id>`. Several addresses of one relay are one relay. */
  relays?: string[]
  /**
   * - `persistent`: kept in IndexedDB, so that a reload keeps the peer id. Needs a secure context.
   * - `ephemeral` (the default): a fresh one each time.
   * - bytes: a libp2p private key in its protobuf encoding.
   */
  identity?: 'persistent' | 'ephemeral' | Uint8Array
  /** Separates meshes from each other. Default `tombolo`. */
  network?: string
  /** Default: all that the platform has. */
  transports?: ('webtransport' | 'websocket')[]
  /** What goes to the console. Default `warn`. */
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
  wasm?: string | URL | WebAssembly.Module
  /** Called as the program arrives; not called when it is already here, or on its way for somebody who did not ask. */
  onProgress?: (progress: LoadProgress) => void
  /** Ends the wait for the node. A download that other callers wait for goes on. */
  signal?: AbortSignal
  /** Where the node runs. Only in the calling thread, so far. */
  worker?: 'none'
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
  /** The peer id of that relay. */
  relay?: string
  /** The last measured round trip in milliseconds. */
  rtt: number | null
  /** What the peer says it runs. Empty until it has said so. */
  agent: string
  /** When the peer was connected, in milliseconds since 1970. */
  since: number
  /** How many connections there are to the peer. */
  connections: number
}

/** A reservation that a relay holds for this node: while it lasts, the node can be dialled through the relay. */
export interface Reservation {
  /** The relay's peer id. */
  id: string
  /** The addresses under which this node can be dialled through the relay. */
  addrs: string[]
  /** When the reservation ends unless it is renewed (it is), in milliseconds since 1970. */
  expires: number
}

/**
 * A stream to a peer. `writable.close()` ends the sending half only; `readable.cancel()` ends the reading half only;
 * `writable.abort()` and `reset()` end both at once, and the peer sees that.
 */
export interface PeerStream {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
  /** The id of the peer at the other end. */
  readonly peer: string
  readonly protocol: string
  reset(): void
}

/** A protocol that this node answers. */
export interface Listener {
  readonly protocol: string
  close(): Promise<void>
}

/** The details of the events that a node dispatches, as `CustomEvent`s. */
export interface NodeEvents {
  'peer:connect': {
    peer: string
    addr: string
    transport: Transport
    relayed: boolean
    direction: Direction
  }
  'peer:disconnect': { peer: string }
  'relay:reserved': { relay: string; addrs: string[]; expires: number }
  'relay:lost': { relay: string; reason: string }
  /** A peer had bytes echoed by this node. */
  echo: { peer: string; bytes: number }
  /** Something failed that no call was waiting for. After a fatal error the node is of no more use. */
  error: { message: string; fatal: boolean }
}

export type NodeEventListener<K extends keyof NodeEvents> =
  ((event: CustomEvent<NodeEvents[K]>) => void) | { handleEvent(event: CustomEvent<NodeEvents[K]>): void }
