/** The objects that a page has registered with a node in a worker. They stay registered over restarts. */
import { copied } from '../copied.js'
import { RestartError, TomboloError } from '../errors.js'
import type { RawPresence, RawSubscription } from '../messages.js'
import { Loan, type Wire } from '../wire/wire.js'
import type { ListedRoom, RawLobby, RoomChange } from '../world/lobby.js'
import type { RawRoom, RawStandby, RoomStats, StandbyState } from '../world/room.js'
import type { RawSeat, SeatInfo } from '../world/seat.js'
import type { Listener, ListenerLimits, PresenceChange, Registration } from '../types.js'

/** The node that owns them, with the members that they need. */
export interface Owner {
  /** Aborted when the node has ended for good. */
  readonly ended: AbortSignal
  readonly closed: boolean
  /** Resolves to the wire to the worker, once there is one. */
  wire(): Promise<Wire>
  /** Calls `f` with the wire and the arguments, which the caller may reuse at once. */
  reach<T>(args: unknown[], f: (wire: Wire, args: unknown[]) => Promise<T>): Promise<T>
  forget(lasting: Lasting): void
}

/** One such object. */
export class Lasting implements Registration {
  /** The number of the object in the current worker. */
  id: number | undefined
  /** The error if it could not be registered again. */
  failed: Error | undefined
  protected over = false
  protected dropped_ = 0
  /** The functions among the arguments, as lent to the current worker. */
  #loans: Loan[] = []
  /** A copy of the arguments, for later workers. */
  readonly args: unknown[]

  constructor(
    protected readonly node: Owner,
    readonly method: string,
    args: unknown[],
  ) {
    this.args = copied(args)
  }

  async register(wire: Wire): Promise<void> {
    if (this.over) return this.node.forget(this)
    const lent = this.args.map((arg) => (typeof arg === 'function' ? new Loan(arg as Loan['f']) : arg))
    this.#loans = lent.filter((arg) => arg instanceof Loan)
    try {
      this.id = (await wire.call(0, this.method, lent)) as number
      this.failed = undefined
    } catch (error) {
      this.#takeBack(wire)
      throw error
    }
  }

  #takeBack(wire: Wire): void {
    for (const loan of this.#loans) wire.takeBack(loan)
    this.#loans = []
  }

  async close(): Promise<void> {
    if (this.over) return
    this.over = true
    await this.end()
    this.node.forget(this)
  }

  /** Fetches what is left to read when the node is closed and before its worker is ended. */
  drain(_wire: Wire): Promise<void> {
    return Promise.resolve()
  }

  protected async end(): Promise<void> {
    try {
      const wire = await this.node.wire()
      if (this.id === undefined) return
      const dropped = (await wire.call(this.id, 'end', [])) as number | undefined
      this.dropped_ = dropped ?? 0
      this.#takeBack(wire)
    } catch (error) {
      if (!(error instanceof RestartError || this.node.closed)) throw error
    }
    this.id = undefined
  }

  protected ask(method: string, args: unknown[]): Promise<unknown> {
    return this.node.reach(args, async (wire, args) => {
      if (this.id === undefined) throw this.failed ?? new TomboloError('closed', `the ${this.method} is closed`)
      return wire.call(this.id, method, args)
    })
  }

  /** Changes the option of that name, or all that `value` has, in this worker and for later ones. */
  protected async change(method: string, value: object, option?: string): Promise<void> {
    const kept = copied(value)
    await this.ask(method, [kept])
    this.args[2] = { ...(this.args[2] as object | undefined), ...(option === undefined ? kept : { [option]: kept }) }
  }
}

export class RemoteListener extends Lasting implements Listener {
  get protocol(): string {
    return this.args[0] as string
  }

  async update(changes: ListenerLimits): Promise<void> {
    if (!((this as unknown) instanceof RemoteListener)) throw new TypeError('update was not called on a listener')
    if (this.over || this.node.closed) throw this.failed ?? new TomboloError('closed', 'the listener is closed')
    await this.change('update', changes)
  }
}

/** An iteration in the worker. Reading continues over a restart. */
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
        if (batch !== null) {
          this.#left.push(this.seen(batch))
          continue // what the previous worker left behind comes before what the next one sends
        }
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
      // The iteration or the worker ended with an error: there is no more to read.
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

export class RemoteSubscription extends RemoteIteration<Uint8Array> implements RawSubscription {
  async dropped(): Promise<number> {
    return this.over || this.node.closed || this.id === undefined
      ? this.dropped_
      : ((await this.ask('dropped', [])) as number)
  }
}

/** A room that the page holds. Its game runs in the page. */
export class RemoteRoom extends Lasting implements RawRoom {
  stats(): Promise<RoomStats> {
    return this.ask('stats', []) as Promise<RoomStats>
  }

  async kick(peer: string, reason?: string): Promise<void> {
    await this.ask('kick', [peer, reason])
  }

  async ban(peer: string, reason?: string): Promise<void> {
    await this.ask('ban', [peer, reason])
  }

  async unban(peer: string): Promise<void> {
    await this.ask('unban', [peer])
  }

  async save(): Promise<void> {
    await this.ask('save', [])
  }

  nameStandbys(peers: string[]): Promise<void> {
    return this.change('nameStandbys', peers, 'standbys')
  }

  nameNeighbours(peers: string[]): Promise<void> {
    return this.change('nameNeighbours', peers, 'neighbours')
  }

  setTags(tags: Record<string, string>): Promise<void> {
    return this.change('setTags', tags, 'tags')
  }

  invite(page: string): Promise<string> {
    return this.ask('invite', [page]) as Promise<string>
  }

  handOver(): Promise<string> {
    return this.ask('handOver', []) as Promise<string>
  }
}

/** A standby of the page, and the room that it holds later. */
export class RemoteStandby extends RemoteRoom implements RawStandby {
  #held = false

  /**
   * In a new worker, the standby begins anew. A room that it already held is with the standbys that it named: its game cannot begin anew.
   */
  override async register(wire: Wire): Promise<void> {
    if (this.#held) throw new TomboloError('crashed', 'the worker that held the room has ended')
    await super.register(wire)
  }

  state(): Promise<StandbyState> {
    return this.ask('state', []) as Promise<StandbyState>
  }

  async held(): Promise<boolean> {
    for (;;) {
      try {
        return (this.#held = (await this.ask('held', [])) as boolean)
      } catch (error) {
        if (!(error instanceof RestartError)) throw error
      }
    }
  }
}

/** A seat in a room. A new worker takes it again, like any peer that lost its connection. */
export class RemoteSeat extends RemoteIteration<Uint8Array> implements RawSeat {
  async about(): Promise<SeatInfo> {
    const info = (await this.ask('about', [])) as SeatInfo
    const [name, options] = this.args as [string, object]
    // If the player has walked to another room, the seat is taken again there.
    if (info.name !== name) this.args.splice(0, 2, info.name, { ...options, host: info.host })
    return info
  }

  input(data: Uint8Array): Promise<number> {
    return this.ask('input', [data]) as Promise<number>
  }
}

/** A watch on peers or rooms as they come and go. */
abstract class RemoteWatch<Change> extends RemoteIteration<Change[]> {
  readonly #there = new Map<string, Change>()

  /** The key of the peer or room that a change is about. */
  protected abstract subject(change: Change): string
  protected abstract isGone(change: Change): boolean
  protected abstract gone(change: Change): Change

  /** Resolves to what is there now; to nothing once the watch is closed. */
  protected async all<Item>(method: string): Promise<Item[]> {
    return this.over || this.node.closed ? [] : ((await this.ask(method, [])) as Item[])
  }

  /** Reports everything as gone, because the program that knew it has ended. The next program finds it anew. */
  override async register(wire: Wire): Promise<void> {
    if (this.#there.size > 0) this.leave([...this.#there.values()].map((change) => this.gone(change)))
    this.#there.clear()
    await super.register(wire)
  }

  protected override seen(changes: Change[]): Change[] {
    for (const change of changes) {
      if (this.isGone(change)) this.#there.delete(this.subject(change))
      else this.#there.set(this.subject(change), change)
    }
    return changes
  }
}

export class RemotePresence extends RemoteWatch<PresenceChange> implements RawPresence {
  now(): Promise<string[]> {
    return this.all('now')
  }

  protected override subject({ peer }: PresenceChange): string {
    return peer
  }

  protected override isGone({ joined }: PresenceChange): boolean {
    return !joined
  }

  protected override gone({ peer }: PresenceChange): PresenceChange {
    return { peer, joined: false }
  }
}

export class RemoteLobby extends RemoteWatch<RoomChange> implements RawLobby {
  rooms(): Promise<ListedRoom[]> {
    return this.all('rooms')
  }

  protected override subject({ host, name }: RoomChange): string {
    return `${host} ${name}`
  }

  protected override isGone({ gone }: RoomChange): boolean {
    return gone
  }

  protected override gone(room: RoomChange): RoomChange {
    return { ...room, gone: true }
  }
}
