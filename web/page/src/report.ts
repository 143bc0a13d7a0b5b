import type { PeerInfo } from '@tombolo/node'

/** One connection, as the peer at one end of it tells. */
export interface Connection {
  peer: string
  transport: string
  relayed: boolean
  /** The relay that it runs through. */
  relay?: string
  /** What the peer says it runs. */
  agent: string
}

/** What a page tells of itself. */
export interface Report {
  /** The relays that hold a reservation for it. */
  relays: string[]
  connections: Connection[]
  /** Connections that are not in the list, which has a bound. */
  more: number
  /** Whether it wants to know the same of all others. */
  asks: boolean
}

const MAX_CONNECTIONS = 256
const MAX_RELAYS = 16
const ID = /^[A-Za-z0-9]{32,128}$/

export function report(peers: PeerInfo[], relays: string[], asks: boolean): Report {
  const told = peers.slice(0, MAX_CONNECTIONS)
  return {
    relays: relays.slice(0, MAX_RELAYS),
    connections: told.map(({ id, transport, relayed, relay, agent }) => ({
      peer: id,
      transport,
      relayed,
      ...(relay !== undefined && { relay }),
      agent: agent.slice(0, 64),
    })),
    more: peers.length - told.length,
    asks,
  }
}

export function encodeReport(told: Report): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(told))
}

/** Reads what another page sent, which may be anything: what is not a report is none. */
export function decodeReport(bytes: Uint8Array): Report | undefined {
  let raw: unknown
  try {
    raw = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
  const { relays, connections, more, asks } = fields(raw)
  if (!Array.isArray(relays) || !Array.isArray(connections)) return undefined
  return {
    relays: relays.filter(isId).slice(0, MAX_RELAYS),
    connections: connections.slice(0, MAX_CONNECTIONS).flatMap(connection),
    more: typeof more === 'number' && more > 0 ? Math.floor(more) : 0,
    asks: asks === true,
  }
}

function connection(raw: unknown): Connection[] {
  const { peer, transport, relayed, relay, agent } = fields(raw)
  if (!isId(peer) || typeof transport !== 'string') return []
  return [
    {
      peer,
      transport: transport.slice(0, 32),
      relayed: relayed === true,
      ...(isId(relay) && { relay }),
      agent: typeof agent === 'string' ? agent.slice(0, 64) : '',
    },
  ]
}

function fields(raw: unknown): Record<string, unknown> {
  return typeof raw === 'object' && raw !== null ? (raw as Record<string, unknown>) : {}
}

function isId(raw: unknown): raw is string {
  return typeof raw === 'string' && ID.test(raw)
}
