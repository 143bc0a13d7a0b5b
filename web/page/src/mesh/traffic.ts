import type { Wires } from '../console/wires.js'
import { Source } from '../source.js'
import { calmly } from '../timers.js'

/** For so long after something has passed, it is seen to pass. */
const SEEN_MS = 3_000
const SHOW_MS = 500
/** No picture has more lines of this tab's own. */
const MAX_PEERS = 200

/** Between whom and this tab something passes now: bytes of streams, and messages that were heard. */
export class Traffic {
  readonly peers = new Source<ReadonlySet<string>>(new Set())
  /** By peer, when something passed last. */
  readonly #passed = new Map<string, number>()
  readonly #show = calmly(SHOW_MS, () => this.#look())

  constructor(wires: Wires) {
    wires.view.watch(({ streams }) => {
      const since = Date.now() - SEEN_MS
      for (const { peer, lastActive, ended } of streams)
        if (ended === undefined && lastActive > since) this.passed(peer)
    })
  }

  /** Something has come from a peer, or gone to it. */
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
