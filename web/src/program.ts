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
  /** Ends all connections, and makes none until it is woken. In a page the program sees to both itself: see `page/lifecycle.ts`. */
  rest(): Promise<void>
  /** Ends a rest, and has every peer give a sign of life. */
  wake(): Promise<void>
  close(): Promise<void>
}

/** After how long the rest of the program is fetched by a node that has no place on a relay, in milliseconds. */
const AHEAD_MS = 3_000

/** The one global that the program sets. */
interface ProgramGlobal {
  readonly version: string
  createNode(config: NodeConfig, asked?: Asked): Promise<RawNode>
  /** Set here: makes the errors of the program. The reason is that of a stream, or empty. */
  makeError?: (code: TomboloErrorCode, message: string, reason: StreamReason) => Error
}

/** What carries the calls on a node: the program itself, or a worker that runs it. */
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
  /** Those that are there or being made. Without any, nothing of the program keeps a process from ending. */
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

  /** Makes a node. `over` is aborted when it has been closed; `asked` knows what relays have answered. */
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

  /** The rest of the program comes once the node has a place on a relay, which is what people wait for, or after a while. */
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
 * Calls into a program, and waits for what it promises no longer than the program lives. The signal is one that the program was given:
 * a call that fails after it was aborted rejects with its reason, which the program does not know.
 */
export async function callWhile<T>(ended: AbortSignal, f: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  ended.throwIfAborted()
  try {
    return await raceAbort(Promise.resolve(f()), ended)
  } catch (error) {
    if (!ended.aborted && signal?.aborted) throw signal.reason
    throw error
  }
}

/** Like the promise, except that it rejects with the signal's reason if that comes first. */
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
