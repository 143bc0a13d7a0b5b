import type { Asked } from '../ask.js'
import type { OnProgress } from '../load.js'

/** What may be given with the options of a node. */
export interface Start {
  /** Hears how far the program is, where the worker loads it. */
  onProgress?: OnProgress | undefined
  /** The lock of the identity that the node had in the worker before this one. */
  lock?: string | undefined
  /** What relays have answered. */
  asked?: Asked | undefined
}

/** What a page is told of a node that has started. */
export interface Born {
  id: string
  network: string
  version: string
  /** The private key of a node whose key is kept nowhere, so that one that takes its place has it. */
  key?: Uint8Array
  /** The name of the Web Lock that holds a persistent identity. */
  lock?: string
}
