import type { Message, TomboloNode } from '@tombolo/node'
import { meshUnheard, type Failure } from '../failures.js'
import { decodeReport, encodeReport, report, type Report } from './report.js'
import { MAX_ANSWERS, Round } from './round.js'
import { Source } from '../source.js'
import { every } from '../timers.js'

/**
 * Pages tell each other their connections in broadcasts of this type: a page asks, and all pages answer. Requests would need a connection
 * to each page, and so looking at the picture would change it.
 */
const TYPE = 'page/connections'
/** How often this page asks at most while somebody looks. One question serves every page that looks. */
const ASK_MS = 3_000
/** Added to that for each page that answers, so that the rate of answers stays the same however large the mesh is. */
const ASK_MS_EACH = 100
/** The shortest time between two answers of a page, however many others ask. */
const PAUSE_MS = 1_500
/** The most pages that are shown, and that answer a question. */
export const MAX_PAGES = MAX_ANSWERS
/** Larger reports are ignored. */
const MAX_BYTES = 64 << 10
/** At most one message of each peer is read in this time. */
const HEAR_MS = 1_000
/** The shortest time between two changes of the picture. */
const SHOW_MS = 500

/** The last report of a page. */
export interface Heard {
  report: Report
  /** The neighbour that passed the report on to this node. */
  via: string
  at: number
}

export interface MeshView {
  /** By peer ID. */
  heard: ReadonlyMap<string, Heard>
  /** Why other pages could not be asked. */
  failure: Failure | undefined
}

/** What the pages of the mesh report about their connections. They are asked only while somebody looks. */
export class Mesh {
  readonly view = new Source<MeshView>({ heard: new Map(), failure: undefined })
  readonly #heard = new Map<string, Heard>()
  /** When the last message of each peer was read, whatever it held. */
  readonly #read = new Map<string, number>()
  #error: Failure | undefined
  #node: TomboloNode | undefined
  #lookers = 0
  /** Aborted when nobody looks any longer. */
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

  /** Keeps the view fresh until the returned function is called. */
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

  /** Forgets a page as soon as it is known to have left. */
  async #watch(node: TomboloNode, signal: AbortSignal): Promise<void> {
    try {
      for await (const { peer, joined } of await node.presence(TYPE, { signal })) {
        if (!joined && this.#heard.delete(peer)) this.#show()
      }
    } catch {
      // Pages that leave are then forgotten when they do not answer.
    }
  }

  #hear(node: TomboloNode, { from, via, data, replayed }: Message): void {
    if (from === node.id || replayed || data.length > MAX_BYTES) return // a replayed report is out of date
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

  /** How long to wait for answers before the next question. */
  get #period(): number {
    return Math.max(ASK_MS, this.#heard.size * ASK_MS_EACH)
  }

  async #ask(node: TomboloNode): Promise<void> {
    if (document.hidden) return
    this.#forget()
    // Another page may have asked already.
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
      // Nobody is subscribed, or the node is restarting. The next question follows soon.
    }
  }

  /** Forgets the pages that have missed three questions. */
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
