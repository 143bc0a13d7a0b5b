/**
 * Objects of which a node has only one, although several pages may want it: the listener of a protocol, the responder and the validator of
 * a type. The first page that is awake has it. When that page closes it, is frozen or is gone, the next page gets it.
 */

/** An object that the node has made and that a page calls. */
export interface Made {
  close(): Promise<void>
  dropped?(): Promise<number>
  [method: string]: unknown
}

/** A page that shares the node of a worker. */
export interface Guest {
  tell(what: string, detail?: unknown): void
  /** Closes the page's objects. */
  release(): Promise<void>
}

type Register = (method: string, args: unknown[]) => unknown

/** The pages that want the same object, in the order in which they came. */
interface Queue {
  readonly turns: Turn[]
  active: Turn | undefined
  /** Resolves when the last operation on the queue is done: they run one after the other. */
  done: Promise<unknown>
}

export class Turns {
  readonly #register: Register
  readonly #awake: (guest: Guest) => boolean
  readonly #queues = new Map<string, Queue>()

  constructor(register: Register, awake: (guest: Guest) => boolean) {
    this.#register = register
    this.#awake = awake
  }

  /** Resolves when the object has been made or waits for its turn. If a page asks for the same object twice, the program refuses it. */
  async take(guest: Guest, method: string, args: unknown[]): Promise<Made> {
    const key = `${method} ${String(args[0])}`
    const queue = this.#queues.get(key) ?? { turns: [], active: undefined, done: Promise.resolve() }
    if (queue.turns.some((turn) => turn.guest === guest)) return (await this.#register(method, args)) as Made
    this.#queues.set(key, queue)
    const turn: Turn = new Turn(guest, method, args, this.#register, () => this.#leave(key, queue, turn))
    queue.turns.push(turn)
    await this.#do(queue, () => this.#pass(key, queue))
    if (turn.failed !== undefined) throw turn.failed
    turn.told = true
    return turn
  }

  /** Called when pages have been frozen or are back. */
  async pass(): Promise<void> {
    await Promise.all([...this.#queues].map(([key, queue]) => this.#do(queue, () => this.#pass(key, queue))))
  }

  #do(queue: Queue, f: () => Promise<void>): Promise<void> {
    const done = queue.done.then(f)
    queue.done = done.catch(() => {}) // the caller gets the error
    return done
  }

  #leave(key: string, queue: Queue, turn: Turn): Promise<void> {
    return this.#do(queue, async () => {
      remove(queue, turn)
      try {
        if (queue.active === turn) await this.#end(queue)
      } finally {
        await this.#pass(key, queue)
      }
    })
  }

  async #end(queue: Queue): Promise<void> {
    const { active } = queue
    queue.active = undefined
    await active?.end()
  }

  /** Gives the object to the page whose turn it is. */
  async #pass(key: string, queue: Queue): Promise<void> {
    for (;;) {
      const next = queue.turns.find(({ guest }) => this.#awake(guest))
      if (next !== queue.active) await this.#end(queue)
      if (queue.turns.length === 0) this.#queues.delete(key)
      if (next === undefined || next === queue.active) return
      try {
        await next.begin()
        queue.active = next
        return
      } catch (error) {
        remove(queue, next)
        next.fail(error as Error)
      }
    }
  }
}

function remove(queue: Queue, turn: Turn): void {
  const at = queue.turns.indexOf(turn)
  if (at >= 0) queue.turns.splice(at, 1)
}

/** The object of one page, which it has or waits for. */
class Turn implements Made {
  [method: string]: unknown
  readonly guest: Guest
  /** Whether the page has been informed that it has the object. */
  told = false
  failed: Error | undefined
  readonly #method: string
  readonly #args: unknown[]
  readonly #register: Register
  readonly #leave: () => Promise<void>
  #made: Made | undefined

  constructor(guest: Guest, method: string, args: unknown[], register: Register, leave: () => Promise<void>) {
    this.guest = guest
    this.#method = method
    this.#args = args
    this.#register = register
    this.#leave = leave
  }

  async begin(): Promise<void> {
    this.#made = (await this.#register(this.#method, this.#args)) as Made
  }

  async end(): Promise<void> {
    const made = this.#made
    this.#made = undefined
    await made?.close()
  }

  fail(error: Error): void {
    this.failed = error
    if (!this.told) return
    const what = `${this.#method} ${String(this.#args[0])}`
    const message = `${what} was another tab's, and could not be this one's after it: ${error.message}`
    this.guest.tell('event', { type: 'error', detail: { message } })
  }

  async update(changes: object): Promise<void> {
    const made = this.#made
    if (made !== undefined) await (made['update'] as (changes: object) => Promise<void>).call(made, changes)
    this.#args[2] = { ...(this.#args[2] as object | undefined), ...changes }
  }

  close(): Promise<void> {
    return this.#leave()
  }
}
