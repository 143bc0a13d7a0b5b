import type { Edge, Graph, Vertex } from './graph.js'
import type { State } from '../tab/state.js'
import { count, transportName } from '../ui/format.js'
import { peerText } from '../ui/peer.js'

export interface MeshWords {
  /** `this tab`, `this tab’s relay`, or the kind of peer. */
  kindOf(id: string): string
  /** The kind and the ID. */
  name(id: string): string
  /** How the two ends of a connection are connected. */
  way(edge: Edge): string
  told(edge: Edge): string
  /** Lists all of the peer's connections. */
  sentence(vertex: Vertex): string
  /** Says how many connections the peer has. */
  summary(vertex: Vertex): string
}

const KINDS = { tab: 'tab', relay: 'relay', native: 'peer' }

export function meshWords(
  { vertices, edges }: Graph,
  { self, relay }: Pick<State, 'self' | 'relay'>,
  names: ReadonlyMap<string, string>,
): MeshWords {
  const kindOf = (id: string) => {
    if (id === self?.id) return 'this tab'
    return id === relay?.id ? 'this tab’s relay' : KINDS[vertices.get(id)?.role ?? 'native']
  }
  const name = (id: string) => (id === self?.id ? 'this tab' : `${kindOf(id)} ${peerText(id, names)}`)
  const way = ({ way, transport, relay: through }: Edge) => {
    if (way === 'direct') return `direct, ${transportName(transport)}`
    if (way === 'heard') return 'broadcasts pass'
    return through === undefined ? 'through a relay' : `through ${name(through)}`
  }
  const byEnd = new Map<string, Edge[]>()
  const carried = new Map<string, number>()
  for (const edge of edges) {
    for (const id of edge.ends) byEnd.set(id, [...(byEnd.get(id) ?? []), edge])
    if (edge.relay !== undefined) carried.set(edge.relay, (carried.get(edge.relay) ?? 0) + 1)
  }
  const of = (id: string) => byEnd.get(id) ?? []
  const other = ({ ends: [a, b] }: Edge, id: string) => (a === id ? b : a)
  return {
    kindOf,
    name,
    way,
    told: ({ way, told }) => {
      if (way === 'heard') return 'by connections that nobody tells of'
      return told.length > 1 ? 'both say so' : `${name(told[0]!)} says so`
    },
    sentence: (vertex) => {
      const ways = of(vertex.id).map((edge) => `${name(other(edge, vertex.id))}: ${way(edge)}`)
      return `${ways.length === 0 ? 'No connections are known' : ways.join('. ')}.`
    },
    summary: (vertex) => {
      const own = of(vertex.id)
      const some = (sort: Edge['way'], text: string) => {
        const n = own.filter((edge) => edge.way === sort).length
        return n === 0 ? [] : [`${n} ${text}`]
      }
      const others = carried.get(vertex.id) ?? 0
      const parts = [
        ...some('direct', 'direct'),
        ...some('relayed', 'through a relay'),
        ...some('heard', 'that nobody tells of'),
        ...(others === 0 ? [] : [`carries ${others} of others`]),
        ...(vertex.more === 0 ? [] : [`${count(vertex.more, 'connection')} more that it does not list`]),
      ]
      const agent = vertex.agent === '' ? '' : ` (${vertex.agent})`
      return `${name(vertex.id)}${agent}: ${parts.length === 0 ? 'no connections are known' : parts.join(', ')}.`
    },
  }
}
