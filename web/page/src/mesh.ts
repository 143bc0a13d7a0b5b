import type { Message, TomboloNode } from '@tombolo/node'
import { decodeReport, encodeReport, report, type Report } from './report.js'
import { Source } from './source.js'

/**
 * Pages tell each other what they are connected to, by broadcasts of this type: one that asks is answered by every page. A request to each
 * page would have to connect to it first, and so would change the picture by looking at it.
 */
const TYPE = 'page/connections'
/** While somebody looks. One question is for all who look. */
const ASK_MS = 3_000
/** At least so much lies between two answers of a page, however many ask. */
const PAUSE_MS = 1_500
/** A page that has not answered three questions is not there, if nobody has said so before. */
const FORGET_MS = 10_000
const MAX_PAGES = 256

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
  error: string | undefined
}

/** What the pages of the mesh say of their connections. They are asked only while somebody looks. */
export class Mesh {
  readonly view = new Source<MeshView>({ heard: new Map(), error: undefined })
  #node: TomboloNode | undefined
  #lookers = 0
  /** Aborted when nobody looks any more. */
  #looking: AbortController | undefined
  #asked = -Infinity
  #told = -Infinity

  async start(node: TomboloNode, signal: AbortSignal): Promise<void> {
    this.#node = node
    if (this.#lookers > 0) this.#begin(node)
    try {
      for await (const message of await node.subscribe(TYPE, { signal })) this.#hear(node, message)
    } catch (error) {
      if (!signal.aborted) this.#set({ error: error instanceof Error ? error.message : String(error) })
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
    const timer = setInterval(() => void this.#ask(node), ASK_MS)
    signal.addEventListener('abort', () => clearInterval(timer))
    void this.#ask(node)
    void this.#watch(node, signal)
  }

  /** Forgets pages as soon as it is known that they have gone. */
  async #watch(node: TomboloNode, signal: AbortSignal): Promise<void> {
    try {
      for await (const { peer, joined } of await node.presence(TYPE, { signal })) {
        const heard = new Map(this.view.value.heard)
        if (!joined && heard.delete(peer)) this.#set({ heard })
      }
    } catch {
      // Then they are forgotten when they do not answer.
    }
  }

  #hear(node: TomboloNode, { from, via, data, replayed }: Message): void {
    if (from === node.id || replayed) return // what comes out of a history is old
    const told = decodeReport(data)
    if (told === undefined) return
    if (told.asks) {
      this.#asked = performance.now()
      void this.#tell(node, false)
    }
    const { heard } = this.view.value
    if (this.#lookers === 0 || (heard.size >= MAX_PAGES && !heard.has(from))) return
    this.#set({ heard: new Map(heard).set(from, { report: told, via, at: performance.now() }), error: undefined })
  }

  async #ask(node: TomboloNode): Promise<void> {
    if (document.hidden) return
    this.#forget()
    // Another page that looks may have asked for all.
    if (performance.now() - this.#asked < ASK_MS * 0.8) return
    this.#asked = performance.now()
    await this.#tell(node, true)
  }

  async #tell(node: TomboloNode, asks: boolean): Promise<void> {
    if (!asks && performance.now() - this.#told < PAUSE_MS) return
    this.#told = performance.now()
    try {
      const [peers, relays] = await Promise.all([node.peers(), node.relays()])
      const ids = relays.map(({ id }) => id)
      await node.broadcast(TYPE, encodeReport(report(peers, ids, asks)))
    } catch {
      // Nobody is there to hear it, or the node is being started again: the next question comes in a moment.
    }
  }

  #forget(): void {
    const { heard } = this.view.value
    const since = performance.now() - FORGET_MS
    const left = [...heard].filter(([, { at }]) => at > since)
    if (left.length < heard.size) this.#set({ heard: new Map(left) })
  }

  #set(change: Partial<MeshView>): void {
    this.view.set({ ...this.view.value, ...change })
  }
}
