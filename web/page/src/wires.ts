import type { ListenerInfo, StreamInfo, TomboloNode } from '@tombolo/node'
import { Store } from './state.js'

const LOOK_MS = 2_000

export interface WiresState {
  listeners: ListenerInfo[]
  streams: StreamInfo[]
  /** Why they could not be looked up, or one not be closed. */
  error: string | undefined
}

/** What this tab's node listens on, and the streams that are open. */
export class Wires {
  readonly #store: Store<WiresState>
  #node: TomboloNode | undefined

  constructor(onChange: () => void) {
    this.#store = new Store<WiresState>({ listeners: [], streams: [], error: undefined }, onChange)
  }

  get state(): WiresState {
    return this.#store.state
  }

  run(node: TomboloNode): void {
    this.#node = node
    const timer = setInterval(() => void this.look(), LOOK_MS)
    node.addEventListener('error', ({ detail }) => {
      if (!detail.fatal) return
      clearInterval(timer)
      this.#store.set({ listeners: [], streams: [] })
    })
    void this.look()
  }

  /** Looks now, while somebody sees it. */
  async look(): Promise<void> {
    if (this.#node === undefined || document.hidden) return
    await this.#try(async (node) => {
      const [listeners, streams] = await Promise.all([node.listeners(), node.streams()])
      this.#store.set({ listeners, streams, error: undefined })
    })
  }

  async close(stream: number): Promise<void> {
    await this.#try((node) => node.closeStream(stream))
    await this.look()
  }

  async #try(f: (node: TomboloNode) => Promise<void>): Promise<void> {
    try {
      await f(this.#node!)
    } catch (error) {
      this.#store.set({ error: error instanceof Error ? error.message : String(error) })
    }
  }
}
