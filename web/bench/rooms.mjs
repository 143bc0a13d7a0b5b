// Measures how many native bots a room in a tab can hold. They play through the relay.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { atEnd } from '../test/lifetime.mjs'
import { keep, startRelay } from './far.mjs'

export const binary = fileURLToPath(new URL('../../bin/tombolo', import.meta.url))
const NAME = 'harbour'

/** A room runs well if neither of these is exceeded, in ms, and every bot has its seat. */
const TICK_P99 = 50
const SEEN_P99 = 100

/** How often bots report, in seconds. Their first report is not counted. */
const EVERY = 20

/** Returns whether a tab held its room well. */
export function held({ area, players }, figures) {
  const of = (figure) => figures[`${area}/${figure}`]
  return of('seated') === players && of('tick-p99') <= TICK_P99 && of('input-to-seen-p99') <= SEEN_P99
}

/**
 * Starts the relay, and a daemon through which bots find rooms. Resolves to the bots, and to the plans of a transport: one for each number
 * of players.
 */
export async function startRooms(steps, seats) {
  const addrs = await startRelay()
  const find = (shape) => relayAddress(addrs, shape)
  const relays = { websocket: find(/\/tcp\/\d+\/ws\/p2p\//), webtransport: find(/\/webtransport\//) }
  const bots = new Bots(find(/\/tcp\/\d+\/p2p\//))
  await bots.start()
  const plans = (transport) => {
    const ladder = `tab-${transport}-room${seats > 1 ? `-${seats}-a-link` : ''}`
    return steps.map((players) => ({
      relay: relays[transport],
      targets: [],
      room: { ladder, area: `${ladder}/${players}-players`, name: NAME, players, links: Math.ceil(players / seats) },
    }))
  }
  return { bots, plans }
}

export function relayAddress(addrs, shape) {
  return addrs.find((addr) => addr.startsWith('/ip4/127.0.0.1/') && shape.test(addr))
}

/** A native peer that is controlled by the shell. */
export class Daemon {
  relay
  dir = mkdtempSync(join(tmpdir(), 'tombolo-bench-daemon-'))

  constructor(relay) {
    this.relay = relay
  }

  /** Starts the daemon, which connects to the relay. */
  async start() {
    if (!existsSync(binary)) throw new Error('bin/tombolo is missing: make build')
    const args = ['up', '--data-dir', this.dir, '--relay', this.relay, '--listen', '127.0.0.1:0', '--no-map-ports']
    const env = { ...process.env, TOMBOLO_NO_MDNS: 'true' }
    const daemon = spawn(binary, args, { env, stdio: ['ignore', 'pipe', 'inherit'], detached: true })
    keep('the daemon', daemon, this.dir)
    for await (const line of createInterface(daemon.stdout)) if (line.startsWith('reserved on ')) break
    daemon.stdout.resume()
  }
}

/** The load generator, `tombolo room bots`, started once for each room. */
class Bots extends Daemon {
  #process
  #ended
  #lines
  #said = ''

  async start() {
    await super.start()
    atEnd(() => this.leave())
  }

  /** Makes `players` bots join the room of a peer and play for a while. */
  async play({ peer, players, links }) {
    const host = `${this.relay}/p2p-circuit/p2p/${peer}`
    const args = ['room', 'bots', '--data-dir', this.dir, '--host', host, '--json', '--every', `${EVERY}s`]
    this.#process = spawn(binary, [...args, '--links', `${links}`, NAME, `${players}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#ended = once(this.#process, 'close')
    this.#said = ''
    this.#process.stderr.setEncoding('utf8').on('data', (text) => (this.#said += text))
    this.#lines = createInterface(this.#process.stdout)[Symbol.asyncIterator]()
    await this.seen()
  }

  /** Resolves to the bots' next report. Rejects if one of them was removed, or refused a seat. */
  async seen() {
    const { done, value } = await this.#lines.next()
    if (!done) return JSON.parse(value)
    await this.#ended
    throw new Error(this.#said.trim() || 'the bots ended')
  }

  /** Stops the bots. */
  async leave() {
    if (this.#process === undefined) return
    this.#process.kill('SIGTERM')
    await this.#ended
    this.#process = undefined
  }
}
