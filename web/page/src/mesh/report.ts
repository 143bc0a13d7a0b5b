import type { PeerInfo } from '@tombolo/node'
import { knownTransport, plain } from '../ui/format.js'

/** One connection, as reported by one of its ends. */
export interface Connection {
  peer: string
  transport: string
  relayed: boolean
  /** The relay that the connection runs through. */
  relay?: string
  /** The peer's agent, as it gave it. */
  agent: string
}

/** What a page reports about itself. */
export interface Report {
  /** The relays that hold a reservation for it. */
  relays: string[]
  connections: Connection[]
  /** How many connections the list leaves out, since its length is bounded. */
  more: number
  /** How soon it wants answers from all others, in milliseconds; 0 if it does not ask. */
  asks: number
}

const MAX_CONNECTIONS = 200
const MAX_AGENT = 64
const MAX_RELAYS = 16
const ID = /^[A-Za-z0-9]{32,128}$/

export function report(peers: PeerInfo[], relays: string[], asks: number): Report {
  const told = peers.slice(0, MAX_CONNECTIONS)
  return {
    relays: relays.slice(0, MAX_RELAYS),
    connections: told.map(({ id, transport, relayed, relay, agent }) => ({
      peer: id,
      transport: knownTransport(transport),
      relayed,
      ...(relay !== undefined && { relay }),
      agent: plain(agent, MAX_AGENT),
    })),
    more: peers.length - told.length,
    asks,
  }
}

export function encodeReport(told: Report): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(told))
}

/** Decodes a report. Another page may send anything: returns undefined if it is not a report. */
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
    more: natural(more),
    asks: natural(asks),
  }
}

function connection(raw: unknown): Connection[] {
  const { peer, transport, relayed, relay, agent } = fields(raw)
  if (!isId(peer) || typeof transport !== 'string') return []
  return [
    {
      peer,
      transport: knownTransport(transport),
      relayed: relayed === true,
      ...(isId(relay) && { relay }),
      agent: typeof agent === 'string' ? plain(agent, MAX_AGENT) : '',
    },
  ]
}

function fields(raw: unknown): Record<string, unknown> {
  return typeof raw === 'object' && raw !== null ? (raw as Record<string, unknown>) : {}
}

function natural(raw: unknown): number {
  return Number.isSafeInteger(raw) ? Math.max(0, raw as number) : 0
}

function isId(raw: unknown): raw is string {
  return typeof raw === 'string' && ID.test(raw)
}
