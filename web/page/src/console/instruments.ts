import type { NodeStats, StreamInfo, TomboloNode } from '@tombolo/node'
import { lookFailure, type Failure } from '../failures.js'
import { appended, type Sample, WINDOW_MS } from './series.js'
import { Store } from '../source.js'
import { calmly, every } from '../timers.js'
import type { Wires } from './wires.js'

const SAMPLE_MS = 2_000
const PING_MS = 5_000
/** A new connection triggers a ping, at most once in this time. */
const CALM_MS = 1_000

export interface Readings {
  /** The time of the last reading: `performance.now()`. */
  now: number
  /** Round trips by peer, in milliseconds. */
  rtt: ReadonlyMap<string, readonly Sample[]>
  /** Bytes a second. */
  sent: readonly Sample[]
  received: readonly Sample[]
  /** Why the node's counters could not be read. */
  failure: Failure | undefined
}

interface Count {
  at: number
  sent: number
  received: number
}

/** Measurements of the last minutes. Nothing is measured while the page is hidden, which leaves a gap in the plots. */
export class Instruments {
  readonly readings = new Store<Readings>({ now: 0, rtt: new Map(), sent: [], received: [], failure: undefined })
  #last: Count | undefined
  #reading = false
  #pinging = false

  constructor(readonly wires: Wires) {}

  start(node: TomboloNode, signal: AbortSignal): void {
    every(SAMPLE_MS, () => void this.#read(node), signal)
    every(PING_MS, () => void this.#ping(node), signal)
    node.addEventListener(
      'peer:connect',
      calmly(CALM_MS, () => void this.#ping(node)),
    )
    void this.#read(node)
  }

  /** Pings all connected peers. */
  async #ping(node: TomboloNode): Promise<void> {
    if (document.hidden || this.#pinging) return
    this.#pinging = true
    try {
      const ping = (id: string) => node.ping(id, { signal: AbortSignal.timeout(PING_MS) }).catch(() => undefined)
      await Promise.all((await node.peers()).map(async ({ id }) => this.#addRtt(id, await ping(id))))
    } catch {
      // The node is restarting.
    }
    this.#pinging = false
  }

  /** Adds a round trip to a peer; `ms` is undefined if the ping failed. */
  #addRtt(peer: string, ms: number | undefined): void {
    const now = performance.now()
    const { rtt } = this.readings.value
    const kept = [...rtt].filter(([, samples]) => samples.at(-1)!.at > now - WINDOW_MS)
    this.readings.change({ now, rtt: new Map(kept).set(peer, appended(rtt.get(peer) ?? [], now, ms)) })
  }

  async #read(node: TomboloNode): Promise<void> {
    if (document.hidden) this.#last = undefined
    if (document.hidden || this.#reading) return
    this.#reading = true
    try {
      const [stats, streams] = await Promise.all([node.stats(), this.wires.read(node)])
      const count = counted(stats, streams)
      this.#flow(count.at, rate(this.#last, count, 'sent'), rate(this.#last, count, 'received'))
      this.#last = count
      this.readings.change({ failure: undefined })
    } catch (error) {
      this.#last = undefined
      this.#flow(performance.now(), undefined, undefined)
      this.readings.change({ failure: lookFailure(error) })
    }
    this.#reading = false
  }

  #flow(at: number, sent: number | undefined, received: number | undefined): void {
    const { value } = this.readings
    this.readings.change({
      now: at,
      sent: appended(value.sent, at, sent),
      received: appended(value.received, at, received),
    })
  }
}

/** Adds up the bytes of direct messages and of all streams, open and ended. */
function counted({ links, bridge }: NodeStats, streams: StreamInfo[]): Count {
  const live = (what: 'sent' | 'received') => streams.reduce((sum, stream) => sum + stream[what], 0)
  return {
    at: performance.now(),
    sent: links.sentBytes + bridge.sent + live('sent'),
    received: links.receivedBytes + bridge.received + live('received'),
  }
}

/** Bytes a second; undefined without an earlier reading, or if the counter restarted with the node. */
function rate(last: Count | undefined, count: Count, what: 'sent' | 'received'): number | undefined {
  if (last === undefined || count[what] < last[what]) return undefined
  return ((count[what] - last[what]) / (count.at - last.at)) * 1000
}
