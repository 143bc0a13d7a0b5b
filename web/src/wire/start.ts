import type { Asked } from '../ask.js'
import type { OnProgress } from '../load.js'

/** What may be passed to a worker beside the options of the node. */
export interface Start {
  /** Called with the progress of the program, if the worker loads it. */
  onProgress?: OnProgress | undefined
  /** The lock of the identity that the node had in the previous worker. */
  lock?: string | undefined
  /** The answers of relays. */
  asked?: Asked | undefined
}

/** What a page learns about a node that has started. */
export interface Born {
  id: string
  network: string
  version: string
  /** The private key of a node whose key is not stored, so that a node that replaces it can have the same identity. */
  key?: Uint8Array
  /** The name of the Web Lock that holds a persistent identity. */
  lock?: string
}
