/**
 * Calls between a page and its worker, both ways over one port. Not comlink's, since the package is also loaded as it is, with no bundler
 * to find a dependency; since comlink's table of what crosses in which way is one for the whole page, which is not ours; and since its
 * calls neither end with their worker nor carry what errors have beside their message.
 */
import { TomboloError, type TomboloErrorCode } from '../errors.js'
import type { CrossedStream, Part } from './crossing.js'
import type { StreamReason } from '../types.js'

/** The version of what crosses. Pages share a worker only with pages of their own version. */
export const PROTOCOL = 2

/** An error as it crosses: cloning it would lose its class, its code and its reason. */
export interface SentError {
  readonly name: string
  readonly message: string
  readonly code?: TomboloErrorCode
  readonly reason?: StreamReason
  readonly dom?: boolean
}

export function sendError(error: unknown): SentError {
  if (!isError(error)) return { name: 'Error', message: String(error) }
  const { name, message } = error
  if (error instanceof DOMException) return { name, message, dom: true }
  if (!(error instanceof TomboloError)) return { name, message }
  const { code, reason } = error
  return { name, message, code, ...(reason !== undefined && { reason }) }
}

/** The error that crossed. What the platform itself made of a failure is left as it is. */
export function receiveError(sent: unknown): Error {
  if (isError(sent)) return sent
  const { name, message, code, reason, dom } = (sent ?? { name: 'Error', message: String(sent) }) as SentError
  if (code !== undefined) return new TomboloError(code, message, reason === undefined ? {} : { reason })
  if (dom) return new DOMException(message, name)
  if (name === 'TypeError') return new TypeError(message)
  if (name === 'RangeError') return new RangeError(message)
  return Object.defineProperty(new Error(message), 'name', { value: name, configurable: true, writable: true })
}

function isError(value: unknown): value is Error {
  return value instanceof Error || value instanceof DOMException
}

/** Stands, where it was found, for a value that cannot be cloned. */
type Mark = [at: number, key: string | null, kind: 'function' | 'signal' | 'stream' | 'opaque', of: unknown]

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
  | { kind: 'part'; stream: number; part: Part }

export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void
}

/** What one end of a wire does with what comes from the other. */
export interface End {
  /** Answers a call. */
  answer(on: number, method: string, args: unknown[]): unknown
  /** Hears what the other end tells, which nobody there waits for. */
  told(what: string, detail: unknown): void
  /** Makes a stream ready to cross, if this end has such. Null: it is none. */
  sendStream?(value: object): CrossedStream | null
  receiveStream?(crossed: CrossedStream): unknown
  /** Takes what belongs to a stream that has crossed. */
  part(stream: number, part: Part): void
  /** Whether the bytes of calls and answers are this end's to give away; else they are copied, once. */
  readonly givesBytes: boolean
}

/** How many signals this thread has sent; their numbers are never used again. */
let signals = 0

export class Wire {
  readonly #port: Port
  readonly #end: End
  readonly #pending = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>()
  readonly #functions = new Map<number, (...args: unknown[]) => unknown>()
  readonly #aborts = new Map<number, AbortController>()
  #ended: Error | undefined
  #count = 0

  constructor(port: Port, end: End) {
    this.#port = port
    this.#end = end
  }

  /** Calls a method of an object at the other end. The signals among the arguments are followed until it is answered. */
  call(on: number, method: string, args: unknown[]): Promise<unknown> {
    return this.#ask(args, (id, sent) => ({ kind: 'call', id, on, method, sent }))
  }

  tell(what: string, detail?: unknown): void {
    if (this.#ended === undefined) this.#post({ kind: 'tell', what, detail }, [])
  }

  /** Sends what belongs to a stream that has crossed. */
  part(stream: number, part: Part, transfer: Transferable[] = []): void {
    if (this.#ended === undefined) this.#post({ kind: 'part', stream, part }, transfer)
  }

  /** Forgets a function that was sent; it is called no more. */
  forget(f: unknown): void {
    for (const [id, known] of this.#functions) if (known === f) this.#functions.delete(id)
  }

  /** The other end is gone: what is pending rejects, and what is called later. */
  end(error: Error): void {
    this.#ended = error
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
    for (const controller of this.#aborts.values()) controller.abort(error)
    this.#aborts.clear()
  }

  /** Takes what came from the other end. */
  receive(packet: Packet): void {
    switch (packet.kind) {
      case 'call':
        return void this.#reply(packet.id, packet.sent, (args) => this.#end.answer(packet.on, packet.method, args))
      case 'apply':
        return void this.#reply(packet.id, packet.sent, (args) => {
          const f = this.#functions.get(packet.f)
          if (f === undefined) throw new Error('the function has been taken back')
          return f(...args)
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
      if (this.#pending.delete(id)) throw new TypeError(`an argument cannot be given to a worker: ${String(error)}`)
      throw error
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

  /** Looks at the values, and at what is in those of them that are objects, for what cannot be cloned, or need not be. */
  #pack(args: unknown[]) {
    const marks: Mark[] = []
    const transfer: Transferable[] = []
    const releases: (() => void)[] = []
    const one = (value: unknown, at: number, key: string | null): unknown => {
      const mark = (kind: Mark[2], of?: unknown) => void marks.push([at, key, kind, of])
      if (typeof value === 'function') {
        const id = ++this.#count
        this.#functions.set(id, value as (...args: unknown[]) => unknown)
        return mark('function', { id, name: value.name })
      }
      if (typeof value === 'symbol') return mark('opaque')
      if (typeof value !== 'object' || value === null) return value
      const stream = this.#end.sendStream?.(value)
      if (stream) return mark('stream', stream)
      if (isSignal(value)) {
        const signal = ++signals
        const abort = () => this.#post({ kind: 'abort', signal, reason: sendError(value.reason) }, [])
        value.addEventListener('abort', abort, { once: true })
        releases.push(() => value.removeEventListener('abort', abort))
        return mark('signal', { signal, reason: value.aborted ? sendError(value.reason) : null })
      }
      switch (Object.prototype.toString.call(value)) {
        case '[object Uint8Array]': {
          const bytes = ownBytes(value as Uint8Array<ArrayBuffer>, this.#end.givesBytes)
          transfer.push(bytes.buffer)
          return bytes
        }
        case '[object Object]': {
          if (key !== null) return value
          const entries = Object.entries(value)
          return Object.fromEntries(entries.map(([name, inner]) => [name, one(inner, at, name)]))
        }
        case '[object Array]':
        case '[object ArrayBuffer]':
        case '[object WebAssembly.Module]':
          return value
      }
      return mark('opaque')
    }
    const values = args.map((value, i) => one(value, i, null))
    return { sent: { values, marks }, transfer, release: () => releases.forEach((release) => release()) }
  }

  #unpack({ values, marks }: Sent) {
    const signals: number[] = []
    for (const [at, key, kind, of] of marks) {
      const value = this.#revive(kind, of, signals)
      if (key === null) values[at] = value
      else (values[at] as Record<string, unknown>)[key] = value
    }
    return { values, release: () => signals.forEach((signal) => this.#aborts.delete(signal)) }
  }

  #revive(kind: Mark[2], of: unknown, signals: number[]): unknown {
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
        return this.#end.receiveStream?.(of as CrossedStream)
      case 'opaque':
        return {}
    }
  }
}

/** Goes by what a signal can do, as the program does: one of another frame is no instance of this frame's class. */
function isSignal(value: object): value is AbortSignal {
  const { aborted, addEventListener } = value as Partial<AbortSignal>
  return typeof aborted === 'boolean' && typeof addEventListener === 'function'
}

/** Bytes that have their buffer to themselves: it can be transferred, and nothing else crosses with it. */
export function ownBytes(bytes: Uint8Array, given: boolean): Uint8Array<ArrayBuffer> {
  const alone = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer
  return given && alone ? (bytes as Uint8Array<ArrayBuffer>) : bytes.slice()
}
