/** One page that uses the node of a worker, on the side of the worker, with the page's objects there. */
import type { Asked } from '../ask.js'
import { type Call, type CallName, CALLS } from '../calls.js'
import type { Files, OnProgress } from '../load.js'
import { invoke } from '../program.js'
import { peerStream, type RawStream } from '../stream.js'
import type { LoadProgress, NodeConfig } from '../types.js'
import type { Born } from '../wire/start.js'
import { GivenStream, type HandedPart, type HandedStream } from '../wire/handed.js'
import { type CrossedStream, type Part, SentStream } from '../wire/streams.js'
import { type Packet, type Port, Wire } from '../wire/wire.js'
import type { Connections } from './connections.js'
import type { Host } from './host.js'
import type { Guest, Made } from './turns.js'

export class Page implements Guest {
  readonly #wire: Wire
  readonly #host: Host
  readonly #connections: Connections
  readonly #made = new Map<number, Made>()
  readonly #streams = new Map<number, SentStream | GivenStream>()
  #count = 0
  /** Whether the page has left or is gone. Objects that are made afterwards are not kept. */
  #gone = false

  constructor(port: Port, host: Host, connections: Connections) {
    this.#host = host
    this.#connections = connections
    this.#wire = new Wire(port, {
      givesBytes: true,
      answer: (on, method, args) => (on === 0 ? this.#onNode(method, args) : this.#onMade(on, method, args)),
      told: (what, detail) => this.#told(what, detail),
      sendStream: (value) => this.#send(value),
      part: (stream, part) => this.#streams.get(stream)?.take(part as never),
    })
  }

  receive(packet: Packet): void {
    this.#wire.receive(packet)
  }

  tell(what: string, detail?: unknown): void {
    this.#wire.tell(what, detail)
  }

  /** Closes the page's objects. Messages that subscriptions still hold can be read. */
  async release(): Promise<void> {
    this.#gone = true
    for (const stream of this.#streams.values()) stream.reset()
    await Promise.allSettled([...this.#made.values()].map((made) => made.close()))
  }

  async #onNode(method: string, args: unknown[]): Promise<unknown> {
    if (method === 'start') return this.#start(...(args as [Files, NodeConfig, OnProgress?, string?, Asked?]))
    if (method === 'close') return this.#host.leave(this)
    if (method === 'rest') return this.#host.rest(this)
    if (method === 'wake') return this.#host.wake(this)
    const { way } = (CALLS as Record<string, Call>)[method as CallName] ?? { way: 'plain' }
    if (way !== 'one' && way !== 'many') return this.#host.invoke(method, args)
    // The result is an object, and the page gets its number.
    const made = way === 'one' ? this.#host.take(this, method, args) : this.#host.invoke(method, args)
    const object = (await made) as Made
    if (this.#gone) {
      await object.close()
      throw new Error('the page is gone')
    }
    const id = ++this.#count
    this.#made.set(id, object)
    return id
  }

  #start(program: Files, config: NodeConfig, onProgress?: OnProgress, lock?: string, asked?: Asked): Promise<Born> {
    // A function that has crossed returns a promise, which rejects when its page is gone. The progress needs no answer.
    const tell = onProgress && ((progress: LoadProgress) => Promise.resolve(onProgress(progress)).catch(() => {}))
    return this.#host.start(program, config, { onProgress: tell, lock, asked })
  }

  async #onMade(on: number, method: string, args: unknown[]): Promise<unknown> {
    const object = this.#made.get(on)
    if (method !== 'end') return invoke(object, method, args)
    await object?.close()
    const dropped = await object?.dropped?.()
    this.#made.delete(on)
    return dropped
  }

  #told(what: string, detail: unknown): void {
    if (what === 'beat') this.#wire.tell('beat')
    else if (what === 'hello') this.#enter(detail as string)
    else if (what === 'bye') void this.#host.dismissed(this)
  }

  /** Adds the page. A page of a shared worker holds a lock as long as it exists. */
  #enter(lock: string | undefined): void {
    this.#host.enter(this)
    this.#wire.tell('hello')
    if (lock === undefined) return
    void navigator.locks.request(lock, () => {
      this.#wire.end(new Error('the page is gone'))
      return this.#host.lost(this)
    })
  }

  #send(value: object): CrossedStream | HandedStream | null {
    if (!('kind' in value && 'protocol' in value)) return null
    const raw = value as RawStream
    const id = ++this.#count
    const { peer, protocol } = raw
    const post = (part: Part | HandedPart, transfer?: Transferable[]) => this.#wire.part(id, part, transfer)
    const over = () => this.#streams.delete(id)
    if (raw.kind === 'channel' && !this.#gone) {
      const { channel, connection: _, ...state } = raw.state
      const place = this.#connections.handOver(channel, this)
      if (place !== undefined) {
        this.#streams.set(id, new GivenStream(raw, post, over))
        return { id, peer, protocol, place, state }
      }
    }
    const stream = peerStream(raw)
    if (this.#gone) stream.reset()
    else this.#streams.set(id, new SentStream(stream, post, over))
    return { id, peer, protocol }
  }
}
