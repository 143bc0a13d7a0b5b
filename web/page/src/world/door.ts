import type { TomboloNode } from '@tombolo/node'
import { loadFailure, type Failure } from '../failures.js'
import { Store } from '../source.js'
import type { Play } from './play.js'
import type { WorldView } from './world-view.js'

/** The code of the world, once it is loaded. */
export interface Inside {
  play: Play
  View: typeof WorldView
}

export interface DoorState {
  phase: 'closed' | 'opening' | 'open'
  inside: Inside | undefined
  failure: Failure | undefined
}

/** Loads the world when its view is opened, so that the page's first load is smaller. */
export class Door {
  readonly view = new Store<DoorState>({ phase: 'closed', inside: undefined, failure: undefined })
  #begin!: (node: TomboloNode, signal: AbortSignal) => void
  readonly #begun = new Promise<[TomboloNode, AbortSignal]>((resolve) => {
    this.#begin = (node, signal) => resolve([node, signal])
  })

  start(node: TomboloNode, signal: AbortSignal): void {
    this.#begin(node, signal)
  }

  async open(): Promise<void> {
    if (this.view.value.phase !== 'closed') return
    this.view.change({ phase: 'opening', failure: undefined })
    try {
      const { Play, WorldView } = await import('./world-view.js')
      const [node, signal] = await this.#begun
      this.view.change({ phase: 'open', inside: { play: new Play(node, signal), View: WorldView } })
    } catch (error) {
      this.view.change({ phase: 'closed', failure: loadFailure(error) })
    }
  }
}
