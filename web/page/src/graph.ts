import type { Heard } from './mesh.js'
import type { Connection } from './report.js'

/** `native` is everybody that is neither a tab nor a relay. */
export type Role = 'tab' | 'relay' | 'native'

export const ROLES: Role[] = ['tab', 'relay', 'native']

export interface Vertex {
  id: string
  role: Role
  agent: string
}

/**
 * - `direct`: a connection of their own
 * - `relayed`: a connection through a relay
 * - `heard`: broadcasts pass between the two, by connections that nobody who is asked has an end of
 */
export type Way = 'direct' | 'relayed' | 'heard'

export interface Edge {
  key: string
  /** The two ends, the lesser id first. */
  ends: readonly [string, string]
  way: Way
  transport: string
  relay: string | undefined
  /** Who says so. */
  told: string[]
}

export interface Graph {
  vertices: Map<string, Vertex>
  edges: Edge[]
}

/** What a peer says of itself, or this tab knows of itself. */
export interface Account extends Pick<Heard['report'], 'connections' | 'relays'> {
  id: string
  /** The neighbour of this tab by which it was heard. */
  via: string | undefined
}

/** Puts together what all say. The first account is this tab's own. */
export function graphOf(accounts: Account[]): Graph {
  const vertices = new Map<string, Vertex>()
  const edges = new Map<string, Edge>()
  for (const { id, relays } of accounts) {
    addVertex(vertices, id, 'tab', '')
    for (const relay of relays) addVertex(vertices, relay, 'relay', '')
  }
  for (const { id, connections } of accounts) {
    for (const connection of connections) {
      if (connection.peer === id) continue
      addVertex(vertices, connection.peer, roleOf(connection.agent), connection.agent)
      if (connection.relay !== undefined) addVertex(vertices, connection.relay, 'relay', '')
      addEdge(edges, id, connection)
    }
  }
  for (const edge of unseen(accounts, [...edges.values()])) edges.set(edge.key, edge)
  return { vertices, edges: [...edges.values()] }
}

function roleOf(agent: string): Role {
  if (agent.startsWith('tombolo-relay/')) return 'relay'
  return /^tombolo\/.* \(js\)$/.test(agent) ? 'tab' : 'native'
}

/** That somebody is a relay, or a tab, is known from more than what it calls itself. */
function addVertex(vertices: Map<string, Vertex>, id: string, role: Role, agent: string): void {
  const known = vertices.get(id)
  if (known === undefined) vertices.set(id, { id, role, agent })
  else {
    if (known.role === 'native') known.role = role
    if (known.agent === '') known.agent = agent
  }
}

function addEdge(edges: Map<string, Edge>, from: string, { peer, transport, relayed, relay }: Connection): void {
  const edge = makeEdge(from, peer, relayed ? 'relayed' : 'direct', relayed ? '' : transport, relay)
  const known = edges.get(edge.key) ?? edge
  known.told.push(from)
  edges.set(edge.key, known)
}

function makeEdge(a: string, b: string, way: Way, transport: string, relay: string | undefined): Edge {
  const ends = a < b ? ([a, b] as const) : ([b, a] as const)
  return { key: [...ends, way, transport, relay ?? ''].join(' '), ends, way, transport, relay, told: [] }
}

/**
 * Relays and daemons are not asked, so that a connection between two of them is told by nobody. But a page that was heard, though no chain of
 * connections leads to it, was heard through one. It has no end at a page, which would have told of it: so it lies between the relay of who
 * handed the report on, or that neighbour itself, and the relay of who made it.
 */
function unseen(accounts: Account[], edges: Edge[]): Edge[] {
  const self = accounts[0]
  const found: Edge[] = []
  const pages = new Map(accounts.map((account) => [account.id, account]))
  const silentEnd = (id: string) => {
    const page = pages.get(id)
    if (page === undefined) return id
    const silent = page.connections.filter(({ peer, relayed }) => !relayed && !pages.has(peer)).map(({ peer }) => peer)
    return silent.find((peer) => page.relays.includes(peer)) ?? silent[0]
  }
  for (const { id, via } of accounts.slice(1)) {
    if (self === undefined || via === undefined || via === id) continue
    const reached = component([...edges, ...found], self.id)
    const [near, far] = [silentEnd(via), silentEnd(id)]
    if (near === undefined || far === undefined || reached.has(id) || !reached.has(near)) continue
    found.push({ ...makeEdge(near, far, 'heard', '', undefined), told: [self.id] })
  }
  return found
}

function component(edges: Edge[], from: string): Set<string> {
  const reached = new Set([from])
  for (let size = 0; size < reached.size;) {
    size = reached.size
    for (const { ends, relay } of edges) {
      const joined = relay === undefined ? ends : [...ends, relay]
      if (joined.some((id) => reached.has(id))) joined.forEach((id) => reached.add(id))
    }
  }
  return reached
}
