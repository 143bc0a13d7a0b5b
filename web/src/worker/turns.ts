/**
 * What a node has only one of, and several pages want: the listener of a protocol, the responder and the validator of a type. Who came first
 * has it, and the others are there, in the order they came, for when that one has closed it or is gone.
 */
import type { Client, Made } from './client.js'

type Register = (method: string, args: unknown[]) => unknown

export class Turns {
  readonly #register: Register
  readonly #queues = new Map<string, Turn[]>()

  constructor(register: Register) {
    this.#register = register
  }

  /** Resolves when it has been made, or waits its turn. That a page asks for the same twice is for the program to refuse. */
  async take(client: Client, method: string, args: unknown[]): Promise<Made> {
    const key = `${method} ${String(args[0])}`
    const queue = this.#queues.get(key) ?? []
    if (queue.some((turn) => turn.client === client)) return (await this.#register(method, args)) as Made
    const turn = new Turn(client, method, args, this.#register, (turn) => this.#leave(key, turn))
    this.#queues.set(key, [...queue, turn])
    if (queue.length > 0) return turn
    try {
      await turn.begin()
    } catch (error) {
      await this.#leave(key, turn)
      throw error
    }
    return turn
  }

  /** A page that is put to rest has its turns after all others. */
  async rest(client: Client): Promise<void> {
    for (const [key, [first, ...others]] of this.#queues) {
      if (first?.client !== client || others.length === 0) continue
      this.#queues.set(key, [...others, first])
      await first.pause()
      await this.#next(key)
    }
  }

  async #leave(key: string, turn: Turn): Promise<void> {
    const queue = this.#queues.get(key) ?? []
    const left = queue.filter((other) => other !== turn)
    if (left.length === 0) this.#queues.delete(key)
    else this.#queues.set(key, left)
    if (queue[0] === turn) await this.#next(key)
  }

  async #next(key: string): Promise<void> {
    const turn = this.#queues.get(key)?.[0]
    try {
      await turn?.begin()
    } catch (error) {
      const message = `${key} was another tab's, and could not be this one's after it: ${(error as Error).message}`
      turn!.client.wire.tell('event', { type: 'error', detail: { message } })
      await this.#leave(key, turn!)
    }
  }
}

/** What one page has, or will have. */
class Turn implements Made {
  [method: string]: unknown
  readonly client: Client
  readonly #method: string
  readonly #args: unknown[]
  readonly #register: Register
  readonly #left: (turn: Turn) => Promise<void>
  #made: Promise<Made> | undefined

  constructor(
    client: Client,
    method: string,
    args: unknown[],
    register: Register,
    left: (turn: Turn) => Promise<void>,
  ) {
    this.client = client
    this.#method = method
    this.#args = args
    this.#register = register
    this.#left = left
  }

  async begin(): Promise<void> {
    this.#made = Promise.resolve(this.#register(this.#method, this.#args) as Promise<Made>)
    await this.#made
  }

  async pause(): Promise<void> {
    const made = this.#made
    this.#made = undefined
    await (await made)?.close()
  }

  async update(changes: object): Promise<void> {
    const made = await this.#made
    if (made !== undefined) await (made['update'] as (changes: object) => Promise<void>).call(made, changes)
    this.#args[2] = { ...(this.#args[2] as object | undefined), ...changes }
  }

  async close(): Promise<void> {
    await this.pause()
    await this.#left(this)
  }
}
