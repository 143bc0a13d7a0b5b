import type { Message, TomboloNode } from '@tombolo/node'
import { meshUnheard, type Failure } from '../failures.js'
import { decodeReport, encodeReport, report, type Report } from './report.js'
import { MAX_ANSWERS, Round } from './round.js'
import { Source } from '../source.js'
import { every } from '../timers.js'

/**
 * Pages tell each other what they are connected to, by broadcasts of this type: one that asks is answered by every page. A request to each
 * page would have to connect to it first, and so would change the picture by looking at it.
 */
const TYPE = 'page/connections'
/** How often is asked while somebody looks, at most. One question is for all who look. */
const ASK_MS = 3_000
/** So much longer for each page that answers: all answers together are so many a second, however large the mesh is. */
const ASK_MS_EACH = 100
/** At least so much lies between two answers of a page, however many ask. */
const PAUSE_MS = 1_500
/** So many pages are shown, and answer a question. */
export const MAX_PAGES = MAX_ANSWERS
/** No report is as large. */
const MAX_BYTES = 64 << 10
/** Of one peer, no more than one message in so long is read. */
const HEAR_MS = 1_000
/** How often the picture changes, at most. */
const SHOW_MS = 500

/** What a page said last. */
export interface Heard {
  report: Report
  /** The neighbour that handed it to this node. */
  via: string
  at: number
}

export interface MeshView {
  /** By peer id. */
  heard: ReadonlyMap<string, Heard>
  /** Why other pages cannot be asked. */
  failure: Failure | undefined
}

/** What the pages of the mesh say of their connections. They are asked only while somebody looks. */
export class Mesh {
  readonly view = new Source<MeshView>({ heard: new Map(), failure: undefined })
  readonly #heard = new Map<string, Heard>()
  /** When the last message of a peer was read, whatever it was. */
  readonly #read = new Map<string, number>()
  #error: Failure | undefined
  #node: TomboloNode | undefined
  #lookers = 0
  /** Aborted when nobody looks any more. */
  #looking: AbortController | undefined
  #asked = -Infinity
  #told = -Infinity
  #answer: ReturnType<typeof setTimeout> | undefined
  #round = new Round('')
  #showing: ReturnType<typeof setTimeout> | undefined

  start(node: TomboloNode, signal: AbortSignal): void {
    this.#node = node
    this.#round = new Round(node.id)
    signal.addEventListener('abort', () => {
      this.#node = undefined
      this.#looking?.abort()
      clearTimeout(this.#answer)
    })
    if (this.#lookers > 0) this.#begin(node)
    void this.#listen(node, signal)
  }

  async #listen(node: TomboloNode, signal: AbortSignal): Promise<void> {
    try {
      for await (const message of await node.subscribe(TYPE, { signal })) this.#hear(node, message)
    } catch (error) {
      if (signal.aborted) return
      this.#error = meshUnheard(error)
      this.#show()
    }
  }

  /** Keeps the view fresh until what it returns is called. */
  look(): () => void {
    if (this.#lookers++ === 0 && this.#node !== undefined) this.#begin(this.#node)
    return () => {
      if (--this.#lookers === 0) this.#looking?.abort()
    }
  }

  #begin(node: TomboloNode): void {
    const { signal } = (this.#looking = new AbortController())
    every(ASK_MS, () => void this.#ask(node), signal)
    void this.#ask(node)
    void this.#watch(node, signal)
  }

  /** Forgets pages as soon as it is known that they have gone. */
  async #watch(node: TomboloNode, signal: AbortSignal): Promise<void> {
    try {
      for await (const { peer, joined } of await node.presence(TYPE, { signal })) {
        if (!joined && this.#heard.delete(peer)) this.#show()
      }
    } catch {
      // Then they are forgotten when they do not answer.
    }
  }

  #hear(node: TomboloNode, { from, via, data, replayed }: Message): void {
    if (from === node.id || replayed || data.length > MAX_BYTES) return // what comes out of a history is old
    const at = performance.now()
    if (at - (this.#read.get(from) ?? -Infinity) < HEAR_MS) return
    if (this.#read.size >= 2 * MAX_PAGES) {
      for (const [peer, read] of this.#read) if (at - read >= HEAR_MS) this.#read.delete(peer)
    }
    this.#read.set(from, at)
    const told = decodeReport(data)
    if (told === undefined) return
    if (told.asks > 0) {
      this.#asked = at
      this.#round.begin()
      this.#answerWithin(node, Math.min(told.asks, MAX_PAGES * ASK_MS_EACH) / 2)
    } else {
      this.#round.heard()
    }
    if (this.#lookers === 0 || (this.#heard.size >= MAX_PAGES && !this.#heard.has(from))) return
    this.#heard.set(from, { report: told, via, at })
    this.#error = undefined
    this.#show()
  }

  /** How long a question waits for its answers before the next. */
  get #period(): number {
    return Math.max(ASK_MS, this.#heard.size * ASK_MS_EACH)
  }

  async #ask(node: TomboloNode): Promise<void> {
    if (document.hidden) return
    this.#forget()
    // Another page that looks may have asked for all.
    if (performance.now() - this.#asked < this.#period * 0.8) return
    this.#asked = performance.now()
    await this.#tell(node, this.#period)
  }

  #answerWithin(node: TomboloNode, ms: number): void {
    this.#answer ??= setTimeout(() => {
      this.#answer = undefined
      if (this.#round.full) return
      if (performance.now() - this.#told >= PAUSE_MS) void this.#tell(node, 0)
    }, this.#round.wait(ms))
  }

  async #tell(node: TomboloNode, asks: number): Promise<void> {
    this.#told = performance.now()
    try {
      const [peers, relays] = await Promise.all([node.peers(), node.relays()])
      const ids = relays.map(({ id }) => id)
      await node.broadcast(TYPE, encodeReport(report(peers, ids, asks)))
    } catch {
      // Nobody is there to hear it, or the node is being started again: the next question comes in a moment.
    }
  }

  /** A page that has not answered three questions is not there, if nobody has said so before. */
  #forget(): void {
    const since = performance.now() - 3 * this.#period - HEAR_MS
    for (const [id, { at }] of this.#heard) if (at < since && this.#heard.delete(id)) this.#show()
  }

  #show(): void {
    this.#showing ??= setTimeout(() => {
      this.#showing = undefined
      this.view.set({ heard: new Map(this.#heard), failure: this.#error })
    }, SHOW_MS)
  }
}
