import type { LogLevel } from '@tombolo/node'
import { anyOf } from './signals.js'

/** The settings in the page's address. */
export interface PageConfig {
  /** Use this relay instead of the one that serves the page. */
  relay: string | undefined
  /** Use this transport only. */
  transport: 'webtransport' | 'websocket' | 'webrtc-direct' | undefined
  /** Connect to these peers (peer IDs or multiaddrs). */
  peers: string[]
  identity: 'persistent' | 'ephemeral'
  /** Where the node runs. */
  worker: 'none' | 'dedicated' | 'shared'
  /** Whether the node tries direct connections to peers that it reaches over a relay. */
  direct: 'auto' | 'never'
  /** What the node logs. */
  log: LogLevel
}

/** A relay to connect to, and the network it belongs to. */
export interface RelayDescription {
  id: string
  addrs: string[]
  /** Undefined if the relay was given by its address. */
  network: string | undefined
}

/** How long the page's server may take to describe its relay, in ms. */
const PATIENCE_MS = 10_000

const TRANSPORTS = ['webtransport', 'websocket', 'webrtc-direct'] as const
const LOG_LEVELS: LogLevel[] = ['debug', 'info', 'warn', 'error', 'off']

export function readConfig(search: string, secure: boolean): PageConfig {
  const query = new URLSearchParams(search)
  const transport = query.get('transport')
  const worker = query.get('worker')
  return {
    relay: query.get('relay') ?? undefined,
    transport: TRANSPORTS.find((name) => name === transport),
    peers: query.getAll('peer').filter((peer) => peer !== ''),
    identity: secure && query.get('identity') !== 'ephemeral' ? 'persistent' : 'ephemeral',
    worker: worker === 'none' || worker === 'shared' ? worker : 'dedicated',
    direct: query.get('direct') === 'auto' ? 'auto' : 'never',
    log: LOG_LEVELS.find((level) => level === query.get('log')) ?? 'info',
  }
}

/** Asks the server of the page for its relay, unless the page's address names one. */
export async function describeRelay(config: PageConfig, signal: AbortSignal): Promise<RelayDescription> {
  if (config.relay !== undefined) {
    const id = peerIdOf(config.relay)
    if (id === undefined) throw new Error(`relay: ${config.relay} does not end in /p2p/<peer id>`)
    return { id, addrs: [config.relay], network: undefined }
  }
  const late = AbortSignal.timeout(PATIENCE_MS)
  // The same request that the HTML preloads: see site-plugin.ts.
  const response = await fetch('/.well-known/tombolo', { signal: anyOf(signal, late) })
  if (!response.ok) throw new Error(`/.well-known/tombolo was answered with HTTP ${response.status}`)
  const told = (await response.json()) as { peerId?: unknown; network?: unknown; addrs?: unknown }
  if (typeof told.peerId !== 'string' || !Array.isArray(told.addrs)) {
    throw new Error('/.well-known/tombolo does not have a peerId and addrs')
  }
  const id = told.peerId
  const addrs = told.addrs.map(String)
  return { id, addrs, network: typeof told.network === 'string' ? told.network : undefined }
}

/** Returns the last peer ID in a multiaddr. */
export function peerIdOf(addr: string): string | undefined {
  return /\/p2p\/([A-Za-z0-9]+)$/.exec(addr)?.[1]
}
