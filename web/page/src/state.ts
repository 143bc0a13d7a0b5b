import type { PeerInfo, Service } from '@tombolo/node'
import type { Problem } from './problems.js'
import type { ShownSite } from './sites.js'

/**
 * - `loading`: the program is on its way
 * - `joining`: the node runs, and no relay has given it a reservation yet
 * - `joined`: it holds a reservation, and so it can be called
 * - `adrift`: it had one, and is trying to get it back
 * - `failed`: there is no node, or no more
 */
export type Phase = 'loading' | 'joining' | 'joined' | 'adrift' | 'failed'

export interface Load {
  /** Bytes of the transfer that have arrived, and that there are. `total` is 0 before the first byte. */
  done: number
  total: number
}

export interface Self {
  id: string
  network: string
  version: string
  identity: 'persistent' | 'ephemeral'
  addrs: string[]
}

export interface RelayState {
  id: string
  /** When the reservation ends unless renewed. */
  expires: number | undefined
}

export type LogKind = 'note' | 'connect' | 'disconnect' | 'reserved' | 'lost' | 'echo' | 'error'

export interface LogEntry {
  n: number
  at: number
  kind: LogKind
  text: string
  /** The peer that the entry is about. */
  peer: string | undefined
}

export interface EchoResult {
  n: number
  peer: string
  text: string
  bytes: number
  /** Milliseconds, once the bytes came back. */
  ms: number | undefined
  error: string | undefined
}

/** The site in the gateway's frame. */
export interface Site {
  peer: string
  protocol: string
  /** Once it is known how. */
  shown: ShownSite | undefined
  /** Why it cannot be shown. */
  error: string | undefined
}

export interface State {
  phase: Phase
  load: Load
  self: Self | undefined
  relay: RelayState | undefined
  peers: PeerInfo[]
  log: LogEntry[]
  echoes: EchoResult[]
  /** What connected peers offer. */
  services: Service[]
  site: Site | undefined
  /** Why there is no node. */
  failure: Problem | undefined
  /** What is not as it should be, though the node runs. */
  notices: Problem[]
}

export const initialState: State = {
  phase: 'loading',
  load: { done: 0, total: 0 },
  self: undefined,
  relay: undefined,
  peers: [],
  log: [],
  echoes: [],
  services: [],
  site: undefined,
  failure: undefined,
  notices: [],
}

/** Holds the state; tells once per turn of the event loop that it has changed, however many messages come in one. */
export class Store<T extends object> {
  #state: T
  #told = true
  readonly #turn = new MessageChannel() // unlike a timer, not slowed down in a tab that nobody looks at

  constructor(initial: T, onChange: (state: T) => void) {
    this.#state = initial
    this.#turn.port1.onmessage = () => {
      this.#told = true
      onChange(this.#state)
    }
  }

  get state(): T {
    return this.#state
  }

  set(change: Partial<T>): void {
    this.#state = { ...this.#state, ...change }
    if (!this.#told) return
    this.#told = false
    this.#turn.port2.postMessage(null)
  }
}
