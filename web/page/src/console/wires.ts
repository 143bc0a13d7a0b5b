import type { ListenerInfo, StreamInfo, TomboloNode } from '@tombolo/node'
import { closeFailure, lookFailure, type Failure } from '../failures.js'
import { Store } from '../source.js'

export interface WiresState {
  listeners: ListenerInfo[]
  streams: StreamInfo[]
  /** Why the lists could not be read. */
  unseen: Failure | undefined
  /** Why a stream could not be closed. */
  failure: Failure | undefined
}

/** This tab's listeners, and the open streams. Each read refreshes them, including those of the plots. */
export class Wires {
  readonly view = new Store<WiresState>({ listeners: [], streams: [], unseen: undefined, failure: undefined })
  #node: TomboloNode | undefined

  start(node: TomboloNode, signal: AbortSignal): void {
    this.#node = node
    signal.addEventListener('abort', () => {
      this.#node = undefined
      this.view.change({ listeners: [], streams: [] })
    })
  }

  async read(node: TomboloNode): Promise<StreamInfo[]> {
    try {
      const [listeners, streams] = await Promise.all([node.listeners(), node.streams()])
      if (this.#node === node) this.view.change({ listeners, streams, unseen: undefined })
      return streams
    } catch (error) {
      this.view.change({ unseen: lookFailure(error) })
      throw error
    }
  }

  async close(stream: number): Promise<void> {
    this.view.change({ failure: undefined })
    try {
      await this.#node?.closeStream(stream)
    } catch (error) {
      this.view.change({ failure: closeFailure(error) })
    }
    await this.look()
  }

  /** Refreshes the lists now. */
  async look(): Promise<void> {
    if (this.#node !== undefined) await this.read(this.#node).catch(() => {}) // the view shows the failure
  }
}
