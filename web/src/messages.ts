import { Reader } from './binary.js'
import { Iteration, type RawIteration } from './iteration.js'
import type { Message, PresenceChange } from './types.js'

export interface RawSubscription extends RawIteration<Uint8Array> {
  readonly type: string
  dropped(): Promise<number>
}

export interface RawPresence extends RawIteration<PresenceChange[]> {
  readonly type: string
  now(): Promise<string[]>
}

type Call = <T>(f: () => Promise<T>) => Promise<T>

/** The messages of a type, in the order they came, for `for await`. Leaving the loop closes it. */
export class Subscription extends Iteration<Message> {
  readonly type: string
  readonly #raw: RawSubscription

  constructor(raw: RawSubscription, call: Call, signal?: AbortSignal) {
    const read = async () => {
      const batch = await raw.next()
      return batch && decodeBatch(batch)
    }
    super(raw, read, call, signal)
    this.#raw = raw
    this.type = raw.type
  }

  /** How many messages were dropped because they were not read in time. */
  dropped(): Promise<number> {
    return this.call(() => this.#raw.dropped())
  }
}

/** Who joins and leaves a type, from now on, for `for await`. Leaving the loop closes it. */
export class Presence extends Iteration<PresenceChange> {
  readonly type: string
  readonly #raw: RawPresence

  constructor(raw: RawPresence, call: Call, signal?: AbortSignal) {
    super(raw, () => raw.next(), call, signal)
    this.#raw = raw
    this.type = raw.type
  }

  /** The peers that are subscribed to the type, as far as is known. */
  now(): Promise<string[]> {
    return this.call(() => this.#raw.now())
  }
}

const BROADCAST = 1
const REPLAYED = 2

/**
 * Reads a batch of messages: one crossing between Go and JavaScript serves many. A batch is a table of strings, then messages that refer to
 * it: see wasm/jsapi/batch.go.
 */
export function decodeBatch(batch: Uint8Array): Message[] {
  const read = new Reader(batch)
  const decoder = new TextDecoder()
  const strings = Array.from({ length: read.number() }, () => decoder.decode(read.bytes()))
  const messages: Message[] = []
  while (read.more) {
    const flags = read.number()
    messages.push({
      from: strings[read.number()]!,
      via: strings[read.number()]!,
      type: strings[read.number()]!,
      missed: read.number(),
      id: `${read.long()}.${read.long()}`,
      data: read.bytes(),
      broadcast: (flags & BROADCAST) !== 0,
      replayed: (flags & REPLAYED) !== 0,
    })
  }
  return messages
}
