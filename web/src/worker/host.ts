/** The node of a worker, and the pages that use it: the one that made a dedicated worker, or all pages of a shared one. */
import { dialAhead } from '../ahead.js'
import { TomboloError } from '../errors.js'
import { FETCHING } from '../fetch.js'
import { type Files, loadModule, restFile } from '../load.js'
import { invoke, NODE_EVENTS, Program, type RawNode } from '../program.js'
import type { NodeConfig } from '../types.js'
import type { Born, Start } from '../wire/start.js'
import { type Guest, type Made, Turns } from './turns.js'

/** How long it may take until the identity of a worker that was ended is free, in milliseconds. */
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
  /** The pages that are frozen, or in the back/forward cache. */
  readonly #resting = new WeakSet<Guest>()
  readonly #turns: Turns
  #atRest = false
  #running: Promise<Running> | undefined
  #node: RawNode | undefined
  #closed: Promise<unknown> = Promise.resolve()

  /** `gone` is called for each page that is gone. */
  constructor(shared: boolean, gone: (guest: Guest) => void) {
    this.#shared = shared
    this.#gone = gone
    this.#turns = new Turns(
      (method, args) => this.invoke(method, args),
      (guest) => !this.#resting.has(guest),
    )
  }

  /** Adds a page. */
  enter(guest: Guest): void {
    this.#guests.add(guest)
  }

  /**
   * Makes the node. For a shared node, pages that come later get its description, and their relays are added to it. The program is a
   * module, or the address of one, because a module cannot be sent to a shared worker.
   */
  async start(files: Files, config: NodeConfig, start: Start): Promise<Born> {
    let running: Running | undefined
    while (running === undefined) {
      if (this.#running === undefined) return handOut((await this.#begin(files, config, start)).born)
      running = await this.#running.catch(() => undefined) // a failure of another page's call is not one of this call
    }
    await running.node.addRelays(config.relays ?? [])
    if (this.#atRest) await this.#wake()
    return handOut(running.born)
  }

  /** Makes a call on the node. */
  invoke(method: string, args: unknown[]): unknown {
    return invoke(this.#node, method, args)
  }

  /** Makes something that lasts, and of which a node has only one: see `Turns`. */
  take(guest: Guest, method: string, args: unknown[]): Promise<Made> {
    return this.#turns.take(guest, method, args)
  }

  /** Reports whether a page exists and is neither frozen nor left. */
  isAwake(guest: Guest): boolean {
    return this.#guests.has(guest) && !this.#resting.has(guest)
  }

  /** Called when a page is frozen or left. */
  async rest(guest: Guest): Promise<void> {
    this.#resting.add(guest)
    await this.#rest()
  }

  /** Called when a page is back, or its network is. */
  async wake(guest: Guest): Promise<void> {
    this.#resting.delete(guest)
    await this.#wake()
  }

  /** Called when a page has closed its node. What other pages use stays open. */
  async leave(guest: Guest): Promise<void> {
    if (!this.#guests.delete(guest)) return
    if (this.#guests.size > 0) {
      this.#gone(guest)
      await guest.release()
      return this.#rest()
    }
    const running = this.#running
    this.#running = undefined // a page that comes before the end gets a new node
    const closed = running?.catch(() => undefined).then((running) => running?.node.close())
    this.#closed = Promise.resolve(closed)
      .catch(() => {})
      .then(() => this.#gone(guest)) // the node has closed its connections
    await closed
  }

  /**
   * Called when a page needs nothing more. A shared worker without pages ends, because nobody else can end it. It does not end at once,
   * because a page that finds it at its end would wait in vain for a message.
   */
  async dismissed(guest: Guest): Promise<void> {
    await this.leave(guest).catch(() => {}) // unless it already has
    setTimeout(() => this.#guests.size === 0 && this.end(), GRACE_MS)
  }

  /** Called when a page is gone without notice. If it was the last one, the browser ends the worker, unless another page comes first. */
  async lost(guest: Guest): Promise<void> {
    this.#guests.delete(guest)
    this.#gone(guest)
    await guest.release()
    await this.#rest()
  }

  /** Suspends the node if all its pages are frozen. Otherwise, what frozen pages have registered passes to pages that are awake. */
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

  /** Called when the program has ended. */
  crashed(why: string): void {
    for (const guest of this.#guests) guest.tell('ended', why)
    this.end()
  }

  /** Called when another worker has taken the place of this one. */
  replaced(): void {
    const closed = Promise.resolve(this.#node?.close())
    void closed.catch(() => {}).then(() => this.end())
  }

  /** Ends a shared worker. A dedicated one is ended by its page. */
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

  /** Waits until nobody holds a lock. From a stuck shared worker, which holds it forever, the lock is stolen. */
  async #release(lock: string): Promise<void> {
    const { locks } = navigator
    const signal = AbortSignal.timeout(LOCK_MS)
    const free = await locks.request(lock, { signal }, () => true).catch(() => false)
    if (!free && this.#shared) await locks.request(lock, { steal: true }, () => {})
  }
}

/** Copies the key, because answers are transferred. */
function handOut(born: Born): Born {
  return born.key === undefined ? born : { ...born, key: born.key.slice() }
}
