import { Ground, readInk, type Ink } from './ground.js'
import { type Held, STICK } from './helm.js'
import type { Scene, Shown, Spot } from './scene.js'
import { Sprites } from './sprites.js'

/** The shortest distance that the chart shows in each direction if the player sees everything, in the world's units. */
const OVERVIEW = 40
/** The margin around the circle within which a player sees. */
const MARGIN = 1.06
/** The most names that are drawn, nearest first; more would hide the boats. */
const MAX_NAMES = 40
/** The length of one black or white part of the chart's edge, in units. */
const EDGE_UNITS = 4
const EDGE_PX = 5
/**
 * With reduced motion, the view stands still until the boat enters this share of the canvas along its edges (half of it at each edge), and
 * then jumps.
 */
const KEEP = 0.3

export interface Looks {
  /** Whether to draw the circles within which a player sees. */
  circles: boolean
  /** Whether positions step and the view stands still, for people who prefer reduced motion. */
  stepping: boolean
}

/** Draws a scene on a canvas, with the own boat in the middle. */
export class Chart {
  readonly #canvas: HTMLCanvasElement
  readonly #context: CanvasRenderingContext2D
  #ink: Ink
  #sprites: Sprites
  #ground: Ground | undefined
  #ratio = 1
  /** Device pixels per unit. */
  #scale = 1
  #centre: Spot | undefined

  constructor(canvas: HTMLCanvasElement, signal: AbortSignal) {
    this.#canvas = canvas
    this.#context = canvas.getContext('2d', { alpha: false })!
    this.#ink = readInk(canvas)
    this.#sprites = new Sprites(this.#ink, 1)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#anew(), { signal })
  }

  /** Draws the scene as it is now. Returns the things in sight. */
  draw(scene: Scene, now: number, { circles, stepping }: Looks, held: Held | undefined): Shown[] {
    const { size, sight, sightEnd } = scene.answer
    this.#fit(size, sightEnd || Math.max(OVERVIEW, size / 2))
    const own = scene.ownAt(now, stepping)
    const centre = this.#look(own ?? this.#centre ?? { x: size / 2, y: size / 2 }, stepping)
    const context = this.#context
    const { width, height } = this.#canvas
    this.#ground!.draw(context, centre, width, height)
    const shown = scene.shown(now, stepping)
    if (circles && own !== undefined && sight > 0) this.#circles(this.#at(own), sight, sightEnd)
    this.#things(shown, scene)
    this.#edge(centre)
    this.#scaleBar()
    if (held?.from !== undefined) this.#stick(held, held.from)
    return shown
  }

  /** Converts a position to CSS pixels of the canvas. */
  onCanvas(place: Spot): Spot {
    const { x, y } = this.#at(place)
    return { x: x / this.#ratio, y: y / this.#ratio }
  }

  /** Converts a position to device pixels of the canvas. */
  #at({ x, y }: Spot): Spot {
    const centre = this.#centre!
    return {
      x: (x - centre.x) * this.#scale + this.#canvas.width / 2,
      y: (y - centre.y) * this.#scale + this.#canvas.height / 2,
    }
  }

  /** Adapts the drawing to the size of the canvas and the pixel ratio of the screen. */
  #fit(size: number, reach: number): void {
    const { clientWidth, clientHeight } = this.#canvas
    const ratio = devicePixelRatio
    const [width, height] = [
      Math.max(1, Math.round(clientWidth * ratio)),
      Math.max(1, Math.round(clientHeight * ratio)),
    ]
    // A tile of 32 units must be a whole number of device pixels wide.
    const scale = Math.max(1, Math.round((Math.min(width, height) / 2 / (reach * MARGIN)) * 32)) / 32
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width
      this.#canvas.height = height
    }
    if (ratio !== this.#ratio) this.#sprites = new Sprites(this.#ink, ratio)
    if (this.#ground === undefined || this.#ground.size !== size || scale !== this.#scale || ratio !== this.#ratio) {
      this.#ground = new Ground(size, this.#ink, scale)
    }
    this.#ratio = ratio
    this.#scale = scale
  }

  #anew(): void {
    this.#ink = readInk(this.#canvas)
    this.#sprites = new Sprites(this.#ink, this.#ratio)
    this.#ground = undefined
  }

  /** Returns the middle of the view. */
  #look(own: Spot, stepping: boolean): Spot {
    const { width, height } = this.#canvas
    const was = this.#centre
    if (stepping && was !== undefined) {
      const most = (side: number) => ((0.5 - KEEP / 2) * side) / this.#scale
      if (Math.abs(own.x - was.x) < most(width) && Math.abs(own.y - was.y) < most(height)) return was
    }
    return (this.#centre = { x: own.x, y: own.y })
  }

  #things(shown: Shown[], scene: Scene): void {
    const context = this.#context
    const { width, height } = this.#canvas
    const margin = 20 * this.#ratio
    const boats: { boat: Shown; at: Spot }[] = []
    for (const thing of shown) {
      const at = this.#at(thing)
      if (at.x < -margin || at.y < -margin || at.x > width + margin || at.y > height + margin) continue
      if (thing.thing.boat) boats.push({ boat: thing, at })
      else this.#sprites.buoy(context, at.x, at.y, thing.thing.hue)
    }
    const own = scene.answer.boat
    for (const { boat, at } of boats) {
      if (boat.entity === own) this.#halo(at)
      this.#sprites.boat(context, at.x, at.y, boat.thing.hue, boat.heading, boat.sails)
    }
    const { x, y } = this.#centre!
    const far = ({ boat }: { boat: Shown }) => (boat.x - x) ** 2 + (boat.y - y) ** 2
    const named = boats.length > MAX_NAMES ? boats.sort((a, b) => far(a) - far(b)).slice(0, MAX_NAMES) : boats
    for (const { boat, at } of named) {
      const isOwn = boat.entity === own
      const name = boat.thing.name || (isOwn ? 'you' : '')
      if (name !== '') this.#sprites.name(context, at.x, at.y, name, isOwn)
    }
  }

  #halo({ x, y }: Spot): void {
    const context = this.#context
    context.beginPath()
    context.arc(x, y, 17 * this.#ratio, 0, 2 * Math.PI)
    context.strokeStyle = this.#ink.magenta
    context.lineWidth = 1.5 * this.#ratio
    context.stroke()
  }

  /** Draws two circles: things inside the inner one come into sight, things outside the outer one go out of sight. */
  #circles({ x, y }: Spot, sight: number, sightEnd: number): void {
    const context = this.#context
    const ratio = this.#ratio
    context.strokeStyle = context.fillStyle = this.#ink.magenta
    context.font = `italic ${12 * ratio}px Georgia, serif`
    context.textAlign = 'center'
    for (const [reach, dash, text] of [
      [sight, [10, 5], `seen within ${sight}`],
      [sightEnd, [2, 6], `lost beyond ${sightEnd}`],
    ] as const) {
      context.beginPath()
      context.arc(x, y, reach * this.#scale, 0, 2 * Math.PI)
      context.lineWidth = 1.25 * ratio
      context.setLineDash(dash.map((n) => n * ratio))
      context.stroke()
      context.fillText(text, x, y - reach * this.#scale + 14 * ratio)
    }
    context.setLineDash([])
    context.textAlign = 'start'
  }

  /** Draws the scale along the edge of the chart. */
  #edge(centre: Spot): void {
    const context = this.#context
    const { width, height } = this.#canvas
    const thick = Math.round(EDGE_PX * this.#ratio)
    const part = EDGE_UNITS * this.#scale
    context.fillStyle = this.#ink.sheet
    context.fillRect(0, 0, width, thick)
    context.fillRect(0, height - thick, width, thick)
    context.fillRect(0, 0, thick, height)
    context.fillRect(width - thick, 0, thick, height)
    context.fillStyle = this.#ink.landLine
    const dark = (length: number, middle: number, fill: (from: number, to: number) => void) => {
      const first = Math.floor((middle * this.#scale - length / 2) / part)
      for (let n = first + (first & 1); ; n += 2) {
        const from = n * part - middle * this.#scale + length / 2
        if (from > length) return
        fill(Math.round(from), Math.round(part))
      }
    }
    dark(width, centre.x, (from, long) => {
      context.fillRect(from, 1, long, thick - 2)
      context.fillRect(from, height - thick + 1, long, thick - 2)
    })
    dark(height, centre.y, (from, long) => {
      context.fillRect(1, from, thick - 2, long)
      context.fillRect(width - thick + 1, from, thick - 2, long)
    })
  }

  #scaleBar(): void {
    const context = this.#context
    const ratio = this.#ratio
    const long = 10 * this.#scale
    const [x, y] = [16 * ratio, this.#canvas.height - 20 * ratio]
    context.strokeStyle = context.fillStyle = this.#ink.ink
    context.lineWidth = ratio
    context.beginPath()
    context.moveTo(x, y - 4 * ratio)
    context.lineTo(x, y)
    context.lineTo(x + long, y)
    context.lineTo(x + long, y - 4 * ratio)
    context.stroke()
    context.font = `italic ${11 * ratio}px Georgia, serif`
    context.fillText('10', x + long + 5 * ratio, y)
  }

  /** Draws the stick that a finger moves. */
  #stick({ x, y }: Spot, from: Spot): void {
    const context = this.#context
    const ratio = this.#ratio
    const [dx, dy] = [x - from.x, y - from.y]
    const bound = Math.max(1, Math.hypot(dx, dy) / STICK)
    context.lineWidth = 2 * ratio
    context.strokeStyle = context.fillStyle = this.#ink.magenta
    context.beginPath()
    context.arc(from.x * ratio, from.y * ratio, STICK * ratio, 0, 2 * Math.PI)
    context.stroke()
    context.globalAlpha = 0.6
    context.beginPath()
    context.arc((from.x + dx / bound) * ratio, (from.y + dy / bound) * ratio, 18 * ratio, 0, 2 * Math.PI)
    context.fill()
    context.globalAlpha = 1
  }
}
