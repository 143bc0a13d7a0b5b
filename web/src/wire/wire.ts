/**
 * Calls between a page and its worker, in both directions over one port. This is not done with comlink, because the package must also work
 * without a bundler that finds dependencies, because comlink's table of transfer handlers is global to the page, and because its calls do
 * not end with their worker and lose everything in an error but its message.
 */
import { type Key, mapMembers } from '../copied.js'
import { TomboloError } from '../errors.js'
import { isBuffer, isBytes, isModule, isSignal } from '../values.js'
import { ownBytes } from './bytes.js'
import { receiveError, sendError, type SentError } from './errors.js'
import type { HandedPart, HandedStream } from './handed.js'
import type { CrossedStream, Part } from './streams.js'

/** The version of this protocol. Pages share a worker only with pages of the same version. */
export const PROTOCOL = 5

/** Stands for a value that cannot be cloned, and records its position. */
type Mark = [at: Key[], kind: 'function' | 'signal' | 'stream' | 'opaque', of: unknown]

interface Sent {
  values: unknown[]
  marks: Mark[]
}

export type Packet =
  | { kind: 'call'; id: number; on: number; method: string; sent: Sent }
  | { kind: 'apply'; id: number; f: number; sent: Sent }
  | { kind: 'abort'; signal: number; reason: SentError }
  | { kind: 'done'; id: number; sent: Sent }
  | { kind: 'failed'; id: number; error: SentError }
  | { kind: 'tell'; what: string; detail: unknown }
  | { kind: 'part'; stream: number; part: Part | HandedPart }

export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void
}

/** The handlers of one end of a wire for what comes from the other end. */
export interface End {
  /** Answers a call. */
  answer(on: number, method: string, args: unknown[]): unknown
  /** Receives a message from the other end that needs no answer. */
  told(what: string, detail: unknown): void
  /** Prepares a stream for crossing, if this end has streams. Returns null if the value is not a stream. */
  sendStream?(value: object): CrossedStream | HandedStream | null
  receiveStream?(crossed: CrossedStream | HandedStream): unknown
  /** Takes a part of a stream that has crossed. */
  part(stream: number, part: Part | HandedPart): void
  /** Whether this end may transfer the bytes of calls and answers. Otherwise they are copied, once. */
  readonly givesBytes: boolean
}

/** How many signals this thread has sent. Their numbers are never reused. */
let signals = 0

/**
 * A function that the other end may call until it is taken back, not only during the call with which it was passed. A function may be lent
 * more than once, and each loan ends separately.
 */
export class Loan {
  constructor(readonly f: (...args: unknown[]) => unknown) {}
}

export class Wire {
  readonly #port: Port
  readonly #end: End
  readonly #pending = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>()
  readonly #functions = new Map<number, Loan>()
  readonly #aborts = new Map<number, AbortController>()
  #ended: Error | undefined
  #count = 0

  constructor(port: Port, end: End) {
    this.#port = port
    this.#end = end
  }

  /** Calls a method of an object at the other end. Signals among the arguments are passed on until the call is answered. */
  call(on: number, method: string, args: unknown[]): Promise<unknown> {
    return this.#ask(args, (id, sent) => ({ kind: 'call', id, on, method, sent }))
  }

  tell(what: string, detail?: unknown): void {
    if (this.#ended === undefined) this.#post({ kind: 'tell', what, detail }, [])
  }

  /** Sends a part of a stream that has crossed. */
  part(stream: number, part: Part | HandedPart, transfer: Transferable[] = []): void {
    if (this.#ended === undefined) this.#post({ kind: 'part', stream, part }, transfer)
  }

  /** Takes back a function that was lent. It is not called any more. */
  takeBack(loan: Loan): void {
    for (const [id, known] of this.#functions) if (known === loan) this.#functions.delete(id)
  }

  /** Called when the other end is gone. Pending and later calls reject with the error. */
  end(error: Error): void {
    this.#ended = error
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
    for (const controller of this.#aborts.values()) controller.abort(error)
    this.#aborts.clear()
  }

  /** Handles a packet from the other end. */
  receive(packet: Packet): void {
    switch (packet.kind) {
      case 'call':
        return void this.#reply(packet.id, packet.sent, (args) => this.#end.answer(packet.on, packet.method, args))
      case 'apply':
        return void this.#reply(packet.id, packet.sent, (args) => {
          const loan = this.#functions.get(packet.f)
          if (loan === undefined) throw new TomboloError('closed', 'the function has been taken back')
          return loan.f(...args)
        })
      case 'abort':
        return this.#aborts.get(packet.signal)?.abort(receiveError(packet.reason))
      case 'done':
        return this.#settle(packet.id)?.resolve(this.#unpack(packet.sent).values[0])
      case 'failed':
        return this.#settle(packet.id)?.reject(receiveError(packet.error))
      case 'tell':
        return this.#end.told(packet.what, packet.detail)
      case 'part':
        return this.#end.part(packet.stream, packet.part)
    }
  }

  async #ask(args: unknown[], packet: (id: number, sent: Sent) => Packet): Promise<unknown> {
    if (this.#ended !== undefined) throw this.#ended
    const id = ++this.#count
    const { sent, transfer, release } = this.#pack(args)
    try {
      return await new Promise((resolve, reject) => {
        this.#pending.set(id, { resolve, reject })
        this.#post(packet(id, sent), transfer)
      })
    } catch (error) {
      if (!this.#pending.delete(id)) throw error
      throw new TomboloError('argument', `an argument cannot be given to a worker: ${String(error)}`, { cause: error })
    } finally {
      release()
    }
  }

  #settle(id: number) {
    const call = this.#pending.get(id)
    this.#pending.delete(id)
    return call
  }

  async #reply(id: number, given: Sent, f: (args: unknown[]) => unknown): Promise<void> {
    const { values, release } = this.#unpack(given)
    try {
      const { sent, transfer } = this.#pack([await f(values)])
      this.#post({ kind: 'done', id, sent }, transfer)
    } catch (error) {
      this.#post({ kind: 'failed', id, error: sendError(error) }, [])
    } finally {
      release()
    }
  }

  #post(packet: Packet, transfer: Transferable[]): void {
    this.#port.postMessage(packet, transfer)
  }

  /**
   * Copies the values, lists and plain objects with their contents, because these may be proxies of a framework, which cannot be cloned.
   * Marks the values that cannot cross by themselves.
   */
  #pack(args: unknown[]) {
    const marks: Mark[] = []
    const transfer: Transferable[] = []
    const releases: (() => void)[] = []
    const one = (value: unknown, at: Key[]): unknown => {
      const mark = (kind: Mark[1], of?: unknown) => void marks.push([at, kind, of])
      if (typeof value === 'function') {
        const { id, name } = this.#lend(new Loan(value as Loan['f']))
        releases.push(() => this.#functions.delete(id))
        return mark('function', { id, name })
      }
      if (value instanceof Loan) return mark('function', this.#lend(value))
      if (typeof value === 'symbol') return mark('opaque')
      if (typeof value !== 'object' || value === null) return value
      const stream = this.#end.sendStream?.(value)
      if (stream) return mark('stream', stream)
      if (isSignal(value)) return mark('signal', this.#follow(value, releases))
      if (isBytes(value)) {
        const bytes = ownBytes(value, this.#end.givesBytes)
        transfer.push(bytes.buffer)
        return bytes
      }
      if (isBuffer(value) || isModule(value)) return value
      return mapMembers(value, at, one) ?? mark('opaque')
    }
    const release = () => releases.forEach((release) => release())
    try {
      return { sent: { values: args.map((value, i) => one(value, [i])), marks }, transfer, release }
    } catch (error) {
      release()
      throw error
    }
  }

  #lend(loan: Loan) {
    const id = ++this.#count
    this.#functions.set(id, loan)
    return { id, name: loan.f.name }
  }

  /** Informs the other end when a signal is aborted. */
  #follow(value: AbortSignal, releases: (() => void)[]) {
    const signal = ++signals
    const abort = () => this.#post({ kind: 'abort', signal, reason: sendError(value.reason) }, [])
    value.addEventListener('abort', abort, { once: true })
    releases.push(() => value.removeEventListener('abort', abort))
    return { signal, reason: value.aborted ? sendError(value.reason) : null }
  }

  #unpack({ values, marks }: Sent) {
    const signals: number[] = []
    for (const [at, kind, of] of marks) {
      const last = at.at(-1)!
      const holder = at.slice(0, -1).reduce((inner, key) => (inner as Record<Key, unknown>)[key], values as unknown)
      ;(holder as Record<Key, unknown>)[last] = this.#revive(kind, of, signals)
    }
    return { values, release: () => signals.forEach((signal) => this.#aborts.delete(signal)) }
  }

  #revive(kind: Mark[1], of: unknown, signals: number[]): unknown {
    switch (kind) {
      case 'function': {
        const { id, name } = of as { id: number; name: string }
        const f = (...args: unknown[]) => this.#ask(args, (call, sent) => ({ kind: 'apply', id: call, f: id, sent }))
        return Object.defineProperty(f, 'name', { value: name })
      }
      case 'signal': {
        const { signal, reason } = of as { signal: number; reason: SentError | null }
        const controller = new AbortController()
        if (reason !== null) controller.abort(receiveError(reason))
        this.#aborts.set(signal, controller)
        signals.push(signal)
        return controller.signal
      }
      case 'stream':
        return this.#end.receiveStream?.(of as CrossedStream | HandedStream)
      case 'opaque':
        return {}
    }
  }
}
