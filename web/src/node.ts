import { dialAhead } from './ahead.js'
import { askAhead } from './ask.js'
import { callsOf, optionsAt, type PlainCalls } from './calls.js'
import { copied } from './copied.js'
import { TomboloError } from './errors.js'
import { fetchFrom } from './http/client.js'
import { serveOn, type HttpHandler } from './http/server.js'
import { apart, type Files, filesOf, loadModule, loadProgram, type Platform } from './load.js'
import { Presence, Subscription } from './messages.js'
import { followPage } from './page/lifecycle.js'
import { choosePlace, type Workers } from './page/places.js'
import { RemoteNode } from './page/remote.js'
import { invoke, NODE_EVENTS, raceAbort, type Carrier, type RawNode } from './program.js'
import { peerStream, streamHandler } from './stream.js'
import { Rooms } from './world/room.js'
import type {
  CallOptions,
  CreateNodeOptions,
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
import { optionsOf, textOf, throwIfAborted } from './values.js'

/** The only protocol outside of `/x/` over which Kubo's gateway speaks HTTP. */
const KUBO_HTTP = '/http'

const EVENTS = [...NODE_EVENTS, 'restart'] as const

export interface TomboloNode extends PlainCalls {}

/** A libp2p peer, made by `createNode`. After its program has crashed, every call rejects with the code `crashed`. */
export class TomboloNode extends EventTarget {
  readonly #raw: RawNode
  readonly #program: Carrier
  readonly #over: AbortController
  #closing: Promise<void> | undefined
  #rooms: Rooms | undefined

  static {
    for (const name of callsOf('plain')) {
      const options = optionsAt(name)
      const value = function (this: TomboloNode, ...args: unknown[]) {
        const signal = (args[options] as CallOptions | null | undefined)?.signal
        return this.#program.call(() => invoke(this.#raw, name, args) as Promise<unknown>, signal)
      }
      Object.defineProperty(this.prototype, name, { value, writable: true, configurable: true })
    }
  }

  /**
   * Closing the node aborts `over`.
   * @internal
   */
  constructor(raw: RawNode, program: Carrier, over: AbortController) {
    super()
    this.#raw = raw
    this.#program = program
    this.#over = over
    for (const type of EVENTS) {
      raw.addEventListener(type, (event) =>
        this.#dispatch(type, (event as CustomEvent<NodeEvents[typeof type]>).detail),
      )
    }
    const crashed = () => {
      this.#dispatch('error', { message: (program.ended.reason as TomboloError).message, fatal: true })
    }
    program.ended.addEventListener('abort', crashed, { signal: over.signal }) // a program outlives its nodes
  }

  /** This node's peer ID. */
  get id(): string {
    return this.#raw.id
  }

  /** The mesh that this node belongs to. */
  get network(): string {
    return this.#raw.network
  }

  /** The version of the program that the node runs. */
  get version(): string {
    return this.#program.version
  }

  /** Where the node runs. On a platform without shared workers, a node that was made with `shared` reports `dedicated`. */
  get worker(): 'none' | 'dedicated' | 'shared' {
    return this.#program.worker
  }

  /**
   * Opens a stream to a peer, connecting first if needed. If the peer does not listen on the protocol, the call rejects with a
   * `TomboloError` whose `reason` says why. If the peer refuses later, the stream fails with the same kind of error.
   */
  open(peer: string, protocol: string, options?: OpenOptions): Promise<PeerStream> {
    return this.#program.call(async () => peerStream(await this.#raw.open(peer, protocol, options)), options?.signal)
  }

  /** Listens on a protocol: the handler gets every stream that a peer opens with it. */
  listen(protocol: string, handler: StreamHandler, options?: ListenOptions): Promise<Listener> {
    return this.#program.call(() => this.#raw.listen(protocol, streamHandler(handler), options))
  }

  /**
   * Requests a path of a peer's HTTP service, on a stream of its own. Like the platform's `fetch`, it resolves to a `Response` when the
   * head has arrived, while the body is still on its way. The body of the request may stream, too. `init.signal` cancels the request at the
   * peer. Redirects within the service are followed; one to another host is returned as it is. If no stream can be opened, the call rejects
   * with a `TomboloError` whose `reason` says why. If `fetch` would reject, it rejects with a `TypeError`. A body that is cut short fails,
   * and never looks complete.
   */
  fetch(peer: string, protocol: string, path: string, init?: RequestInit): Promise<Response> {
    const options = { allowCustomProtocol: protocol === KUBO_HTTP }
    return fetchFrom((signal) => this.open(peer, protocol, { ...options, signal }), peer, path, init)
  }

  /**
   * Answers HTTP requests under a protocol, for example `/x/app/http`. Peers can fetch from it, and so can any HTTP client through a native
   * peer's `tombolo forward` or gateway. If the handler fails, the caller gets a 500, and this node dispatches an `error` event.
   * `request.headers` also has the headers that a browser hides in its own Requests, such as cookie and host. A clone has them, too; a
   * `new Request(request)` does not.
   */
  serve(protocol: string, handler: HttpHandler, options?: ListenOptions): Promise<Listener> {
    if (typeof handler !== 'function') {
      return Promise.reject(new TomboloError('option', `handler must be a function, not ${typeof handler}`))
    }
    const tell = (error: unknown) =>
      this.#dispatch('error', { message: `handler of ${protocol}: ${textOf(error)}`, fatal: false })
    return this.listen(protocol, (stream) => serveOn(stream, handler, tell), options)
  }

  /**
   * Returns the services that peers announce to this node: those of one peer, or of all connected peers that answer. If one peer is given
   * and cannot be asked, the call rejects.
   */
  services(peer: string, options?: CallOptions): Promise<Service[]>
  services(options?: CallOptions): Promise<Service[]>
  services(peerOrOptions?: string | CallOptions, options?: CallOptions): Promise<Service[]> {
    const all = peerOrOptions === undefined || (typeof peerOrOptions === 'object' && peerOrOptions !== null)
    const given = all ? (peerOrOptions ?? options) : options
    return this.#program.call(() => this.#raw.services(all ? undefined : peerOrOptions, given), given?.signal)
  }

  /**
   * Subscribes to the messages of a type, broadcast to the mesh or sent to this node, from now on. `room/*` stands for all types that begin
   * with `room/`: it receives what is sent to this node, and the broadcasts of those types to which the node is also subscribed by name.
   */
  async subscribe(type: string, options: SubscribeOptions = {}): Promise<Subscription> {
    const { signal, ...config } = optionsOf(options)
    const raw = await this.#program.call(() => this.#raw.subscribe(type, config))
    return new Subscription(raw, this.#call, signal, config.policy)
  }

  /** Registers the function that decides which broadcasts of a type are delivered and passed on. A node has one per type. */
  validate(type: string, f: (message: Message) => Verdict | Promise<Verdict>): Promise<Registration> {
    return this.#program.call(() => this.#raw.validate(type, f))
  }

  /** Watches which peers are subscribed to a type. The signal ends this. */
  async presence(type: string, options: CallOptions = {}): Promise<Presence> {
    const { signal } = optionsOf(options, 'argument', ['signal'])
    const raw = await this.#program.call(() => this.#raw.presence(type))
    return new Presence(raw, this.#call, signal)
  }

  /** Sends a message to the connected peers that the filter picks. */
  async sendTo(filter: PeerFilter, type: string, bytes: Uint8Array, options?: SendOptions): Promise<SendReport> {
    if (typeof filter !== 'function') {
      return this.#program.call(() => this.#raw.sendTo(filter, type, bytes, options), options?.signal)
    }
    const rest = copied([bytes, options] as const)
    const chosen = (await this.peers()).filter(filter)
    return this.sendAll(
      chosen.map((peer) => peer.id),
      type,
      ...rest,
    )
  }

  /** Registers the function that answers the requests of a type. A node has one per type. */
  respond(type: string, f: Responder): Promise<Registration> {
    return this.#program.call(() => this.#raw.respond(type, f))
  }

  /** Rooms: worlds that many players share, each of whom receives what is near. */
  get world(): Rooms {
    return (this.#rooms ??= new Rooms(
      this.#raw,
      (f, signal) => this.#program.call(f, signal),
      (type, options) => this.subscribe(type, options),
    ))
  }

  /** Closes the node and all its connections. May be called more than once, and after a crash. */
  close(): Promise<void> {
    return (this.#closing ??= underWay(
      this.#program
        .call(() => this.#raw.close())
        .catch((error: unknown) => {
          if (!this.#program.ended.aborted) throw error
        })
        .finally(() => this.#over.abort()),
    ))
  }

  override addEventListener<K extends keyof NodeEvents>(
    type: K,
    listener: NodeEventListener<K> | null,
    options?: boolean | ListenerOptions,
  ): void {
    super.addEventListener(type, listener as EventListenerOrEventListenerObject | null, options)
  }

  override removeEventListener<K extends keyof NodeEvents>(
    type: K,
    listener: NodeEventListener<K> | null,
    options?: boolean | EventListenerOptions,
  ): void {
    super.removeEventListener(type, listener as EventListenerOrEventListenerObject | null, options)
  }

  readonly #call = <T>(f: () => Promise<T>): Promise<T> => this.#program.call(f)

  #dispatch<K extends keyof NodeEvents>(type: K, detail: NodeEvents[K]): void {
    const known = type === 'error' ? { fatal: false, ...detail } : detail
    this.dispatchEvent(new CustomEvent(type, { detail: known }))
  }
}

/**
 * Makes `createNode` for a platform. `files` is where its program is by default, `platform` compiles it, and `workers` makes workers, if
 * the platform can.
 * @internal
 */
export function creator(files: Files, platform: Platform, workers?: Workers) {
  return async function createNode(options: CreateNodeOptions = {}): Promise<TomboloNode> {
    const { signal, ...others } = copied(optionsOf(options, 'option'))
    const begin = () => make(others, files, platform, workers)
    const made = others.identity === 'persistent' ? inTurn(begin, signal) : begin()
    if (!signal) return made
    try {
      return await raceAbort(made, signal)
    } catch (error) {
      if (signal.aborted) made.then((node) => node.close()).catch(() => {})
      throw error
    }
  }
}

/** The calls of `close` that are under way. */
const closing = new Set<Promise<void>>()

function underWay(close: Promise<void>): Promise<void> {
  closing.add(close)
  const over = () => void closing.delete(close)
  close.then(over, over)
  return close
}

/** Resolves when the previous node with a persistent identity has been made and its caller has received it. */
let turn: Promise<unknown> = Promise.resolve()

/**
 * Makes a node with a persistent identity, after earlier calls in this page have made theirs and after nodes that are being closed are
 * closed. So a node that is made, closed and made again, as a framework may do with what a component makes, is the same peer.
 */
function inTurn(begin: () => Promise<TomboloNode>, signal: AbortSignal | undefined): Promise<TomboloNode> {
  const made = turn
    .then(() => Promise.allSettled(closing))
    .then(() => {
      throwIfAborted(signal)
      return begin()
    })
  const seen = () => new Promise((resolve) => setTimeout(resolve))
  turn = made.then(seen, seen)
  return made
}

async function make(
  options: CreateNodeOptions,
  byDefault: Files,
  platform: Platform,
  workers: Workers | undefined,
): Promise<TomboloNode> {
  const { wasm, wasmRest, onProgress, worker = workers === undefined ? 'none' : 'dedicated', ...config } = options
  const files = filesOf(byDefault, wasm, wasmRest)
  const place = await choosePlace(worker, workers, files.program, config)
  if (place === null) {
    const asked = dialAhead(config, askAhead(config.relays))
    const program = await loadProgram(files, platform, onProgress)
    const over = new AbortController()
    return new TomboloNode(await program.createNode(config, over.signal, asked), program, over)
  }
  const shared = place.kind === 'shared' // a shared worker loads the program itself, and may already run, with its relays
  const program = shared
    ? files
    : loadModule(files.program, platform.compile, onProgress).then((program) => ({ ...files, program }))
  const start = shared ? { onProgress: onProgress && apart(onProgress) } : { asked: askAhead(config.relays) }
  const remote = await RemoteNode.start(place, program, config, start)
  const over = new AbortController()
  followPage(remote, over.signal)
  return new TomboloNode(remote, remote, over)
}
