import { MAX_LANE, ROLES, type Edge, type Graph, type Role } from './graph.js'

export interface Card {
  id: string
  role: Role
  /** The centre of the card. */
  x: number
  y: number
  width: number
  height: number
}

export interface Line {
  edge: Edge
  path: string
  /** Where the transport's name is drawn. */
  label: { x: number; y: number; role: Role }
}

export interface Drawing {
  width: number
  height: number
  /** Where the relays' lane begins and ends. */
  shores: [number, number]
  cards: Card[]
  lines: Line[]
}

type Lanes = Record<Role, readonly (string | undefined)[]>
type Point = readonly [x: number, y: number]

/** In pixels. A narrower picture has room only for the ends of IDs and for short names of transports. */
export const NARROW = 620
const MARGIN = 14
const ROW = 58
const CARD = 44
/** The distance between lines that end at the same side of a card: at most, and for a relay also at least. */
const PORT = { most: 9, least: 5 }
/** Lines that pass above the relays: the largest distance between them, and the height of all together. */
const CHANNEL = { gap: 9, height: 180 }

/** Lays the graph out as a picture of the given width in pixels. */
export function draw(graph: Graph, lanes: Lanes, width: number): Drawing {
  const cardWidth = width < NARROW ? Math.max(52, width * 0.19) : Math.min(190, width * 0.2)
  const legs = graph.edges.map((edge) => ({ edge, legs: legsOf(edge, graph) }))
  const over = legs.filter(({ edge }) => crosses(edge, graph))
  const channel = Math.min(CHANNEL.gap, CHANNEL.height / (over.length + 1))
  const top = MARGIN + (over.length > 0 ? (over.length + 1) * channel : 0)
  const heights = relayHeights(
    lanes.relay,
    legs.flatMap((each) => each.legs),
  )
  const rows = Math.max(1, lanes.tab.length, lanes.native.length)
  const height =
    top +
    Math.max(
      rows * ROW,
      heights.reduce((sum, h) => sum + h + ROW - CARD, 0),
    ) +
    MARGIN
  const middle = (i: number) => (width * (2 * i + 1)) / 6
  const edgeX = cardWidth / 2 + MARGIN / 2
  const xs = { tab: edgeX, relay: middle(1), native: width - edgeX }
  const cards = new Map<string, Card>()
  for (const role of ROLES) {
    lanes[role].forEach((id, i) => {
      if (id === undefined) return
      const y =
        role === 'relay'
          ? top + ((height - top - MARGIN) * (2 * i + 1)) / (2 * lanes.relay.length)
          : top + ROW * (i + 0.5)
      const cardHeight = role === 'relay' ? heights[i]! : CARD
      cards.set(id, { id, role, x: xs[role], y, width: cardWidth, height: cardHeight })
    })
  }
  const pen = new Pen(cards, new Map(over.map(({ edge }, i) => [edge.key, MARGIN + i * channel])), middle(1))
  for (const each of legs) for (const leg of each.legs) pen.dock(each.edge.key, leg)
  pen.settle()
  return {
    width,
    height,
    shores: [middle(1) - cardWidth * 0.7, middle(1) + cardWidth * 0.7],
    cards: [...cards.values()],
    lines: legs.map(({ edge, legs }) => ({ edge, ...pen.line(edge.key, legs) })),
  }
}

/** Returns the parts of an edge: a relayed connection goes from one end to the relay, and from there to the other end. */
function legsOf({ ends: [a, b], relay }: Edge, { vertices }: Graph): [string, string][] {
  if (relay === undefined || !vertices.has(relay)) return [[a, b]]
  return [
    [a, relay],
    [relay, b],
  ]
}

function crosses({ ends, way }: Edge, { vertices }: Graph): boolean {
  if (way === 'relayed') return false
  const roles = ends.map((id) => vertices.get(id)?.role)
  return roles.includes('tab') && roles.includes('native')
}

function relayHeights(lane: Lanes['relay'], legs: [string, string][]): number[] {
  const ends = new Map<string, number>()
  for (const id of legs.flat()) ends.set(id, (ends.get(id) ?? 0) + 1)
  const most = Math.max(CARD, Math.min(220, (MAX_LANE * ROW) / lane.length - (ROW - CARD)))
  return lane.map((id) => Math.min(most, Math.max(CARD, (ends.get(id ?? '') ?? 0) * PORT.least + 8)))
}

/** Draws lines between cards. Each line has its own point on the side of a card. */
class Pen {
  /** By card and side: the lines that end there, and the height of the card at their other end. */
  readonly #docks = new Map<string, { key: string; y: number }[]>()

  constructor(
    readonly cards: Map<string, Card>,
    /** The lines that pass above the relays, and their heights. */
    readonly over: ReadonlyMap<string, number>,
    readonly centre: number,
  ) {}

  dock(key: string, [from, to]: [string, string]): void {
    const [a, b] = [this.cards.get(from)!, this.cards.get(to)!]
    for (const [card, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const name = `${card.id} ${side(card, other)}`
      const dock = this.#docks.get(name) ?? []
      // A line that passes above the relays leaves at the top, so that it does not cross the others.
      dock.push({ key: `${key} ${other.id}`, y: this.over.has(key) ? -1 : other.y })
      this.#docks.set(name, dock)
    }
  }

  settle(): void {
    for (const dock of this.#docks.values()) dock.sort((a, b) => a.y - b.y || (a.key < b.key ? -1 : 1))
  }

  line(key: string, legs: [string, string][]): Pick<Line, 'path' | 'label'> {
    let path = ''
    let label: Line['label'] = { x: 0, y: 0, role: 'tab' }
    for (const [from, to] of legs) {
      const [a, b] = [this.cards.get(from)!, this.cards.get(to)!].sort((p, q) => p.x - q.x) as [Card, Card]
      const start = this.#port(key, a, b)
      const end = this.#port(key, b, a)
      if (a.x === b.x) {
        const water = this.centre - a.width * 1.5 // between two lanes
        const bend = Math.min(water, 26 + Math.min(60, Math.abs(a.y - b.y) * 0.12))
        const out = start[0] + (side(a, b) === 'right' ? bend : -bend)
        path += `M${start}C${[out, start[1]]} ${[out, end[1]]} ${end}`
        label = { x: start[0] + (out - start[0]) * 0.75, y: (start[1] + end[1]) / 2, role: a.role }
      } else if (this.over.has(key)) {
        const pass: Point = [this.centre, this.over.get(key)!]
        path += `M${start}${curve(start, pass)}${curve(pass, end)}`
        label = { ...at(pass, end, 0.62), role: 'native' }
      } else {
        path += `M${start}${curve(start, end)}`
        label = { ...at(start, end, a.role === 'relay' ? 0.7 : 0.3), role: a.role === 'relay' ? 'native' : 'tab' }
      }
    }
    return { path, label }
  }

  #port(key: string, card: Card, other: Card): Point {
    const right = side(card, other) === 'right'
    const dock = this.#docks.get(`${card.id} ${right ? 'right' : 'left'}`)!
    const i = dock.findIndex((line) => line.key === `${key} ${other.id}`)
    const gap = Math.min(PORT.most, (card.height - 10) / dock.length)
    return [card.x + (right ? card.width / 2 : -card.width / 2), round(card.y + (i - (dock.length - 1) / 2) * gap)]
  }
}

/**
 * The side of a card at which the line to the other card leaves. Within a lane it is the right side, or the left one in the lane ashore.
 */
function side(card: Card, other: Card): 'left' | 'right' {
  return other.x > card.x || (other.x === card.x && card.role !== 'native') ? 'right' : 'left'
}

/** A curve that is horizontal at both ends. */
function curve([x, y]: Point, [toX, toY]: Point): string {
  const middle = round((x + toX) / 2)
  return `C${[middle, y]} ${[middle, toY]} ${[toX, toY]}`
}

/** The point of such a curve at `t`, from 0 to 1. */
function at([x, y]: Point, [toX, toY]: Point, t: number): { x: number; y: number } {
  const middle = (x + toX) / 2
  const [a, b, c, d] = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t ** 2 * (1 - t), t ** 3]
  return { x: round(a * x + (b + c) * middle + d * toX), y: round((a + b) * y + (c + d) * toY) }
}

function round(n: number): number {
  return Math.round(n * 10) / 10
}
