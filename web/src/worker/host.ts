/** The node of a worker, and those who call it: the page that made a dedicated worker, or all the pages of a shared one. */
import { dialAhead } from '../ahead.js'
import { TomboloError } from '../errors.js'
import { FETCHING } from '../fetch.js'
import { type Files, loadModule, restFile } from '../load.js'
import { invoke, NODE_EVENTS, Program, type RawNode } from '../program.js'
import type { NodeConfig } from '../types.js'
import type { Born, Start } from '../wire/start.js'
import { type Guest, type Made, Turns } from './turns.js'

/** How long the identity of a worker that was ended may take to be free, in milliseconds. */
const LOCK_MS = 5_000
/** How long a shared worker waits for another page, in milliseconds. */
const GRACE_MS = 1_000

interface Running {
  readonly node: RawNode
  readonly born: Born
}

export class Host {
  readonly #shared: boolean
  readonly #gone: (guest: Guest) => void
  readonly #guests = new Set<Guest>()
  /** The pages that are frozen, or left and kept by the browser. */
  readonly #resting = new WeakSet<Guest>()
  readonly #turns: Turns
  #atRest = false
  #running: Promise<Running> | undefined
  #node: RawNode | undefined
  #closed: Promise<unknown> = Promise.resolve()

  /** `gone` hears of each page that is not there any more. */
  constructor(shared: boolean, gone: (guest: Guest) => void) {
    this.#shared = shared
    this.#gone = gone
    this.#turns = new Turns(
      (method, args) => this.invoke(method, args),
      (guest) => !this.#resting.has(guest),
    )
  }

  /** A page is there. */
  enter(guest: Guest): void {
    this.#guests.add(guest)
  }

  /**
   * Makes the node. Of a shared one, pages that come later hear what it is, and their relays are its relays, too. The program is a module, or
   * the address of one: a module cannot leave the pages for a shared worker.
   */
  async start(files: Files, config: NodeConfig, start: Start): Promise<Born> {
    let running: Running | undefined
    while (running === undefined) {
      if (this.#running === undefined) return handOut((await this.#begin(files, config, start)).born)
      running = await this.#running.catch(() => undefined) // what another page asked for is no failure of this one
    }
    await running.node.addRelays(config.relays ?? [])
    if (this.#atRest) await this.#wake()
    return handOut(running.born)
  }

  /** Makes a call on the node. */
  invoke(method: string, args: unknown[]): unknown {
    return invoke(this.#node, method, args)
  }

  /** Makes something that stays, and of which a node has only one: see `Turns`. */
  take(guest: Guest, method: string, args: unknown[]): Promise<Made> {
    return this.#turns.take(guest, method, args)
  }

  /** Whether a page is there, and neither frozen nor left. */
  isAwake(guest: Guest): boolean {
    return this.#guests.has(guest) && !this.#resting.has(guest)
  }

  /** A page is frozen, or left. */
  async rest(guest: Guest): Promise<void> {
    this.#resting.add(guest)
    await this.#rest()
  }

  /** A page is back, or has the network back. */
  async wake(guest: Guest): Promise<void> {
    this.#resting.delete(guest)
    await this.#wake()
  }

  /** A page has closed its node: what others use lives on. */
  async leave(guest: Guest): Promise<void> {
    if (!this.#guests.delete(guest)) return
    if (this.#guests.size > 0) {
      this.#gone(guest)
      await guest.release()
      return this.#rest()
    }
    const running = this.#running
    this.#running = undefined // whoever comes before the end has a node of its own
    const closed = running?.catch(() => undefined).then((running) => running?.node.close())
    this.#closed = Promise.resolve(closed)
      .catch(() => {})
      .then(() => this.#gone(guest)) // the node has closed its connections
    await closed
  }

  /**
   * The page has all that it was owed. A shared worker without any ends, since nobody else can end it; but not at once, for a page that finds it
   * in its end would wait for a word of it.
   */
  async dismissed(guest: Guest): Promise<void> {
    await this.leave(guest).catch(() => {}) // unless it has
    setTimeout(() => this.#guests.size === 0 && this.end(), GRACE_MS)
  }

  /** A page is gone without a word. If it was the last, the browser ends the worker, unless another one comes first. */
  async lost(guest: Guest): Promise<void> {
    this.#guests.delete(guest)
    this.#gone(guest)
    await guest.release()
    await this.#rest()
  }

  /** The node rests when all of its pages do; till then, what they have is had by those who are awake. */
  async #rest(): Promise<void> {
    const guests = [...this.#guests]
    if (guests.some((guest) => !this.#resting.has(guest))) await this.#turns.pass()
    else if (guests.length > 0) {
      this.#atRest = true
      await this.#node?.rest()
    }
  }

  async #wake(): Promise<void> {
    this.#atRest = false
    await this.#node?.wake()
    await this.#turns.pass()
  }

  /** The program is no more. */
  crashed(why: string): void {
    for (const guest of this.#guests) guest.tell('ended', why)
    this.end()
  }

  /** Another worker has taken the place of this one. */
  replaced(): void {
    const closed = Promise.resolve(this.#node?.close())
    void closed.catch(() => {}).then(() => this.end())
  }

  /** Ends a shared worker. A dedicated one is its page's to end. */
  end(): void {
    if (this.#shared) globalThis.close()
  }

  #begin(files: Files, config: NodeConfig, start: Start): Promise<Running> {
    const running = (this.#running = this.#make(files, config, start))
    running.catch(() => {
      if (this.#running === running) this.#running = undefined
    })
    return running
  }

  async #make(files: Files, config: NodeConfig, { onProgress, lock, asked }: Start): Promise<Running> {
    await this.#closed
    if (lock !== undefined) await this.#release(lock)
    const module = await loadModule(files.program, FETCHING.compile, onProgress)
    const answers = dialAhead(config, asked)
    const started = await Program.start(module, restFile(files, FETCHING))
    started.ended.addEventListener('abort', () => this.crashed((started.ended.reason as TomboloError).message))
    const node = await started.createNode(config, undefined, answers)
    this.#node = node
    for (const type of NODE_EVENTS) {
      node.addEventListener(type, (event) => {
        const { detail } = event as CustomEvent<unknown>
        for (const guest of this.#guests) guest.tell('event', { type, detail })
      })
    }
    const { id, network } = node
    const { version } = started
    const key = config.identity === undefined || config.identity === 'ephemeral' ? await node.privateKey?.() : undefined
    const held = node.lock === undefined ? {} : { lock: node.lock }
    return { node, born: { id, network, version, ...(key && { key }), ...held } }
  }

  /** Waits until nobody holds a lock. A shared worker that is stuck holds it for ever, and is robbed of it. */
  async #release(lock: string): Promise<void> {
    const { locks } = navigator
    const signal = AbortSignal.timeout(LOCK_MS)
    const free = await locks.request(lock, { signal }, () => true).catch(() => false)
    if (!free && this.#shared) await locks.request(lock, { steal: true }, () => {})
  }
}

/** What is answered is given away. */
function handOut(born: Born): Born {
  return born.key === undefined ? born : { ...born, key: born.key.slice() }
}
