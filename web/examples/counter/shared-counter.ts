import type { TomboloNode } from '@tombolo/node'

const TYPE = 'examples/counter'

/** How much each peer has added and subtracted so far. */
type Counts = Record<string, [added: number, taken: number]>

/**
 * A number that every tab may change at any time, without a coordinator. Each tab counts only its own changes, all tabs pass on all counts
 * that they know, and of two counts of one peer the greater is the later. (A PN-counter: https://inria.hal.science/inria-00555588.)
 */
export class SharedCounter extends EventTarget {
  #counts: Counts = {}
  readonly #node: TomboloNode

  private constructor(node: TomboloNode) {
    super()
    this.#node = node
  }

  static async on(node: TomboloNode): Promise<SharedCounter> {
    const counter = new SharedCounter(node)
    // Only the newest message of each peer matters.
    const subscription = await node.subscribe(TYPE, { policy: 'latest-per-sender' })
    void (async () => {
      for await (const { data } of subscription) counter.#hear(JSON.parse(new TextDecoder().decode(data)) as Counts)
    })()
    counter.#tell()
    return counter
  }

  get value(): number {
    return Object.values(this.#counts).reduce((sum, [added, taken]) => sum + added - taken, 0)
  }

  add(n: number): void {
    const [added, taken] = this.#counts[this.#node.id] ?? [0, 0]
    this.#merge({ [this.#node.id]: [added + Math.max(n, 0), taken + Math.max(-n, 0)] })
    this.#tell()
  }

  /** Merges another tab's counts. Broadcasts all counts if that tab knows less, for example because it is new. */
  #hear(counts: Counts): void {
    this.#merge(counts)
    const less = Object.entries(this.#counts).some(([peer, [added, taken]]) => {
      const [a, t] = counts[peer] ?? [0, 0]
      return a < added || t < taken
    })
    if (less) this.#tell()
  }

  #merge(counts: Counts): void {
    for (const [peer, [added, taken]] of Object.entries(counts)) {
      const [a, t] = this.#counts[peer] ?? [0, 0]
      this.#counts[peer] = [Math.max(a, added), Math.max(t, taken)]
    }
    this.dispatchEvent(new Event('change'))
  }

  #tell(): void {
    const bytes = new TextEncoder().encode(JSON.stringify(this.#counts))
    this.#node.broadcast(TYPE, bytes, { wait: true }).catch(() => {}) // the node was closed before anybody else came
  }
}
