import type { Heard } from './mesh.js'

/** `native` is any peer that is neither a tab nor a relay. */
export type Role = 'tab' | 'relay' | 'native'

export const ROLES: Role[] = ['tab', 'relay', 'native']

export interface Vertex {
  id: string
  role: Role
  agent: string
  /** How many connections the peer has beyond those that it listed. */
  more: number
}

/**
 * - `direct`: a direct connection
 * - `relayed`: a connection through a relay
 * - `heard`: broadcasts pass between the two, over connections that no reporting peer is an end of
 */
export type Way = 'direct' | 'relayed' | 'heard'

export interface Edge {
  key: string
  /** The two ends, the smaller ID first. */
  ends: readonly [string, string]
  way: Way
  transport: string
  relay: string | undefined
  /** The peers that reported the edge. */
  told: string[]
}

export interface Graph {
  vertices: Map<string, Vertex>
  edges: Edge[]
  /** How many peers and connections were left out for lack of room. */
  left: { vertices: number; edges: number }
}

/** What a peer reported about itself, or what this tab knows about itself. */
export interface Account extends Pick<Heard['report'], 'connections' | 'relays' | 'more'> {
  id: string
  /** The neighbour that passed the report on to this tab. */
  via: string | undefined
}

/** The most peers in a lane, however many there are or a report invents, so that the picture stays readable. */
export const MAX_LANE = 14
const MAX_EDGES = 150

/** Merges all accounts. The first is this tab's own and takes its room first; the other pages' come next. */
export function graphOf(accounts: Account[]): Graph {
  const graph = new GraphMaker()
  const [own, ...others] = accounts
  if (own !== undefined) {
    graph.addVertex(own.id, 'tab', '', own.more)
    graph.addAccount(own)
  }
  for (const { id, more } of others) graph.addVertex(id, 'tab', '', more)
  graph.addAccounts(others)
  for (const edge of unseen(accounts)) graph.addEdge(edge)
  return graph.made()
}

class GraphMaker {
  readonly #vertices = new Map<string, Vertex>()
  readonly #edges = new Map<string, Edge>()
  readonly #lanes: Record<Role, number> = { tab: 0, relay: 0, native: 0 }
  readonly #left = { vertices: new Set<string>(), edges: new Set<string>() }

  addAccount({ id, relays, connections }: Account): void {
    for (const relay of relays) this.addVertex(relay, 'relay', '')
    for (const connection of connections) this.#addConnection(id, connection)
  }

  /** Adds one connection of each account in turn, so that a peer that lists many does not crowd out the others. */
  addAccounts(accounts: Account[]): void {
    const most = Math.max(0, ...accounts.map(({ relays, connections }) => Math.max(relays.length, connections.length)))
    for (let i = 0; i < most; i++) {
      for (const { id, relays, connections } of accounts) {
        if (relays[i] !== undefined) this.addVertex(relays[i]!, 'relay', '')
        if (connections[i] !== undefined) this.#addConnection(id, connections[i]!)
      }
    }
  }

  #addConnection(id: string, { peer, agent, relay, relayed, transport }: Account['connections'][number]): void {
    if (peer === id) return
    this.addVertex(peer, roleOf(agent), agent)
    if (relay !== undefined) this.addVertex(relay, 'relay', '')
    this.addEdge(makeEdge(id, { peer, way: relayed ? 'relayed' : 'direct', transport, relay }, id))
  }

  /** Adds a peer, or what is new about it. That a peer is a relay or a tab may be known from more than its agent. */
  addVertex(id: string, role: Role, agent: string, more = 0): void {
    const known = this.#vertices.get(id)
    if (known !== undefined) {
      if (known.role === 'native' && this.#hasRoom(role)) this.#move(known, role)
      if (known.agent === '') known.agent = agent
      known.more ||= more
    } else if (this.#hasRoom(role)) {
      this.#lanes[role]++
      this.#vertices.set(id, { id, role, agent, more })
    } else this.#left.vertices.add(id)
  }

  #hasRoom(role: Role): boolean {
    return this.#lanes[role] < MAX_LANE
  }

  #move(vertex: Vertex, role: Role): void {
    this.#lanes[vertex.role]--
    this.#lanes[role]++
    vertex.role = role
  }

  addEdge(edge: Edge): void {
    const known = this.#edges.get(edge.key)
    if (known !== undefined) known.told.push(...edge.told.filter((who) => !known.told.includes(who)))
    else if (this.#edges.size < MAX_EDGES && edge.ends.every((id) => this.#vertices.has(id)))
      this.#edges.set(edge.key, edge)
    else this.#left.edges.add(edge.key)
  }

  made(): Graph {
    const left = { vertices: this.#left.vertices.size, edges: this.#left.edges.size }
    return { vertices: this.#vertices, edges: [...this.#edges.values()], left }
  }
}

function roleOf(agent: string): Role {
  if (agent.startsWith('tombolo-relay/')) return 'relay'
  return /^tombolo\/.* \(js\)$/.test(agent) ? 'tab' : 'native'
}

interface To extends Pick<Edge, 'way' | 'transport' | 'relay'> {
  peer: string
}

function makeEdge(from: string, { peer, way, transport, relay }: To, told: string): Edge {
  const ends = from < peer ? ([from, peer] as const) : ([peer, from] as const)
  const by = way === 'direct' ? transport : ''
  return { key: [...ends, way, by, relay ?? ''].join(' '), ends, way, transport: by, relay, told: [told] }
}

/**
 * Infers connections that nobody reports. Relays and daemons are not asked, so nobody reports a connection between two of them. But if a
 * page's report arrived although no chain of reported connections leads to that page, it came over such a connection. The connection does
 * not end at a page, which would have reported it. So it runs from the relay of the neighbour that passed the report on, or from that
 * neighbour itself, to the relay of the page that made the report.
 */
function unseen(accounts: Account[]): Edge[] {
  const self = accounts[0]
  if (self === undefined) return []
  const found: Edge[] = []
  const pages = new Map(accounts.map((account) => [account.id, account]))
  const silentEnd = (id: string) => {
    const page = pages.get(id)
    if (page === undefined) return id
    const silent = page.connections.filter(({ peer, relayed }) => !relayed && !pages.has(peer)).map(({ peer }) => peer)
    return silent.find((peer) => page.relays.includes(peer)) ?? silent[0]
  }
  const groups = new Groups()
  for (const { id, connections } of accounts) {
    for (const { peer, relay } of connections) {
      groups.join(id, peer)
      if (relay !== undefined) groups.join(id, relay)
    }
  }
  for (const { id, via } of accounts.slice(1)) {
    if (via === undefined || via === id || groups.same(self.id, id)) continue
    const [near, far] = [silentEnd(via), silentEnd(id)]
    if (near === undefined || far === undefined || !groups.same(self.id, near)) continue
    groups.join(near, far)
    found.push(makeEdge(near, { peer: far, way: 'heard', transport: '', relay: undefined }, self.id))
  }
  return found
}

/** Which peers are connected, directly or through others (a disjoint-set forest). */
class Groups {
  readonly #parents = new Map<string, string>()

  join(a: string, b: string): void {
    this.#parents.set(this.#root(a), this.#root(b))
  }

  same(a: string, b: string): boolean {
    return this.#root(a) === this.#root(b)
  }

  #root(id: string): string {
    let root = id
    for (let above; (above = this.#parents.get(root)) !== undefined && above !== root;) root = above
    if (root !== id) this.#parents.set(id, root)
    return root
  }
}
