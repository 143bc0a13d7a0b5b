import { Reader } from './binary.js'
import { Iteration, type RawIteration } from './iteration.js'
import type { Message, Policy, PresenceChange } from './types.js'

export interface RawSubscription extends RawIteration<Uint8Array> {
  readonly type: string
  dropped(): Promise<number>
}

export interface RawPresence extends RawIteration<PresenceChange[]> {
  readonly type: string
  now(): Promise<string[]>
}

type Call = <T>(f: () => Promise<T>) => Promise<T>

/** The policies for which the newest messages matter most: messages that wait in the page would only become outdated. */
const NEWEST_FIRST: readonly unknown[] = ['drop-oldest', 'latest-per-sender'] satisfies Policy[]

/** The messages of a type, in the order in which they came, for `for await`. Leaving the loop closes the subscription. */
export class Subscription extends Iteration<Message> {
  readonly type: string
  readonly #raw: RawSubscription

  /** @internal */
  constructor(raw: RawSubscription, call: Call, signal?: AbortSignal, policy?: unknown) {
    let next: Promise<Uint8Array | null> | undefined
    const ahead = () => {
      next = raw.next()
      next.catch(() => {}) // the next read rejects with it
    }
    const read = async () => {
      const bytes = await (next ?? raw.next())
      next = undefined
      return bytes && new Batch(bytes, NEWEST_FIRST.includes(policy) ? undefined : ahead)
    }
    super(raw, read, call, signal)
    this.#raw = raw
    this.type = raw.type
  }

  /** Resolves to the number of messages that were dropped because they were not read in time. */
  dropped(): Promise<number> {
    return this.call(() => this.#raw.dropped())
  }
}

/** The peers that subscribe to a type or unsubscribe, from now on, for `for await`. Leaving the loop closes the presence. */
export class Presence extends Iteration<PresenceChange> {
  readonly type: string
  readonly #raw: RawPresence

  constructor(raw: RawPresence, call: Call, signal?: AbortSignal) {
    super(raw, () => raw.next(), call, signal)
    this.#raw = raw
    this.type = raw.type
  }

  /** Resolves to the peers that are known to be subscribed to the type. If more than 128 are, more become known every half minute. */
  now(): Promise<string[]> {
    return this.call(() => this.#raw.now())
  }
}

const BROADCAST = 1
const REPLAYED = 2

/** If a batch has this many messages, more are coming fast, so the next batch is requested while this one is read. */
const MANY = 64

/**
 * A batch of messages, so that one crossing between Go and JavaScript carries many. Each message is decoded when it is read. See
 * wasm/jsapi/batch.go for the encoding.
 */
export class Batch implements IterableIterator<Message, undefined> {
  readonly #read: Reader
  readonly #strings: string[]
  readonly #ahead: (() => void) | undefined
  /** How many messages are left. */
  #left: number
  /** The number of messages left at which the next batch is requested. */
  readonly #half: number

  constructor(bytes: Uint8Array, ahead?: () => void) {
    this.#read = new Reader(bytes)
    this.#left = this.#read.number()
    this.#half = this.#left < MANY ? -1 : this.#left >> 1
    this.#ahead = ahead
    const strings = new Reader(bytes.subarray(this.#read.number()))
    const decoder = new TextDecoder()
    this.#strings = Array.from({ length: strings.number() }, () => decoder.decode(strings.bytes()))
  }

  next(): IteratorResult<Message, undefined> {
    if (this.#left === 0) return { done: true, value: undefined }
    this.#left--
    if (this.#left === this.#half) this.#ahead?.()
    const read = this.#read
    const strings = this.#strings
    const flags = read.number()
    const value = {
      from: strings[read.number()]!,
      via: strings[read.number()]!,
      type: strings[read.number()]!,
      missed: read.number(),
      id: `${read.count()}.${read.count()}`,
      data: read.bytes(),
      broadcast: (flags & BROADCAST) !== 0,
      replayed: (flags & REPLAYED) !== 0,
    }
    return { done: false, value }
  }

  [Symbol.iterator](): this {
    return this
  }
}
