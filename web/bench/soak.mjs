// Measures the memory of a page over a long time, while its node receives messages and opens streams: it should stay where it is after the
// first minutes.
import { rendererMemory } from './cpu.mjs'
import { startFarSide, startMessenger } from './far.mjs'
import { median } from './figures.mjs'

/** What a page does in each minute: in an hour, 1,000 streams and 180,000 messages. */
const STREAMS = 17
const MESSAGES = 3_000
const SIZE = 128
const MiB = 1 << 20

/** Starts the far side. Resolves to the plan of a transport, for this many minutes. */
export async function startSoak(minutes) {
  const messenger = await startMessenger()
  const addresses = await startFarSide()
  const plan = (transport) => {
    const { relay, direct } = addresses[transport]
    const messages = { address: messenger.address, type: 'soak', count: MESSAGES, size: SIZE }
    return { relay, targets: [], soak: { area: `soak-${transport}`, address: direct, minutes, streams: STREAMS, messages } }
  }
  return { messenger, plan }
}

/** Collects the memory of one page. */
export class Memory {
  #area
  #minutes = [] // { renderer, linear }, in MiB

  constructor(area) {
    this.#area = area
  }

  /** Measures a page whose program has this much memory, in bytes, once a minute. */
  measure(linear, chromium) {
    this.#minutes.push({ renderer: rendererMemory(chromium.process.pid), linear: linear / MiB })
    const { renderer, linear: now } = this.#minutes.at(-1)
    if (this.#minutes.length % 5 === 0) console.error(`after ${this.#minutes.length} minutes: renderer ${renderer?.toFixed(1)}, linear ${now.toFixed(1)} MiB`)
  }

  /** Returns the medians of the first third, without its first third, and of the last: figures by name. */
  figures() {
    if (this.#minutes.length === 0) return {}
    const third = Math.ceil(this.#minutes.length / 3)
    const early = this.#minutes.slice(Math.floor(third / 3), third)
    const late = this.#minutes.slice(-third)
    const of = (kind, part) => median(part.map((minute) => minute[kind]))
    return {
      [`${this.#area}/renderer-memory-early`]: of('renderer', early),
      [`${this.#area}/renderer-memory-late`]: of('renderer', late),
      [`${this.#area}/linear-memory-early`]: of('linear', early),
      [`${this.#area}/linear-memory-late`]: of('linear', late),
    }
  }
}
