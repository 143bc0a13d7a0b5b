import { type Seat, TomboloError, type TomboloNode } from '@tombolo/node'
import { message } from '../failures.js'
import { Store } from '../source.js'
import { encodeInput, encodePapers } from './records.js'
import { takeSeat } from './take-seat.js'

/** How many bots ask for a seat at once. */
const AT_ONCE = 10
/** How often each bot is steered, on average, in ms. */
const STEER_MS = 2_000
/** How often a random selection of bots is steered, in ms. */
const TURN_MS = 100
/** In steps a tick. */
const MAX_SPEED = 7

export interface BotsState {
  phase: 'none' | 'coming' | 'there'
  seated: number
  /** Why some bots did not get a seat. */
  refused: string | undefined
}

/**
 * Players that sail at random. Each has its own seat, over the connection of this tab's own seat, and receives nothing but confirmations of
 * its inputs.
 */
export class Bots {
  readonly view = new Store<BotsState>({ phase: 'none', seated: 0, refused: undefined })
  readonly #seats = new Set<Seat>()
  #over: AbortController | undefined

  /** Takes `count` seats in a room in which this node already has one. The bots sail until `stop`. */
  async start(node: TomboloNode, room: string, count: number): Promise<void> {
    if (this.#over !== undefined) return
    const over = (this.#over = new AbortController())
    this.view.change({ phase: 'coming', refused: undefined })
    const timer = setInterval(() => this.#steer(), TURN_MS)
    over.signal.addEventListener('abort', () => clearInterval(timer))
    let number = 0
    const come = async () => {
      while (number < count && !over.signal.aborted && this.view.value.refused === undefined) {
        await this.#sit(node, room, ++number, over.signal)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, come))
    if (over.signal.aborted) return
    if (this.#seats.size === 0) return this.stop(this.view.value.refused)
    this.view.change({ phase: 'there' })
  }

  /** Makes the bots leave; `refused` is the reason if nobody asked for it. */
  async stop(refused?: string): Promise<void> {
    this.#over?.abort()
    const seats = [...this.#seats]
    this.#seats.clear()
    this.view.change({ phase: 'none', seated: 0, refused })
    await Promise.allSettled(seats.map((seat) => seat.leave()))
    this.#over = undefined
  }

  async #sit(node: TomboloNode, room: string, number: number, signal: AbortSignal): Promise<void> {
    const papers = { name: `Bot ${number}`, hue: (number * 41) % 256, blind: true, standsBy: false }
    try {
      const seat = await takeSeat(node, room, { number, data: encodePapers(papers), signal })
      if (signal.aborted) return await seat.leave()
      this.#seats.add(seat)
      this.view.change({ seated: this.#seats.size })
      this.#turn(seat)
      void this.#read(seat)
    } catch (error) {
      if (!signal.aborted) this.view.change({ refused: why(error) })
    }
  }

  /** Reads a bot's ticks, because unread ticks would hold up those of the other seats. */
  async #read(seat: Seat): Promise<void> {
    try {
      for await (const _ of seat);
    } catch (error) {
      if (this.#seats.has(seat)) this.view.change({ refused: why(error) })
    }
    if (this.#seats.delete(seat)) this.view.change({ seated: this.#seats.size })
    if (this.#seats.size === 0 && this.view.value.phase === 'there') void this.stop(this.view.value.refused)
  }

  #steer(): void {
    for (const seat of this.#seats) if (Math.random() < TURN_MS / STEER_MS) this.#turn(seat)
  }

  #turn(seat: Seat): void {
    const speed = () => Math.round((Math.random() * 2 - 1) * MAX_SPEED)
    // If the connection is lost or the room takes no more inputs, the bot keeps its course.
    seat.input(encodeInput(speed(), speed())).catch(() => {})
  }
}

function why(error: unknown): string {
  return error instanceof TomboloError && error.code === 'seat' ? message(error).replace(/^.*: /, '') : message(error)
}
