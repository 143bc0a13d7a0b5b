import type { Asked } from './ask.js'
import type { PlainCalls } from './calls.js'
import { TomboloError, type TomboloErrorCode } from './errors.js'
import { startGo, type Started } from './go.js'
import type { RawPresence, RawSubscription } from './messages.js'
import type { RestFile } from './rest.js'
import type { RawStream } from './stream.js'
import type { RawRooms } from './world/room.js'
import type {
  CallOptions,
  Listener,
  ListenOptions,
  Message,
  NamedPeerFilter,
  NodeConfig,
  NodeEvents,
  OpenOptions,
  Registration,
  Responder,
  SendOptions,
  SendReport,
  Service,
  StreamReason,
  SubscribeOptions,
  Verdict,
} from './types.js'
import { throwIfAborted } from './values.js'

/** The events of a node that the program dispatches. */
export const NODE_EVENTS = [
  'peer:connect',
  'peer:disconnect',
  'peer:direct',
  'peer:relayed',
  'relay:reserved',
  'relay:lost',
  'relay:failed',
  'echo',
  'log',
  'room:moved',
  'error',
] as const satisfies (keyof NodeEvents)[]

/** A node as the WebAssembly program hands it out. */
export interface RawNode extends EventTarget, PlainCalls, RawRooms {
  readonly id: string
  readonly network: string
  /** The name of the Web Lock that holds a persistent identity. */
  readonly lock?: string
  open(peer: string, protocol: string, options?: OpenOptions): Promise<RawStream>
  listen(
    protocol: string,
    handler: (stream: RawStream) => void | Promise<void>,
    options?: ListenOptions,
  ): Promise<Listener>
  services(peer?: string, options?: CallOptions): Promise<Service[]>
  subscribe(type: string, options?: Omit<SubscribeOptions, 'signal'>): Promise<RawSubscription>
  validate(type: string, f: (message: Message) => Verdict | Promise<Verdict>): Promise<Registration>
  presence(type: string): Promise<RawPresence>
  sendTo(filter: NamedPeerFilter, type: string, bytes: Uint8Array, options?: SendOptions): Promise<SendReport>
  respond(type: string, f: Responder): Promise<Registration>
  /** Holds reservations on these relays, too. They are named as in the options. */
  addRelays(relays: string[]): Promise<void>
  /** The node's private key, in libp2p's protobuf encoding. */
  privateKey?(): Promise<Uint8Array>
  /**
   * Suspends the node: closes all connections, and makes none before `wake`. In a page, the program does both itself: see
   * `page/lifecycle.ts`.
   */
  rest(): Promise<void>
  /** Resumes a suspended node, and pings every peer. */
  wake(): Promise<void>
  close(): Promise<void>
}

/** After how long a node without a reservation fetches the rest of the program, in milliseconds. */
const AHEAD_MS = 3_000

/** The one global that the program sets. */
interface ProgramGlobal {
  readonly version: string
  createNode(config: NodeConfig, asked?: Asked): Promise<RawNode>
  /** Makes the errors of the program. It is set here. `reason` is that of a stream or a seat, or empty. */
  makeError?: (code: TomboloErrorCode, message: string, reason: StreamReason) => Error
}

/** Carries the calls of a node: the program itself, or a worker that runs it. */
export interface Carrier {
  readonly worker: 'none' | 'dedicated' | 'shared'
  /** The version of the program. */
  readonly version: string
  /** Aborted, with a `crashed` error as its reason, when the program has ended for good. */
  readonly ended: AbortSignal
  /** Makes a call: see `callWhile`. */
  call<T>(f: () => Promise<T>, signal?: AbortSignal): Promise<T>
}

/** A started program. It can hold any number of nodes. */
export class Program implements Carrier {
  readonly worker = 'none'
  readonly #api: ProgramGlobal
  readonly #go: Started
  /** The number of nodes that exist or are being made. With none, the program does not keep a process from ending. */
  #nodes = 0

  private constructor(
    go: Started,
    /** Aborted, with a `crashed` error as its reason, when the program ends. It does not end by itself. */
    readonly ended: AbortSignal,
  ) {
    this.#go = go
    this.#api = go.value as ProgramGlobal
    this.#api.makeError = (code, message, reason) => new TomboloError(code, message, reason === '' ? {} : { reason })
  }

  static async start(module: WebAssembly.Module, rest?: RestFile): Promise<Program> {
    const ended = new AbortController()
    return new Program(await startGo(module, 'tombolo', (why) => ended.abort(why), rest), ended.signal)
  }

  get version(): string {
    return this.#api.version
  }

  /** Makes a node. `over` must be aborted when the node has been closed. `asked` has the answers of relays. */
  async createNode(config: NodeConfig, over?: AbortSignal, asked?: Asked): Promise<RawNode> {
    this.#count(1)
    try {
      const node = await this.call(() => this.#api.createNode(config, asked))
      over?.addEventListener('abort', () => this.#count(-1), { once: true })
      this.#fetchRest(node)
      return node
    } catch (error) {
      this.#count(-1)
      throw error
    }
  }

  /** Fetches the rest of the program once the node has a reservation, which is what people wait for, or after a while. */
  #fetchRest(node: RawNode): void {
    const { rest } = this.#go
    node.addEventListener('relay:reserved', () => rest.ahead(), { once: true })
    const timer: number | NodeJS.Timeout = setTimeout(() => rest.ahead(), AHEAD_MS)
    if (typeof timer === 'object') timer.unref()
  }

  #count(change: 1 | -1): void {
    this.#nodes += change
    this.#go.keepAlive(this.#nodes > 0)
  }

  call<T>(f: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return callWhile(this.ended, f, signal)
  }
}

/**
 * Calls into a program, and waits for the result no longer than the program runs. `signal` is the one that the program was given: if the
 * call fails after it was aborted, it rejects with the signal's reason, which the program does not know. If it was aborted before, the
 * call is not made: the program does not look at the signal if it can answer at once.
 */
export async function callWhile<T>(ended: AbortSignal, f: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  ended.throwIfAborted()
  throwIfAborted(signal)
  try {
    return await raceAbort(Promise.resolve(f()), ended)
  } catch (error) {
    if (!ended.aborted && signal?.aborted) throw signal.reason
    throw error
  }
}

/** Settles like the promise, or rejects with the signal's reason if the signal aborts first. */
export function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/** Calls a method by its name. */
export function invoke(object: unknown, method: string, args: unknown[]): unknown {
  const f = (object as Record<string, unknown> | undefined)?.[method]
  if (typeof f !== 'function') throw new TypeError(`there is no ${method} to call`)
  return f.apply(object, args) as unknown
}
