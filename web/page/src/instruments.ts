import type { TomboloNode } from '@tombolo/node'
import { appended, type Sample, WINDOW_MS } from './series.js'
import { Source } from './source.js'

const SAMPLE_MS = 2_000

export interface Readings {
  /** When the last was taken: `performance.now()`. */
  now: number
  /** Round trips by peer, in milliseconds. */
  rtt: ReadonlyMap<string, readonly Sample[]>
  /** Bytes a second. */
  sent: readonly Sample[]
  received: readonly Sample[]
  /** Why the node could not be read. */
  error: string | undefined
}

interface Count {
  at: number
  sent: number
  received: number
}

/** What is measured over the last minutes. Nothing is while the page is hidden: the plots have a gap there. */
export class Instruments {
  readonly readings = new Source<Readings>({ now: 0, rtt: new Map(), sent: [], received: [], error: undefined })
  #last: Count | undefined
  #reading = false

  start(node: TomboloNode, signal: AbortSignal): void {
    const timer = setInterval(() => void this.#read(node), SAMPLE_MS)
    signal.addEventListener('abort', () => clearInterval(timer))
    void this.#read(node)
  }

  /** A round trip to a peer was measured, or could not be. */
  addRtt(peer: string, ms: number | undefined): void {
    const now = performance.now()
    const { rtt } = this.readings.value
    const kept = [...rtt].filter(([, samples]) => samples.at(-1)!.at > now - WINDOW_MS)
    this.#set({ now, rtt: new Map(kept).set(peer, appended(rtt.get(peer) ?? [], now, ms)) })
  }

  async #read(node: TomboloNode): Promise<void> {
    if (document.hidden) this.#last = undefined
    if (document.hidden || this.#reading) return
    this.#reading = true
    try {
      const count = await counted(node)
      this.#flow(count.at, rate(this.#last, count, 'sent'), rate(this.#last, count, 'received'))
      this.#last = count
      this.#set({ error: undefined })
    } catch (error) {
      this.#last = undefined
      this.#flow(performance.now(), undefined, undefined)
      this.#set({ error: error instanceof Error ? error.message : String(error) })
    }
    this.#reading = false
  }

  #flow(at: number, sent: number | undefined, received: number | undefined): void {
    const { value } = this.readings
    this.#set({ now: at, sent: appended(value.sent, at, sent), received: appended(value.received, at, received) })
  }

  #set(change: Partial<Readings>): void {
    this.readings.set({ ...this.readings.value, ...change })
  }
}

/** Messages to single peers, and streams, those that live and those that have ended. */
async function counted(node: TomboloNode): Promise<Count> {
  const [{ links, bridge }, streams] = await Promise.all([node.stats(), node.streams()])
  const live = (what: 'sent' | 'received') => streams.reduce((sum, stream) => sum + stream[what], 0)
  return {
    at: performance.now(),
    sent: links.sentBytes + bridge.sent + live('sent'),
    received: links.receivedBytes + bridge.received + live('received'),
  }
}

/** Unknown without a reading before, and where the count began anew because the node did. */
function rate(last: Count | undefined, count: Count, what: 'sent' | 'received'): number | undefined {
  if (last === undefined || count[what] < last[what]) return undefined
  return ((count[what] - last[what]) / (count.at - last.at)) * 1000
}
