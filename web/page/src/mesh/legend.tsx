import type { Edge, Way } from './graph.js'
import { transportBrief, transportName } from '../ui/format.js'

const WAYS: Record<Way, string> = {
  direct: 'direct, by the transport named',
  relayed: 'through the relay it passes',
  heard: 'broadcasts pass; nobody tells how',
}

/** Explains the kinds of lines that the picture has now. */
export function Legend({ edges, brief, passing }: { edges: Edge[]; brief: boolean; passing: boolean }) {
  const ways = (Object.keys(WAYS) as Way[]).filter((way) => edges.some((edge) => edge.way === way))
  const direct = new Set(edges.filter(({ way }) => way === 'direct').map(({ transport }) => transport))
  const shortened = [...direct].filter((transport) => transportBrief(transport) !== transportName(transport)).sort()
  return (
    <ul class="legend" aria-label="Legend">
      {ways.map((way) => (
        <li key={way}>
          <svg viewBox="0 0 40 10" width="40" height="10" aria-hidden="true">
            <path class={`line ${way}`} d="M1 5H39" />
          </svg>
          {WAYS[way]}
        </li>
      ))}
      {passing && (
        <li>
          <svg viewBox="0 0 40 10" width="40" height="10" aria-hidden="true">
            <path class="line-passing" d="M1 5H39" />
          </svg>
          something passes now between this tab and another
        </li>
      )}
      {brief &&
        shortened.map((transport) => (
          <li key={transport}>
            <b>{transportBrief(transport)}</b> {transportName(transport)}
          </li>
        ))}
    </ul>
  )
}
