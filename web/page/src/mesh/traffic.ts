import type { Wires } from '../console/wires.js'
import { Source } from '../source.js'
import { calmly } from '../timers.js'

/** For how long a line is shown as active after data has passed. */
const SEEN_MS = 3_000
const SHOW_MS = 500
/** More than the lines that a picture can have at this tab. */
const MAX_PEERS = 200

/** The peers that this tab is exchanging data with now: bytes of streams, and messages received. */
export class Traffic {
  readonly peers = new Source<ReadonlySet<string>>(new Set())
  /** By peer: when data passed last. */
  readonly #passed = new Map<string, number>()
  readonly #show = calmly(SHOW_MS, () => this.#look())

  constructor(wires: Wires) {
    wires.view.watch(({ streams }) => {
      const since = Date.now() - SEEN_MS
      for (const { peer, lastActive, ended } of streams)
        if (ended === undefined && lastActive > since) this.passed(peer)
    })
  }

  /** Records that data came from a peer or went to it. */
  passed(peer: string): void {
    this.#passed.delete(peer)
    this.#passed.set(peer, performance.now())
    if (this.#passed.size > MAX_PEERS) this.#passed.delete(this.#passed.keys().next().value!)
    this.#show()
  }

  #look(): void {
    const since = performance.now() - SEEN_MS
    for (const [peer, at] of this.#passed) if (at < since) this.#passed.delete(peer)
    this.peers.set(new Set(this.#passed.keys()))
    if (this.#passed.size > 0) setTimeout(this.#show, SHOW_MS)
  }
}
