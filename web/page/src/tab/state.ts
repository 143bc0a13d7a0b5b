import type { PeerInfo, Service } from '@tombolo/node'
import type { Failure } from '../failures.js'
import type { Problem } from '../problems.js'
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

/** The site in the gateway's frame. */
export interface Site {
  peer: string
  protocol: string
  /** Once it is known how. */
  shown: ShownSite | undefined
  /** Why it cannot be shown. */
  failure: Failure | undefined
}

export interface State {
  phase: Phase
  load: Load
  self: Self | undefined
  relay: RelayState | undefined
  peers: PeerInfo[]
  log: LogEntry[]
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
  services: [],
  site: undefined,
  failure: undefined,
  notices: [],
}
