/** The place of a node's worker: one of the page's own, or one for all pages of the origin. */
import { TomboloError } from '../errors.js'
import { absolute, type WasmSource } from '../load.js'
import type { NodeConfig } from '../types.js'
import { type Connections, offerConnections } from './connections.js'
import { isBytes, isModule } from '../values.js'
import { type Packet, type Port, PROTOCOL } from '../wire/wire.js'

/** Makes workers on a platform. */
export interface Workers {
  dedicated(): Worker
  shared(name: string): SharedWorker
}

/** A worker that was hired for one life of a node. */
export interface Hired {
  readonly port: Port & { onmessage: ((event: MessageEvent<Packet>) => void) | null }
  /** The lock that this page holds as long as it exists. A shared worker cannot learn of the page's end in another way. */
  readonly lock: string | undefined
  readonly connections: Connections
  onerror: ((event: Partial<ErrorEvent>) => void) | null
  /** Called when another worker must be used instead. */
  onreplaced: (() => void) | null
  dismiss(): void
}

export interface Place {
  readonly kind: 'dedicated' | 'shared'
  hire(): Promise<Hired>
}

export class DedicatedPlace implements Place {
  readonly kind = 'dedicated'
  readonly #spawn: () => Worker

  constructor(spawn: () => Worker) {
    this.#spawn = spawn
  }

  async hire(): Promise<Hired> {
    const worker = spawned(this.#spawn)
    const connections = offerConnections(worker, false)
    const hired: Hired = {
      port: worker,
      lock: undefined,
      connections,
      onerror: null,
      onreplaced: null,
      dismiss() {
        worker.onmessage = worker.onerror = null
        worker.terminate()
        connections.close()
      },
    }
    worker.onerror = (event) => {
      event.preventDefault()
      hired.onerror?.(event)
    }
    return hired
  }
}

/** Makes a worker. A script of another origin cannot be one, and is refused at once. */
function spawned<W>(spawn: () => W, otherwise?: () => void): W {
  try {
    return spawn()
  } catch (cause) {
    otherwise?.()
    const hint = "serve the package from the page's own origin, or have the node in the page, with worker: 'none'"
    throw new TomboloError('worker-unreachable', `the worker of the node cannot be made (${hint}): ${String(cause)}`, {
      cause,
    })
  }
}

/**
 * A page cannot end a shared worker, and in Chromium a shared worker cannot have workers of its own that it could end. So a stuck one is
 * left alone, and the pages move to the next one of its name. These workers are numbered. Each holds a Web Lock of its name and number, and
 * the highest number is the one to use. A page that finds that worker stuck moves to the next number. The new worker announces itself, and
 * all pages follow.
 */
export class SharedPlace implements Place {
  readonly kind = 'shared'
  readonly #spawn: (name: string) => SharedWorker
  readonly #name: string
  #generation = 0

  private constructor(spawn: (name: string) => SharedWorker, name: string) {
    this.#spawn = spawn
    this.#name = name
  }

  /** Reports whether the platform has what this needs. Web Locks exist only in secure contexts. */
  static available(): boolean {
    return [globalThis.SharedWorker, globalThis.BroadcastChannel, navigator.locks].every((has) => has !== undefined)
  }

  /** Returns the place of the node that all pages with the same options share. Relays may differ: the node uses all of them. */
  static async of(spawn: (name: string) => SharedWorker, program: string, config: NodeConfig): Promise<SharedPlace> {
    const { relays, identity, ...rest } = config
    const key = isBytes(identity) ? [...identity] : identity
    const options = JSON.stringify([PROTOCOL, program, key ?? null, Object.entries(rest).sort()])
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(options)))
    const hex = [...digest.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    return new SharedPlace(spawn, `tombolo ${String(config.network ?? '')} ${hex}`)
  }

  async hire(): Promise<Hired> {
    const channel = new BroadcastChannel(this.#name)
    const page = await this.#presence()
    const generation = (this.#generation = Math.max(await this.#highest(), this.#generation + 1))
    const leave = () => {
      channel.close()
      page.leave()
    }
    const worker = spawned(() => this.#spawn(`${this.#name}#${generation}`), leave)
    const connections = offerConnections(worker.port, true)
    const hired: Hired = {
      port: worker.port,
      lock: page.lock,
      connections,
      onerror: null,
      onreplaced: null,
      dismiss() {
        worker.port.onmessage = worker.onerror = null
        worker.port.close()
        connections.close()
        leave()
      },
    }
    worker.onerror = (event) => hired.onerror?.(event as Partial<ErrorEvent>)
    channel.onmessage = ({ data }) => {
      if (data > generation) hired.onreplaced?.()
    }
    return hired
  }

  /** Resolves to the highest number of a worker of this name. */
  async #highest(): Promise<number> {
    const { held = [] } = await navigator.locks.query()
    const prefix = `${this.#name}#`
    const numbers = held.map(({ name }) => (name?.startsWith(prefix) ? Number(name.slice(prefix.length)) : 0))
    return Math.max(0, ...numbers)
  }

  /** Holds a lock as long as this page exists, so that the worker notices when it is gone. */
  async #presence(): Promise<{ lock: string; leave(): void }> {
    const lock = `${this.#name} page ${crypto.randomUUID()}`
    return new Promise((resolve, reject) => {
      const held = navigator.locks.request(lock, () => new Promise<void>((leave) => resolve({ lock, leave })))
      held.catch((cause: unknown) => {
        const hint =
          "this page's origin has no Web Locks: have the node in a worker of its own, with worker: 'dedicated'"
        reject(new TomboloError('worker-unreachable', `${hint} (${String(cause)})`, { cause }))
      })
    })
  }
}

/** Chooses the place of a node. Null means the calling thread. */
export async function choosePlace(
  worker: string,
  workers: Workers | undefined,
  wasm: WasmSource,
  config: NodeConfig,
): Promise<Place | null> {
  const choices = workers === undefined ? ['none'] : ['none', 'dedicated', 'shared']
  if (!choices.includes(worker)) {
    const all = choices.map((choice) => `"${choice}"`).join(', ')
    throw new TomboloError('option', `worker: ${JSON.stringify(worker)} cannot be had: the choices here are ${all}`)
  }
  if (worker === 'none' || workers === undefined) return null
  if (worker === 'dedicated' || !SharedPlace.available()) return new DedicatedPlace(workers.dedicated)
  if (isModule(wasm)) {
    throw new TomboloError('option', 'wasm: a shared worker loads the program by its address, and is given no module')
  }
  return SharedPlace.of(workers.shared, absolute(wasm).href, config)
}
