/**
 * A node in a worker, as its page has it. When the worker crashes, or answers no more, it is ended, and another takes its place: with the
 * same identity, and all that was registered.
 */
import { receiveStream, type CrossedStream, type ReceivedStream } from './crossing.js'
import { RestartError, TomboloError } from './errors.js'
import type { RawPresence, RawSubscription } from './messages.js'
import { callWhile, raceAbort, type Carrier, type RawNode } from './program.js'
import { Wire, type SentError } from './rpc.js'
import type {
  HistoryLimits,
  Listener,
  ListenerLimits,
  ListenOptions,
  NodeConfig,
  PresenceChange,
  Registration,
} from './types.js'
import type { Born } from './worker.js'

/** How often a worker is asked whether it is there, in milliseconds. */
const BEAT_MS = 1_000
/** How many times it may fail to answer. They are counted, and no clock is read: a page that slept, or was throttled, did not ask. */
const MAX_UNANSWERED = 5
/** More restarts than these within that time, in milliseconds, are no use. */
const MAX_RESTARTS = 5
const RESTARTS_MS = 30_000
/** The pause before a start that follows one that failed, in milliseconds. */
const START_PAUSE_MS = 3_000
/** How long the identity of a worker that was ended may take to be free, in milliseconds. */
const LOCK_MS = 5_000

export type Spawn = () => Worker

/** The calls that go to the program as they are. */
const CALLS = [
  'addrs',
  'peers',
  'relays',
  'connect',
  'disconnect',
  'ping',
  'echo',
  'open',
  'listeners',
  'services',
  'streams',
  'closeStream',
  'broadcast',
  'recover',
  'send',
  'sendAll',
  'sendTo',
  'request',
  'stats',
  'rest',
  'wake',
] as const satisfies (keyof RawNode)[]

export interface RemoteNode extends Pick<RawNode, (typeof CALLS)[number]> {}

export class RemoteNode extends EventTarget implements RawNode, Carrier {
  readonly #spawn: Spawn
  readonly #module: WebAssembly.Module
  readonly #config: NodeConfig
  readonly #ended = new AbortController()
  readonly #lasting = new Set<Lasting>()
  readonly #histories = new Map<string, HistoryLimits | undefined>()
  #restarts: number[] = []
  #life: Life | undefined
  #up!: Promise<Wire>
  #born!: Born
  #closed: Error | undefined

  private constructor(spawn: Spawn, module: WebAssembly.Module, config: NodeConfig) {
    super()
    this.#spawn = spawn
    this.#module = module
    this.#config = config
  }

  static async start(spawn: Spawn, module: WebAssembly.Module, config: NodeConfig): Promise<RemoteNode> {
    const node = new RemoteNode(spawn, module, config)
    const life = node.#begin()
    try {
      node.#born = await life.start(module, config)
    } catch (error) {
      node.#life = undefined
      life.end(error as Error)
      throw error
    }
    node.#up = Promise.resolve(life.wire)
    return node
  }

  get id(): string {
    return this.#born.id
  }

  get network(): string {
    return this.#born.network
  }

  get version(): string {
    return this.#born.version
  }

  /** Aborted when the node has been restarted too often. */
  get ended(): AbortSignal {
    return this.#ended.signal
  }

  async call<T>(f: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#life?.up !== true && signal instanceof AbortSignal) await raceAbort(this.wire(), signal)
    return callWhile(this.ended, f, signal)
  }

  /** What leads to the worker, once there is one. */
  async wire(): Promise<Wire> {
    for (;;) {
      const up = this.#up
      try {
        return await up
      } catch (error) {
        if (up === this.#up) throw error // else it is being tried again
      }
    }
  }

  async listen(protocol: string, handler: unknown, options?: ListenOptions): Promise<Listener> {
    return this.#register(new RemoteListener(this, 'listen', [protocol, handler, options]))
  }

  async validate(type: string, f: unknown): Promise<Registration> {
    return this.#register(new Lasting(this, 'validate', [type, f]))
  }

  async respond(type: string, f: unknown): Promise<Registration> {
    return this.#register(new Lasting(this, 'respond', [type, f]))
  }

  async subscribe(type: string, options?: object): Promise<RawSubscription> {
    return this.#register(new RemoteSubscription(this, 'subscribe', [type, options]))
  }

  async presence(type: string): Promise<RawPresence> {
    return this.#register(new RemotePresence(this, 'presence', [type]))
  }

  async keepHistory(type: string, limits?: HistoryLimits): Promise<void> {
    await (await this.wire()).call(0, 'keepHistory', [type, limits])
    this.#histories.set(type, limits)
  }

  async close(): Promise<void> {
    const life = this.#life
    const closed = (this.#closed = new Error('node is closed'))
    this.#up = Promise.reject(closed)
    this.#up.catch(() => {})
    try {
      if (!life?.up) return
      await life.wire.call(0, 'close', [])
      await Promise.all([...this.#lasting].map((lasting) => lasting.drain(life.wire)))
    } catch (error) {
      if (error !== closed) throw error
    } finally {
      this.#life?.end(closed)
      this.#life = undefined
    }
  }

  /** Whether the node was closed, so that what is read comes to its end. */
  get closed(): boolean {
    return this.#closed !== undefined
  }

  async #register<T extends Lasting>(lasting: T): Promise<T> {
    await lasting.register(await this.wire())
    this.#lasting.add(lasting)
    return lasting
  }

  forget(lasting: Lasting): void {
    this.#lasting.delete(lasting)
  }

  #begin(): Life {
    const life: Life = new Life(
      this.#spawn,
      (type, detail) => this.#dispatch(type, detail),
      (why) => this.#died(life, why),
    )
    return (this.#life = life)
  }

  #dispatch(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }))
  }

  #died(life: Life, why: TomboloError): void {
    if (life !== this.#life) return
    this.#life = undefined
    if (this.#born === undefined) return life.end(why) // createNode rejects
    if (this.#closed !== undefined) return life.end(this.#closed)
    for (const lasting of this.#lasting) lasting.id = undefined
    const now = performance.now()
    this.#restarts = this.#restarts.filter((at) => now - at < RESTARTS_MS)
    if (this.#restarts.length >= MAX_RESTARTS) {
      const often = `it was restarted ${MAX_RESTARTS} times in ${RESTARTS_MS / 1000} s, and is not again`
      const fatal = new TomboloError('crashed', `${why.message}; ${often}`)
      this.#up = Promise.reject(fatal)
      this.#up.catch(() => {})
      this.#ended.abort(fatal)
      return life.end(fatal)
    }
    this.#restarts.push(now)
    this.#up = this.#restart(why.message, life.up ? 0 : START_PAUSE_MS)
    this.#up.catch(() => {})
    life.end(new RestartError(`the node is restarted: ${why.message}`))
  }

  async #restart(reason: string, pause: number): Promise<Wire> {
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause))
    const { id, key, lock } = this.#born
    if (lock !== undefined) await released(lock)
    if (this.#closed !== undefined) throw this.#closed
    const life = this.#begin()
    try {
      const born = await life.start(this.#module, key === undefined ? this.#config : { ...this.#config, identity: key })
      if (born.id !== id) throw new Error(`its identity is taken: it would be ${born.id}, and no longer ${id}`)
      for (const [type, limits] of this.#histories) await life.wire.call(0, 'keepHistory', [type, limits])
      for (const lasting of this.#lasting) await this.#renew(lasting, life.wire)
    } catch (error) {
      this.#died(life, new TomboloError('crashed', `it did not start: ${(error as Error).message}`))
      throw error
    }
    this.#dispatch('restart', { reason })
    return life.wire
  }

  async #renew(lasting: Lasting, wire: Wire): Promise<void> {
    try {
      await lasting.register(wire)
    } catch (error) {
      if (error instanceof RestartError) throw error
      lasting.failed = error as Error
      const what = `${lasting.method} ${JSON.stringify(lasting.args[0])}`
      this.#dispatch('error', { message: `${what} was not renewed after a restart: ${lasting.failed.message}` })
    }
  }
}

for (const method of CALLS) {
  Object.defineProperty(RemoteNode.prototype, method, {
    value: async function (this: RemoteNode, ...args: unknown[]) {
      return (await this.wire()).call(0, method, args)
    },
  })
}

/** One worker, from its start to its end. */
class Life {
  readonly wire: Wire
  /** Whether the node in it has started. */
  up = false
  readonly #worker: Worker
  readonly #streams = new Map<number, ReceivedStream>()
  readonly #died: (why: TomboloError) => void
  #beats: ReturnType<typeof setInterval> | undefined
  #unanswered = 0

  constructor(spawn: Spawn, event: (type: string, detail: unknown) => void, died: (why: TomboloError) => void) {
    this.#died = died
    const worker = (this.#worker = spawn())
    this.wire = new Wire(worker, {
      givesBytes: false,
      answer: () => {
        throw new Error('a page answers no calls')
      },
      told: (what, detail) => {
        if (what === 'event') {
          const { type, detail: inner } = detail as { type: string; detail: unknown }
          event(type, inner)
        } else if (what === 'written') {
          const { id, error } = detail as { id: number; error: SentError | null }
          this.#streams.get(id)?.written(error)
        } else if (what === 'ended') died(new TomboloError('crashed', String(detail)))
      },
      receiveStream: (crossed) => this.#receive(crossed),
    })
    worker.onmessage = ({ data }: MessageEvent<Parameters<Wire['receive']>[0]>) => {
      this.#unanswered = 0
      this.wire.receive(data)
    }
    worker.onerror = (event) => {
      event.preventDefault()
      const why = event.message
        ? new TomboloError('crashed', `the worker of the node failed: ${event.message}`)
        : new TomboloError('worker-unreachable', 'the worker of the node could not be loaded: is worker.js served?')
      died(why)
    }
  }

  async start(module: WebAssembly.Module, config: NodeConfig): Promise<Born> {
    const born = (await this.wire.call(0, 'start', [module, config])) as Born
    this.up = true
    this.#beats = setInterval(() => this.#beat(), BEAT_MS)
    return born
  }

  end(error: Error): void {
    clearInterval(this.#beats)
    this.#worker.onmessage = this.#worker.onerror = null
    this.#worker.terminate()
    this.wire.end(error)
    for (const stream of [...this.#streams.values()]) stream.fail(error)
  }

  #beat(): void {
    if (this.#unanswered >= MAX_UNANSWERED) {
      this.#died(new TomboloError('crashed', `the worker of the node did not answer ${MAX_UNANSWERED} heartbeats`))
      return
    }
    this.#unanswered++
    this.wire.tell('beat')
  }

  #receive(crossed: CrossedStream) {
    const { id } = crossed
    const reset = () => this.wire.tell('reset', id)
    const received = receiveStream(crossed, reset, () => this.#streams.delete(id))
    this.#streams.set(id, received)
    return { native: false as const, ...received.stream }
  }
}

/** Waits until nobody holds a lock any more; not for ever, since it is not the only way to find that out. */
async function released(lock: string): Promise<void> {
  await navigator.locks.request(lock, { signal: AbortSignal.timeout(LOCK_MS) }, () => {}).catch(() => {})
}

/** What stays registered over restarts. */
class Lasting implements Registration {
  /** The number of the object in the worker of now. */
  id: number | undefined
  /** Why it could not be registered again. */
  failed: Error | undefined
  protected over = false
  protected dropped_ = 0

  constructor(
    protected readonly node: RemoteNode,
    readonly method: string,
    readonly args: unknown[],
  ) {}

  async register(wire: Wire): Promise<void> {
    if (this.over) return this.node.forget(this)
    try {
      this.id = (await wire.call(0, this.method, this.args)) as number
    } catch (error) {
      wire.forget(this.args[1])
      throw error
    }
  }

  async close(): Promise<void> {
    if (this.over) return
    this.over = true
    await this.end()
    this.node.forget(this)
  }

  /** Brings what is left when the node is closed, and its worker about to be ended. */
  drain(_wire: Wire): Promise<void> {
    return Promise.resolve()
  }

  protected async end(): Promise<void> {
    try {
      const wire = await this.node.wire()
      if (this.id === undefined) return
      const dropped = (await wire.call(this.id, 'end', [])) as number | undefined
      this.dropped_ = dropped ?? 0
      wire.forget(this.args[1])
    } catch (error) {
      if (!(error instanceof RestartError || this.node.closed)) throw error
    }
    this.id = undefined
  }

  protected async ask(method: string, args: unknown[]): Promise<unknown> {
    const wire = await this.node.wire()
    if (this.id === undefined) throw this.failed ?? new Error(`the ${this.method} is closed`)
    return wire.call(this.id, method, args)
  }
}

class RemoteListener extends Lasting implements Listener {
  get protocol(): string {
    return this.args[0] as string
  }

  async update(changes: ListenerLimits): Promise<void> {
    if (!((this as unknown) instanceof RemoteListener)) throw new TypeError('update was not called on a listener')
    if (this.over || this.node.closed) throw this.failed ?? new Error('the listener is closed')
    await this.ask('update', [changes])
    this.args[2] = { ...(this.args[2] as ListenOptions | undefined), ...changes }
  }
}

/** What is read to its end: reading goes on over a restart. */
abstract class RemoteIteration<Batch> extends Lasting {
  readonly #left: Batch[] = []
  #ended = false

  get type(): string {
    return this.args[0] as string
  }

  async next(): Promise<Batch | null> {
    for (;;) {
      const left = this.#left.shift()
      if (left !== undefined) return left
      if (this.#ended || this.over || (this.node.closed && !this.node.ended.aborted && this.id === undefined))
        return null
      if (this.failed !== undefined) throw this.failed
      try {
        const batch = (await this.ask('next', [])) as Batch | null
        if (batch !== null) return this.seen(batch)
        this.#ended = true
        this.over = true
        await this.end()
        this.node.forget(this)
      } catch (error) {
        if (this.node.closed) this.#ended = true
        else if (!(error instanceof RestartError)) throw error
      }
    }
  }

  override async drain(wire: Wire): Promise<void> {
    try {
      while (this.id !== undefined && !this.#ended) {
        const batch = (await wire.call(this.id, 'next', [])) as Batch | null
        if (batch === null) this.#ended = true
        else this.#left.push(batch)
      }
      if (this.id !== undefined) this.dropped_ = ((await wire.call(this.id, 'end', [])) as number | undefined) ?? 0
    } catch {
      // It ended with an error, or the worker did: there is no more.
    }
    this.id = undefined
  }

  protected seen(batch: Batch): Batch {
    return batch
  }

  protected leave(batch: Batch): void {
    this.#left.push(batch)
  }
}

class RemoteSubscription extends RemoteIteration<Uint8Array> implements RawSubscription {
  async dropped(): Promise<number> {
    return this.over || this.node.closed || this.id === undefined
      ? this.dropped_
      : ((await this.ask('dropped', [])) as number)
  }
}

class RemotePresence extends RemoteIteration<PresenceChange[]> implements RawPresence {
  readonly #present = new Set<string>()

  async now(): Promise<string[]> {
    return this.over || this.node.closed ? [] : ((await this.ask('now', [])) as string[])
  }

  /** The program that knew who was there is gone; the next one finds them anew. */
  override async register(wire: Wire): Promise<void> {
    await super.register(wire)
    if (this.#present.size > 0) this.leave([...this.#present].map((peer) => ({ peer, joined: false })))
    this.#present.clear()
  }

  protected override seen(changes: PresenceChange[]): PresenceChange[] {
    for (const { peer, joined } of changes) this.#present[joined ? 'add' : 'delete'](peer)
    return changes
  }
}
