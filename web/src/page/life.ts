/** One worker of a node, from its start to its end, on the side of the page. */
import { TomboloError } from '../errors.js'
import type { Files } from '../load.js'
import type { NodeConfig } from '../types.js'
import type { Born, Start } from '../wire/start.js'
import { type HandedPart, type HandedStream, TakenStream } from '../wire/handed.js'
import { type CrossedStream, type Part, ReceivedStream } from '../wire/streams.js'
import { Loan, type Packet, Wire } from '../wire/wire.js'
import type { Hired } from './places.js'

/** How often a heartbeat is sent to a worker, in milliseconds. */
const BEAT_MS = 1_000
/** How many heartbeats in a row may go unanswered. They are counted, not timed, because a page that slept or was throttled sent none. */
const MAX_UNANSWERED = 5
/** The same while the node starts, which is work without a pause: on a busy, slow phone it takes most of a minute. */
const MAX_UNANSWERED_STARTING = 60
/** How long a shared worker may take to send its first message, in milliseconds: it may have to be loaded first. */
const HELLO_MS = 15_000

/** Receives the events of a life's node, and is informed if the life ends by itself. */
export interface Witness {
  event(type: string, detail: unknown): void
  died(life: Life, why: TomboloError): void
}

export class Life {
  readonly wire: Wire
  /** Whether the node in it has started. */
  up = false
  /** Whether the worker has not sent a message yet. */
  silent = true
  readonly #hired: Hired
  readonly #witness: Witness
  readonly #streams = new Map<number, ReceivedStream | TakenStream>()
  #beats: ReturnType<typeof setInterval> | undefined
  #patience: ReturnType<typeof setTimeout> | undefined
  #unanswered = 0

  constructor(hired: Hired, witness: Witness) {
    this.#hired = hired
    this.#witness = witness
    this.wire = new Wire(hired.port, {
      givesBytes: false,
      answer: () => {
        throw new Error('a page answers no calls')
      },
      told: (what, detail) => this.#told(what, detail),
      receiveStream: (crossed) => this.#receive(crossed),
      part: (stream, part) => this.#streams.get(stream)?.take(part as never),
    })
    hired.port.onmessage = ({ data }: MessageEvent<Packet>) => {
      if (this.silent) this.#begin()
      this.#unanswered = 0
      this.wire.receive(data)
    }
    hired.onerror = ({ message }) => {
      this.#died(
        message
          ? new TomboloError('crashed', `the worker of the node failed: ${message}`)
          : new TomboloError('worker-unreachable', 'the worker of the node could not be loaded: is worker.js served?'),
      )
    }
    hired.onreplaced = () => this.#died(new TomboloError('crashed', 'another tab found the worker of the node stuck'))
  }

  async start(program: Files, config: NodeConfig, start: Start): Promise<Born> {
    const { lock: page } = this.#hired
    this.wire.tell('hello', page)
    if (page !== undefined) this.#patience = setTimeout(() => this.#died(this.#mute()), HELLO_MS)
    const { onProgress, lock, asked } = start
    const loan = asked && new Loan(asked as Loan['f']) // the node asks after it has started
    const born = (await this.wire.call(0, 'start', [program, config, onProgress, lock, loan])) as Born
    this.up = true
    return born
  }

  /** Called at the worker's first message. Heartbeats are sent from now on. */
  #begin(): void {
    this.silent = false
    clearTimeout(this.#patience)
    this.#beats = setInterval(() => this.#beat(), BEAT_MS)
  }

  end(error: Error): void {
    clearInterval(this.#beats)
    clearTimeout(this.#patience)
    // A dedicated worker is ended below. If it got 'bye' first, it might still say goodbye to peers, although the next one continues.
    if (this.#hired.lock !== undefined) this.wire.tell('bye')
    this.#hired.onerror = this.#hired.onreplaced = null
    this.#hired.dismiss()
    this.wire.end(error)
    for (const stream of [...this.#streams.values()]) stream.fail(error)
  }

  #told(what: string, detail: unknown): void {
    if (what === 'event') {
      const { type, detail: inner } = detail as { type: string; detail: unknown }
      this.#witness.event(type, inner)
    } else if (what === 'ended') this.#died(new TomboloError('crashed', String(detail)))
  }

  #died(why: TomboloError): void {
    this.#witness.died(this, why)
  }

  #mute(): TomboloError {
    return new TomboloError('worker-unreachable', `the shared worker of the node said nothing for ${HELLO_MS / 1000} s`)
  }

  #beat(): void {
    const most = this.up ? MAX_UNANSWERED : MAX_UNANSWERED_STARTING
    if (this.#unanswered >= most) {
      this.#died(new TomboloError('crashed', `the worker of the node did not answer ${most} heartbeats`))
      return
    }
    this.#unanswered++
    this.wire.tell('beat')
  }

  #receive(crossed: CrossedStream | HandedStream) {
    const { id } = crossed
    const post = (part: Part | HandedPart, transfer?: Transferable[]) => this.wire.part(id, part, transfer)
    const over = () => this.#streams.delete(id)
    const received =
      'place' in crossed
        ? new TakenStream(crossed, this.#hired.connections.take(crossed.place), post, over)
        : new ReceivedStream(crossed, post, over)
    this.#streams.set(id, received)
    return { kind: 'program' as const, ...received.stream }
  }
}
