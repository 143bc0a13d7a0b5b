import { useContext, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { useSource } from '../source.js'
import { Names } from '../ui/peer.js'
import type { Card, Drawing, Line } from './drawing.js'
import type { Edge, Vertex } from './graph.js'
import { Flag } from '../ui/flag.js'
import { shortId, transportBrief, transportName } from '../ui/format.js'
import type { MeshWords } from './mesh-words.js'

/** The peer whose connections stand out. */
export interface Eye {
  active: string | undefined
  chosen: string | undefined
  point(id: string | undefined): void
  choose(id: string | undefined): void
}

interface Props {
  drawing: Drawing
  vertices: ReadonlyMap<string, Vertex>
  words: MeshWords
  eye: Eye
  narrow: boolean
  self: string | undefined
  /** The peers that this tab is exchanging data with now. */
  passing: ReadonlySet<string>
}

/** The picture: tabs out at sea, relays on the bar, native peers ashore, and lines between them. */
export function Harbour({ drawing, vertices, words, eye, narrow, self, passing }: Props) {
  const group = useRef<HTMLDivElement>(null)
  const [current, setCurrent] = useState<string | undefined>()
  const { cards, width, height, lines } = drawing
  const stop = (cards.find(({ id }) => id === current) ?? cards[0])?.id
  // The card that had the focus may be gone. The focus then moves to the card in its place, not to the top of the page.
  const had = document.activeElement
  const lost =
    group.current?.contains(had) === true && !cards.some(({ id }) => id === (had as HTMLElement).dataset['peer'])
  useLayoutEffect(() => {
    if (lost) group.current?.querySelector<HTMLElement>(`[data-peer="${stop}"]`)?.focus()
  })
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Escape') eye.choose(undefined)
    const next = neighbour(cards, stop, event.key)
    if (next === undefined) return
    event.preventDefault()
    setCurrent(next)
    group.current?.querySelector<HTMLElement>(`[data-peer="${next}"]`)?.focus()
  }
  return (
    <div
      class={eye.active === undefined ? 'harbour' : 'harbour looking'}
      style={{ height: `${height}px` }}
      ref={group}
      role="group"
      aria-label="The mesh. Arrow keys go from peer to peer; a table of the connections is below."
      onKeyDown={onKeyDown}
    >
      <svg viewBox={`0 0 ${width} ${height}`} width={width} height={height} aria-hidden="true">
        <Ground drawing={drawing} />
        {lines.map((line) => (
          <path key={line.edge.key} class={lineClass(line, eye)} d={line.path} data-ends={line.edge.ends.join(' ')} />
        ))}
        {lines
          .filter(({ edge }) => edge.way !== 'heard' && passes(edge, self, passing))
          .map(({ edge, path }) => (
            <path key={`${edge.key} passes`} class="line-passing" d={path} data-ends={edge.ends.join(' ')} />
          ))}
        {lines.map((line) => (
          <Label key={line.edge.key} line={line} eye={eye} narrow={narrow} />
        ))}
      </svg>
      {cards.map((card) => (
        <Berth
          key={card.id}
          card={card}
          vertex={vertices.get(card.id)!}
          words={words}
          eye={eye}
          narrow={narrow}
          stop={card.id === stop}
          onStop={setCurrent}
        />
      ))}
    </div>
  )
}

interface BerthProps extends Omit<Props, 'drawing' | 'vertices' | 'self' | 'passing'> {
  card: Card
  vertex: Vertex
  /** Whether the Tab key stops here. */
  stop: boolean
  onStop(id: string): void
}

function Berth({ card, vertex, words, eye, narrow, stop, onStop }: BerthProps) {
  const { id, role, x, y, width, height } = card
  const kind = words.kindOf(id)
  const name = useSource(useContext(Names)).get(id)
  // The accessible name begins with the visible text, for people who control the browser by voice.
  const called = name ?? (narrow ? id.slice(-4) : shortId(id))
  const note = narrow ? (BRIEF_KINDS[kind] ?? kind) : noteOf(kind, vertex)
  return (
    <button
      type="button"
      class={`berth ${role}`}
      data-peer={id}
      data-self={kind === 'this tab'}
      style={{ left: `${x - width / 2}px`, top: `${y - height / 2}px`, width: `${width}px`, height: `${height}px` }}
      tabIndex={stop ? 0 : -1}
      aria-pressed={eye.chosen === id}
      aria-label={`${called} ${note}. ${words.sentence(vertex)}`}
      title={`${id}\n${vertex.agent}`}
      onFocus={() => {
        onStop(id)
        eye.point(id)
      }}
      onBlur={() => eye.point(undefined)}
      onPointerEnter={() => eye.point(id)}
      onPointerLeave={() => eye.point(undefined)}
      onClick={() => eye.choose(eye.chosen === id ? undefined : id)}
    >
      <span class="berth-id">
        <Flag id={id} small />
        {name === undefined ? <code>{called}</code> : <b class="peer-name">{called}</b>}
      </span>{' '}
      <span class="berth-kind">{note}</span>
    </button>
  )
}

const BRIEF_KINDS: Record<string, string> = { 'this tab’s relay': 'my relay' }

function noteOf(kind: string, { role, agent }: Vertex): string {
  if (kind.startsWith('this tab')) return kind
  return role === 'native' ? agent.split('@', 1)[0]! || 'has not said what it is' : kind
}

function lineClass({ edge }: Line, eye: Eye): string {
  return `line ${edge.way}${touches(edge, eye.active) ? ' lit' : ''}`
}

function touches({ ends, relay }: Edge, id: string | undefined): boolean {
  return id !== undefined && (ends.includes(id) || relay === id)
}

function passes({ ends: [a, b] }: Edge, self: string | undefined, passing: ReadonlySet<string>): boolean {
  return (a === self && passing.has(b)) || (b === self && passing.has(a))
}

function Label({ line: { edge, label }, eye, narrow }: { line: Line; eye: Eye; narrow: boolean }) {
  if (edge.way !== 'direct') return null
  return (
    <text class={`line-label on-${label.role}${touches(edge, eye.active) ? ' lit' : ''}`} x={label.x} y={label.y + 4}>
      {narrow ? transportBrief(edge.transport) : transportName(edge.transport)}
    </text>
  )
}

/** The water, the sand of the bar, and the land with its shoreline. */
function Ground({ drawing: { width, height, shores } }: { drawing: Drawing }) {
  const [west, east] = shores
  const strip = `M${shore(west, height, 0).join('L')}L${shore(east, height, 2).reverse().join('L')}Z`
  return (
    <>
      <path class="ground-sea" d={`M0 0H${width}V${height}H0z`} />
      <path class="ground-shoal" d={`M${shore(west - 14, height, 0).join('L')}H${width}V0Z`} />
      <path class="ground-land" d={`M${shore(east, height, 2).join('L')}H${width}V0Z`} />
      <path class="ground-sand" d={strip} />
    </>
  )
}

function shore(x: number, height: number, phase: number): string[] {
  const steps = Math.ceil(height / 12)
  return Array.from({ length: steps + 1 }, (_, i) => {
    const y = (height * i) / steps
    return `${(x + 4 * Math.sin(y / 37 + phase) + 2.5 * Math.sin(y / 13 + phase)).toFixed(1)} ${y.toFixed(1)}`
  })
}

/** Returns the card that an arrow key moves to: the next in the lane, or the nearest in the next lane. */
function neighbour(cards: Card[], from: string | undefined, key: string): string | undefined {
  const card = cards.find(({ id }) => id === from)
  if (card === undefined) return undefined
  const nearest = (of: Card[], distance: (other: Card) => number) => of.sort((a, b) => distance(a) - distance(b))[0]?.id
  const across = (ahead: (other: Card) => boolean) =>
    nearest(cards.filter(ahead), (other) => Math.abs(other.x - card.x) * 1e4 + Math.abs(other.y - card.y))
  const lane = cards.filter(({ x, id }) => x === card.x && id !== card.id)
  const along = (ahead: (other: Card) => boolean) => nearest(lane.filter(ahead), (other) => Math.abs(other.y - card.y))
  switch (key) {
    case 'ArrowUp':
      return along(({ y }) => y < card.y)
    case 'ArrowDown':
      return along(({ y }) => y > card.y)
    case 'ArrowLeft':
      return across(({ x }) => x < card.x)
    case 'ArrowRight':
      return across(({ x }) => x > card.x)
  }
  return undefined
}
