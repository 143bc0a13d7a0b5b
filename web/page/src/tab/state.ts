import type { PeerInfo, Service } from '@tombolo/node'
import type { Failure } from '../failures.js'
import type { Problem } from '../problems.js'
import type { ShownSite } from './sites.js'

/**
 * - `loading`: the program is loading
 * - `joining`: the node runs, but has no reservation on a relay yet
 * - `joined`: the node has a reservation, so other peers can reach it
 * - `adrift`: the node lost its reservation and is trying to get it back
 * - `failed`: the node could not be created, or has ended
 */
export type Phase = 'loading' | 'joining' | 'joined' | 'adrift' | 'failed'

export interface Load {
  /** Bytes that have arrived, and the total. `total` is 0 before the first byte. */
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
  /** When the reservation expires unless it is renewed. */
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
  /** Undefined until it is known. */
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
  /** The services that connected peers offer. */
  services: Service[]
  site: Site | undefined
  /** Why there is no node. */
  failure: Problem | undefined
  /** Problems that do not stop the node. */
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
