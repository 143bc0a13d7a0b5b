import type { Edge } from './graph.js'
import { Peer } from '../ui/peer.js'
import type { MeshWords } from './mesh-words.js'

interface Props {
  edges: Edge[]
  words: MeshWords
  /** The peer whose connections stand out. */
  active: string | undefined
}

/** The picture as a table. */
export function EdgeTable({ edges, words, active }: Props) {
  if (edges.length === 0) return null
  return (
    <details class="edges">
      <summary>{edges.length === 1 ? 'The connection' : `The ${edges.length} connections`} in words</summary>
      <table id="edges">
        <thead>
          <tr>
            <th scope="col">Between</th>
            <th scope="col">and</th>
            <th scope="col">how</th>
          </tr>
        </thead>
        <tbody>
          {edges.map((edge) => (
            <Row key={edge.key} edge={edge} words={words} lit={active !== undefined && edge.ends.includes(active)} />
          ))}
        </tbody>
      </table>
    </details>
  )
}

function Row({ edge, words, lit }: { edge: Edge; words: MeshWords; lit: boolean }) {
  const { told, ends, way } = edge
  // The peer that reported the connection comes first.
  const [from, to] = told[0] === ends[1] ? [ends[1], ends[0]] : ends
  return (
    <tr class={lit ? 'lit' : undefined} data-way={way} data-ends={ends.join(' ')}>
      <Who id={from} words={words} />
      <Who id={to} words={words} />
      <td>
        {words.way(edge)} <span class="edge-told">{words.told(edge)}</span>
      </td>
    </tr>
  )
}

function Who({ id, words }: { id: string; words: MeshWords }) {
  const kind = words.kindOf(id)
  return (
    <td title={id}>
      {kind} {kind !== 'this tab' && <Peer id={id} />}
    </td>
  )
}
