import { useContext, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { draw, NARROW, type Drawing } from './drawing.js'
import { graphOf, type Graph } from './graph.js'
import { MAX_PAGES, type Mesh, type MeshView } from './mesh.js'
import { report } from './report.js'
import { Slots } from './slots.js'
import { useSource } from '../source.js'
import type { State } from '../tab/state.js'
import { EdgeTable } from './edges.js'
import { count } from '../ui/format.js'
import { Harbour, type Eye } from './harbour.js'
import { Legend } from './legend.js'
import { meshWords } from './mesh-words.js'
import { Names } from '../ui/peer.js'
import { useInSight, useWidth } from '../ui/sight.js'
import type { Traffic } from './traffic.js'
import { Trouble } from '../ui/trouble.js'

/** Which peers are connected to which, as reported by the pages of the mesh. */
export function MeshSheet({ state, mesh, traffic }: { state: State; mesh: Mesh; traffic: Traffic }) {
  const section = useRef<HTMLElement>(null)
  const { heard, failure } = useSource(mesh.view)
  const inSight = useInSight(section)
  useEffect(() => (inSight ? mesh.look() : undefined), [inSight, mesh])
  const graph = useGraph(state, heard)
  return (
    <section class="sheet mesh" aria-labelledby="mesh-title" ref={section}>
      <h2 id="mesh-title">
        Mesh <span class="count">{graph.vertices.size + graph.left.vertices}</span>
      </h2>
      <Trouble failure={failure} />
      {state.self === undefined ? (
        <p class="waiting">It is drawn once the node runs.</p>
      ) : (
        <Picture graph={graph} state={state} pages={heard.size} traffic={traffic} />
      )}
    </section>
  )
}

function useGraph({ self, relay, peers }: State, heard: MeshView['heard']): Graph {
  return useMemo(() => {
    if (self === undefined) return graphOf([])
    const own = { ...report(peers, relay === undefined ? [] : [relay.id], 0), id: self.id, via: undefined }
    const told = [...heard].map(([id, { report, via }]) => ({ ...report, id, via }))
    return graphOf([own, ...told])
  }, [self?.id, relay?.id, peers, heard])
}

interface PictureProps {
  graph: Graph
  state: State
  pages: number
  traffic: Traffic
}

function Picture({ graph, state, pages, traffic }: PictureProps) {
  const frame = useRef<HTMLDivElement>(null)
  const width = useWidth(frame)
  const slots = useRef(new Slots())
  const drawing: Drawing | undefined = useMemo(
    () => (width === 0 ? undefined : draw(graph, slots.current.place(graph), width)),
    [graph, width],
  )
  const eye = useEye(graph)
  const { self, relay } = state
  const names = useSource(useContext(Names))
  const words = useMemo(() => meshWords(graph, { self, relay }, names), [graph, self?.id, relay?.id, names])
  const passing = useSource(traffic.peers)
  const active = eye.active === undefined ? undefined : graph.vertices.get(eye.active)
  return (
    <>
      <div class="harbour-lanes" aria-hidden="true">
        <span>Tabs</span>
        <span>Relays</span>
        <span>Native and other peers</span>
      </div>
      <div class="harbour-frame" ref={frame}>
        {drawing && (
          <Harbour
            drawing={drawing}
            vertices={graph.vertices}
            words={words}
            eye={eye}
            narrow={width < NARROW}
            self={self?.id}
            passing={passing}
          />
        )}
      </div>
      <p class="harbour-caption" id="harbour-caption">
        {active ? words.summary(active) : heardWords(pages)}
      </p>
      <LeftOut graph={graph} />
      <Legend edges={graph.edges} brief={width < NARROW} passing={passing.size > 0} />
      <EdgeTable edges={graph.edges} words={words} active={active?.id} />
    </>
  )
}

function LeftOut({ graph: { left } }: { graph: Graph }) {
  if (left.vertices + left.edges === 0) return null
  return (
    <p class="harbour-left">
      {count(left.vertices, 'more peer')} and {count(left.edges, 'more connection')} are not drawn. This tab’s own come
      first, then the pages that report, then the peers that they name, one of each in turn.
    </p>
  )
}

/** Returns the peer whose connections stand out: the one that is hovered or focused, or else the one that was chosen. */
function useEye(graph: Graph): Eye {
  const [pointed, point] = useState<string | undefined>()
  const [chosen, choose] = useState<string | undefined>()
  const there = (id: string | undefined) => (id !== undefined && graph.vertices.has(id) ? id : undefined)
  return { active: there(pointed) ?? there(chosen), chosen: there(chosen), point, choose }
}

function heardWords(pages: number): string {
  if (pages === 0) return 'No other page has reported its connections yet. The map shows what this tab knows.'
  const who =
    pages === 1
      ? 'One other page reports its'
      : pages < MAX_PAGES
        ? `${pages} other pages report their`
        : `So many other pages are here that only ${pages} of them report their`
  return `${who} connections, as this one does. Relays and native peers are known from those reports only.`
}
