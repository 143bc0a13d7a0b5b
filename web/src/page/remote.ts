/**
 * A node in a worker, on the side of the page. If the worker crashes or stops answering, it is ended and replaced by another one, with the
 * same identity and all registrations.
 */
import { callsOf, type PlainCalls } from '../calls.js'
import { copied } from '../copied.js'
import { RestartError, TomboloError } from '../errors.js'
import type { Files } from '../load.js'
import type { RawPresence, RawSubscription } from '../messages.js'
import type { RawLobby, RoomFilter } from '../world/lobby.js'
import type { RawRoom, RawStandby } from '../world/room.js'
import type { RawSeat } from '../world/seat.js'
import { callWhile, raceAbort, type Carrier, type RawNode } from '../program.js'
import type { CallOptions, HistoryLimits, Listener, ListenOptions, NodeConfig, Registration } from '../types.js'
import { isSignal } from '../values.js'
import type { Born, Start } from '../wire/start.js'
import { Wire } from '../wire/wire.js'
import {
  Lasting,
  type Owner,
  RemoteListener,
  RemoteLobby,
  RemotePresence,
  RemoteRoom,
  RemoteSeat,
  RemoteStandby,
  RemoteSubscription,
} from './lasting.js'
import { Life } from './life.js'
import type { Place } from './places.js'

/** The maximum number of restarts within RESTARTS_MS, in milliseconds. Further restarts would not help. */
const MAX_RESTARTS = 5
const RESTARTS_MS = 30_000
/** The pause before a start that follows one that failed, in milliseconds. */
const START_PAUSE_MS = 3_000
/** How many silent workers a node tries: a shared one may be about to end when it is found. */
const MAX_SILENT = 2

export interface RemoteNode
  extends
    PlainCalls,
    Pick<RawNode, 'open' | 'services' | 'sendTo' | 'rooms' | 'placeRoom' | 'board' | 'addRelays' | 'rest' | 'wake'> {}

export class RemoteNode extends EventTarget implements RawNode, Carrier, Owner {
  readonly #place: Place
  readonly #program: Promise<Files> | Files
  readonly #config: NodeConfig
  readonly #ended = new AbortController()
  readonly #lasting = new Set<Lasting>()
  readonly #histories = new Map<string, HistoryLimits | undefined>()
  #restarts: number[] = []
  #life: Life | undefined
  /** The wire to the worker, or what resolves to it once there is one. */
  #up!: Wire | Promise<Wire>
  #born!: Born
  #closed: Error | undefined

  private constructor(place: Place, program: Promise<Files> | Files, config: NodeConfig) {
    super()
    this.#place = place
    this.#program = program
    this.#config = copied(config)
  }

  /**
   * Starts a node. Its worker starts while the program is still on its way; a shared worker gets the program's address and loads it itself.
   */
  static async start(
    place: Place,
    program: Promise<Files> | Files,
    config: NodeConfig,
    start: Start,
  ): Promise<RemoteNode> {
    if (program instanceof Promise) program.catch(() => {}) // it is awaited below, if there is a worker
    const node = new RemoteNode(place, program, config)
    for (let silent = 0; ;) {
      const life = await node.#begin()
      try {
        node.#born = await life.start(await program, node.#config, start)
        node.#up = life.wire
        return node
      } catch (error) {
        node.#life = undefined
        life.end(error as Error)
        if (place.kind !== 'shared' || !life.silent || ++silent === MAX_SILENT) throw error
      }
    }
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

  get worker(): Place['kind'] {
    return this.#place.kind
  }

  /** Aborted when the node has been restarted too often. */
  get ended(): AbortSignal {
    return this.#ended.signal
  }

  call<T>(f: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return callWhile(this.ended, f, signal)
  }

  /**
   * Calls `f` with the wire and the arguments. A caller may reuse its arguments at once. So if there is no wire yet, `f` gets a copy of
   * them later, unless their signal has aborted. If there is one, `f` is called before this returns, and the wire copies them.
   */
  async reach<T>(args: unknown[], f: (wire: Wire, args: unknown[]) => Promise<T>): Promise<T> {
    if (this.#up instanceof Wire) return f(this.#up, args)
    const copies = copied(args)
    const signal = copies.map((arg) => (arg as CallOptions | null | undefined)?.signal).find(isSignal)
    return f(await (signal === undefined ? this.wire() : raceAbort(this.wire(), signal)), copies)
  }

  /** Resolves to the wire to the worker, once there is one. */
  async wire(): Promise<Wire> {
    for (;;) {
      const up = this.#up
      try {
        return await up
      } catch (error) {
        if (up === this.#up) throw error // else there is a new attempt
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

  async hostRoom(name: string, step: unknown, options: object): Promise<RawRoom> {
    return this.#register(new RemoteRoom(this, 'hostRoom', [name, step, options]))
  }

  async standByRoom(name: string, step: unknown, options: object): Promise<RawStandby> {
    return this.#register(new RemoteStandby(this, 'standByRoom', [name, step, options]))
  }

  async joinRoom(name: string, options: object): Promise<RawSeat> {
    return this.#register(new RemoteSeat(this, 'joinRoom', [name, options]))
  }

  async watchRooms(filter: RoomFilter): Promise<RawLobby> {
    return this.#register(new RemoteLobby(this, 'watchRooms', [filter]))
  }

  async keepHistory(type: string, limits?: HistoryLimits): Promise<void> {
    const kept = copied(limits)
    await this.reach([type, kept], (wire, args) => wire.call(0, 'keepHistory', args))
    this.#histories.set(type, kept)
  }

  async close(): Promise<void> {
    const life = this.#life
    const closed = (this.#closed = new TomboloError('closed', 'the node is closed'))
    this.#await(Promise.reject(closed))
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

  /** Whether the node was closed, which ends all iterations. */
  get closed(): boolean {
    return this.#closed !== undefined
  }

  async #register<T extends Lasting>(lasting: T): Promise<T> {
    await this.reach(lasting.args, (wire) => lasting.register(wire))
    this.#lasting.add(lasting)
    return lasting
  }

  forget(lasting: Lasting): void {
    this.#lasting.delete(lasting)
  }

  async #begin(): Promise<Life> {
    const life = new Life(await this.#place.hire(), {
      event: (type, detail) => this.#dispatch(type, detail),
      died: (life, why) => this.#died(life, why),
    })
    return (this.#life = life)
  }

  #dispatch(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }))
  }

  /** Called when a life has ended or could not begin. */
  #died(life: Life | undefined, why: TomboloError): void {
    if (life !== this.#life) return
    this.#life = undefined
    if (this.#born === undefined) return life?.end(why) // createNode rejects
    if (this.#closed !== undefined) return life?.end(this.#closed)
    for (const lasting of this.#lasting) lasting.id = undefined
    const now = performance.now()
    this.#restarts = this.#restarts.filter((at) => now - at < RESTARTS_MS)
    if (this.#restarts.length >= MAX_RESTARTS) {
      const often = `it was restarted ${MAX_RESTARTS} times in ${RESTARTS_MS / 1000} s, and is not again`
      return this.#stop(life, `${why.message}; ${often}`)
    }
    this.#restarts.push(now)
    this.#await(this.#restart(why.message, life?.up ? 0 : START_PAUSE_MS))
    life?.end(new RestartError(`the node is restarted: ${why.message}`))
  }

  #await(up: Promise<Wire>): void {
    this.#up = up
    up.then(
      (wire) => {
        if (this.#up === up) this.#up = wire
      },
      () => {},
    )
  }

  /** Ends the node for good. */
  #stop(life: Life | undefined, why: string): void {
    const fatal = new TomboloError('crashed', why)
    this.#life = undefined
    this.#await(Promise.reject(fatal))
    this.#ended.abort(fatal)
    life?.end(fatal)
  }

  async #restart(reason: string, pause: number): Promise<Wire> {
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause))
    let life: Life | undefined
    try {
      if (this.#closed !== undefined) throw this.#closed
      life = await this.#begin()
      if (this.#closed !== undefined) throw this.#closed
      await this.#revive(life)
    } catch (error) {
      this.#died(life, new TomboloError('crashed', `it did not start: ${(error as Error).message}`))
      throw error
    }
    this.#dispatch('restart', { reason })
    return life.wire
  }

  /** Gives a new life the identity and the registrations of the previous one. */
  async #revive(life: Life): Promise<void> {
    const { id, key, lock } = this.#born
    const config = key === undefined ? this.#config : { ...this.#config, identity: key }
    const born = await life.start(await this.#program, config, { lock })
    if (born.id !== id) {
      const why = `its identity is taken: it would be ${born.id}, and no longer ${id}`
      // Other tabs have made a node in the meantime. Trying again would only take it away from them.
      if (this.#place.kind === 'shared') this.#stop(life, why)
      throw new Error(why)
    }
    for (const [type, limits] of this.#histories) await life.wire.call(0, 'keepHistory', [type, limits])
    for (const lasting of this.#lasting) await this.#renew(lasting, life.wire)
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

for (const name of [...callsOf('plain', 'shaped'), 'addRelays', 'rest', 'wake'] as const) {
  if (name in RemoteNode.prototype) continue // it has its own
  Object.defineProperty(RemoteNode.prototype, name, {
    value: function (this: RemoteNode, ...args: unknown[]) {
      return this.reach(args, (wire, args) => wire.call(0, name, args))
    },
  })
}
