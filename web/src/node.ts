import { dialAhead } from './ahead.js'
import { askAhead } from './ask.js'
import { callsOf, optionsAt, type PlainCalls } from './calls.js'
import { TomboloError } from './errors.js'
import { fetchFrom } from './http/client.js'
import { serveOn, type HttpHandler } from './http/server.js'
import { type Files, filesOf, loadModule, loadProgram, type Platform } from './load.js'
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

/** The one name that Kubo's gateway has for HTTP outside of `/x/`. */
const KUBO_HTTP = '/http'

const EVENTS = [...NODE_EVENTS, 'restart'] as const

export interface TomboloNode extends PlainCalls {}

/** A libp2p peer. Made by `createNode`. After its program has crashed, every call rejects with the `crashed` error. */
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
   * What is aborted when the node is closed is `over`.
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

  /** Where the node runs: for a platform that has no shared worker, `shared` is `dedicated`. */
  get worker(): 'none' | 'dedicated' | 'shared' {
    return this.#program.worker
  }

  /**
   * Opens a stream to a peer, connecting first where needed. Rejects with a `TomboloError` whose `reason` says why, where the peer does
   * not listen on the protocol. A refusal that the peer thinks over first fails the stream in the same way.
   */
  open(peer: string, protocol: string, options?: OpenOptions): Promise<PeerStream> {
    return this.#program.call(async () => peerStream(await this.#raw.open(peer, protocol, options)), options?.signal)
  }

  /** Answers a protocol: the handler gets every stream that a peer opens with it. */
  listen(protocol: string, handler: StreamHandler, options?: ListenOptions): Promise<Listener> {
    return this.#program.call(() => this.#raw.listen(protocol, streamHandler(handler), options))
  }

  /**
   * Requests a path of a peer's HTTP service, on a stream of its own. Resolves to a `Response` as the platform's `fetch` does: with the head,
   * while the body is still on its way. A body of the request may stream, too. `init.signal` ends it at the peer. Redirects within the
   * service are followed; one to another host is handed out. Rejects with a `TomboloError` whose `reason` says why there is no stream, and
   * with a `TypeError` where `fetch` would. A body that is cut short fails, and never looks complete.
   */
  fetch(peer: string, protocol: string, path: string, init?: RequestInit): Promise<Response> {
    const options = { allowCustomProtocol: protocol === KUBO_HTTP }
    return fetchFrom((signal) => this.open(peer, protocol, { ...options, signal }), peer, path, init)
  }

  /**
   * Answers HTTP under a protocol, for example `/x/app/http`: peers fetch from it, and through a native peer's `tombolo forward` or gateway any HTTP
   * client does. A handler that fails is a 500 to the caller, and an `error` event here. `request.headers` has what a browser keeps out of its
   * own Requests, too, such as cookie and host; so have clones, but no `new Request(request)`.
   */
  serve(protocol: string, handler: HttpHandler, options?: ListenOptions): Promise<Listener> {
    if (typeof handler !== 'function') {
      return Promise.reject(new TomboloError('option', `handler must be a function, not ${typeof handler}`))
    }
    const tell = (error: unknown) =>
      this.#dispatch('error', { message: `handler of ${protocol}: ${String(error)}`, fatal: false })
    return this.listen(protocol, (stream) => serveOn(stream, handler, tell), options)
  }

  /**
   * What peers announce to this node. Of one peer; it is an error if that cannot be asked. Or of all that are connected, except those that
   * do not answer.
   */
  services(peer: string, options?: CallOptions): Promise<Service[]>
  services(options?: CallOptions): Promise<Service[]>
  services(peerOrOptions?: string | CallOptions, options?: CallOptions): Promise<Service[]> {
    const all = peerOrOptions === undefined || (typeof peerOrOptions === 'object' && peerOrOptions !== null)
    const given = all ? (peerOrOptions ?? options) : options
    return this.#program.call(() => this.#raw.services(all ? undefined : peerOrOptions, given), given?.signal)
  }

  /**
   * Hears the messages of a type, broadcast to the mesh or sent to this node, from now on. `room/*` stands for all types that begin with
   * `room/`, as they are sent to this node; of broadcasts, it hears those of the types that are subscribed to by their names.
   */
  async subscribe(type: string, options: SubscribeOptions = {}): Promise<Subscription> {
    const { signal, ...config } = options
    signal?.throwIfAborted()
    const raw = await this.#program.call(() => this.#raw.subscribe(type, config))
    return new Subscription(raw, this.#call, signal, config.policy)
  }

  /** Decides which broadcasts of a type are delivered and passed on. There is one function a type. */
  validate(type: string, f: (message: Message) => Verdict | Promise<Verdict>): Promise<Registration> {
    return this.#program.call(() => this.#raw.validate(type, f))
  }

  /** Watches who is subscribed to a type. The signal closes it. */
  async presence(type: string, options: CallOptions = {}): Promise<Presence> {
    options.signal?.throwIfAborted()
    const raw = await this.#program.call(() => this.#raw.presence(type))
    return new Presence(raw, this.#call, options.signal)
  }

  /** Sends a message to those of the connected peers that the filter picks. */
  async sendTo(filter: PeerFilter, type: string, bytes: Uint8Array, options?: SendOptions): Promise<SendReport> {
    if (typeof filter !== 'function') {
      return this.#program.call(() => this.#raw.sendTo(filter, type, bytes, options), options?.signal)
    }
    const chosen = (await this.peers()).filter(filter)
    return this.sendAll(
      chosen.map((peer) => peer.id),
      type,
      bytes,
      options,
    )
  }

  /** Answers the requests of a type. There is one function a type. */
  respond(type: string, f: Responder): Promise<Registration> {
    return this.#program.call(() => this.#raw.respond(type, f))
  }

  /** Rooms: worlds in which many play at once, each told what is near. */
  get world(): Rooms {
    return (this.#rooms ??= new Rooms(
      this.#raw,
      (f, signal) => this.#program.call(f, signal),
      (type, options) => this.subscribe(type, options),
    ))
  }

  /** Ends all connections. May be called more than once. A program that crashed has none. */
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
 * Makes `createNode` for a platform: where its program is by default, how it compiles it, and how it makes workers, if it can.
 * @internal
 */
export function creator(files: Files, platform: Platform, workers?: Workers) {
  return async function createNode(options: CreateNodeOptions = {}): Promise<TomboloNode> {
    const { signal, ...others } = options
    signal?.throwIfAborted()
    const begin = () => make(others, files, platform, workers)
    const made = others.identity === 'persistent' ? inTurn(begin, signal) : begin()
    if (signal === undefined) return made
    try {
      return await raceAbort(made, signal)
    } catch (error) {
      if (signal.aborted) made.then((node) => node.close()).catch(() => {})
      throw error
    }
  }
}

/** The closes of nodes that are under way. */
const closing = new Set<Promise<void>>()

function underWay(close: Promise<void>): Promise<void> {
  closing.add(close)
  const over = () => void closing.delete(close)
  close.then(over, over)
  return close
}

/** Resolves when the node before that has a persistent identity has been made, and whoever asked for it has seen it. */
let turn: Promise<unknown> = Promise.resolve()

/**
 * Makes a node with a persistent identity, after those before it in this page, and once those that are being closed are: so that a node that is
 * made, undone and made again, as a framework may do with all that a component makes, is the same peer.
 */
function inTurn(begin: () => Promise<TomboloNode>, signal: AbortSignal | undefined): Promise<TomboloNode> {
  const made = turn
    .then(() => Promise.allSettled(closing))
    .then(() => {
      signal?.throwIfAborted()
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
  const shared = place.kind === 'shared' // which may be there, with its relays, and loads the program itself
  const program = shared
    ? files
    : loadModule(files.program, platform.compile, onProgress).then((program) => ({ ...files, program }))
  const start = shared ? { onProgress } : { asked: askAhead(config.relays) }
  const remote = await RemoteNode.start(place, program, config, start)
  const over = new AbortController()
  followPage(remote, over.signal)
  return new TomboloNode(remote, remote, over)
}
