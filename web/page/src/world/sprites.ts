import type { Ink } from './ground.js'

// Pictures that are used repeatedly: boats of every colour and heading, buoys and names, each drawn only once.

/** How many headings are distinguished, and how many colours. */
const HEADINGS = 32
const HUES = 32
/** The most sprites that are kept. When they are full, all are dropped and redrawn as needed. */
const MAX_SPRITES = 2_000
/** The side of a boat's sprite, in CSS pixels. */
const BOAT = 34
const BUOY = 22

/** A picture that is placed by its middle, or for a name by its beginning. */
interface Sprite {
  canvas: HTMLCanvasElement
  /** The point in it that is placed, in device pixels. */
  x: number
  y: number
}

export function colour(hue: number, dark: boolean): string {
  return `hsl(${Math.round((hue / 256) * 360)} ${dark ? '62% 66%' : '68% 38%'})`
}

export class Sprites {
  readonly #kept = new Map<string, Sprite>()
  constructor(
    readonly ink: Ink,
    readonly ratio: number,
  ) {}

  /** Draws a boat; coordinates are in device pixels. */
  boat(context: CanvasRenderingContext2D, x: number, y: number, hue: number, heading: number, sails: boolean): void {
    const turn = Math.round((heading / (2 * Math.PI)) * HEADINGS + HEADINGS) % HEADINGS
    const tint = Math.floor((hue / 256) * HUES)
    this.#put(context, x, y, `boat ${turn} ${tint} ${sails}`, () => this.#boat(turn, tint, sails))
  }

  buoy(context: CanvasRenderingContext2D, x: number, y: number, hue: number): void {
    const kind = hue % 4
    this.#put(context, x, y, `buoy ${kind}`, () => this.#buoy(kind))
  }

  /** Draws a name beside the boat at this position. */
  name(context: CanvasRenderingContext2D, x: number, y: number, name: string, own: boolean): void {
    this.#put(context, x, y, `name ${own} ${name}`, () => this.#name(name, own))
  }

  #put(context: CanvasRenderingContext2D, x: number, y: number, key: string, draw: () => Sprite): void {
    let sprite = this.#kept.get(key)
    if (sprite === undefined) {
      if (this.#kept.size >= MAX_SPRITES) this.#kept.clear()
      this.#kept.set(key, (sprite = draw()))
    }
    context.drawImage(sprite.canvas, Math.round(x) - sprite.x, Math.round(y) - sprite.y)
  }

  #canvas(width: number, height: number): [HTMLCanvasElement, CanvasRenderingContext2D] {
    const canvas = document.createElement('canvas')
    canvas.width = Math.ceil(width * this.ratio)
    canvas.height = Math.ceil(height * this.ratio)
    const context = canvas.getContext('2d')!
    context.scale(this.ratio, this.ratio)
    return [canvas, context]
  }

  /** Draws a boat from above: the hull, its deck, and the wake. */
  #boat(turn: number, tint: number, sails: boolean): Sprite {
    const [canvas, context] = this.#canvas(BOAT, BOAT)
    const { dark, sheet, ink, depthLine } = this.ink
    context.translate(BOAT / 2, BOAT / 2)
    context.rotate((turn / HEADINGS) * 2 * Math.PI)
    if (sails) {
      context.strokeStyle = depthLine
      context.lineWidth = 1
      context.beginPath()
      for (const side of [-1, 1]) {
        context.moveTo(-6, 2.5 * side)
        context.quadraticCurveTo(-10, 4 * side, -16, 6.5 * side)
      }
      context.stroke()
    }
    context.beginPath()
    context.moveTo(12, 0)
    context.bezierCurveTo(7, 5.5, 0, 6, -8, 4.5)
    context.quadraticCurveTo(-9.5, 0, -8, -4.5)
    context.bezierCurveTo(0, -6, 7, -5.5, 12, 0)
    context.fillStyle = colour((tint / HUES) * 256, dark)
    context.fill()
    context.strokeStyle = dark ? sheet : ink
    context.lineWidth = 1.1
    context.stroke()
    context.beginPath()
    context.moveTo(6.5, 0)
    context.bezierCurveTo(3, 2.6, -1, 2.8, -5, 2.2)
    context.lineTo(-5, -2.2)
    context.bezierCurveTo(-1, -2.8, 3, -2.6, 6.5, 0)
    context.fillStyle = dark ? '#ffffff59' : '#ffffffb3'
    context.fill()
    return { canvas, x: Math.round(canvas.width / 2), y: Math.round(canvas.height / 2) }
  }

  /** Draws a buoy as charts do: a leaning mark over a ring, with a shape for each kind. */
  #buoy(kind: number): Sprite {
    const [canvas, context] = this.#canvas(BUOY, BUOY)
    const { dark, ink, sheet } = this.ink
    context.translate(BUOY / 2, BUOY / 2 + 5)
    const body = (dark ? ['#e0636b', '#58b58a', '#d9b748', '#9fb0b6'] : ['#c8202f', '#1d7d4f', '#e0a800', '#3a464d'])[
      kind
    ]!
    context.rotate(0.16)
    context.beginPath()
    if (kind === 0) context.rect(-3.4, -10.5, 6.8, 9) // a can
    if (kind === 1) triangle(context, 4.4, -11.5, -1.5) // a cone
    if (kind === 2) cross(context)
    if (kind === 3) {
      triangle(context, 3.6, -12, -7)
      triangle(context, 3.6, -6.5, -1.5)
    }
    context.lineWidth = 1
    context.fillStyle = body
    context.strokeStyle = dark ? sheet : ink
    context.fill()
    context.stroke()
    context.rotate(-0.16)
    context.beginPath()
    context.arc(0, 0.5, 2, 0, 2 * Math.PI)
    context.fillStyle = sheet
    context.strokeStyle = ink
    context.fill()
    context.stroke()
    return { canvas, x: Math.round(canvas.width / 2), y: Math.round(canvas.height / 2 + 5 * this.ratio) }
  }

  #name(name: string, own: boolean): Sprite {
    const font = `${own ? '600 13px' : '12px'} ${getComputedStyle(document.body).fontFamily}`
    const measuring = document.createElement('canvas').getContext('2d')!
    measuring.font = font
    const width = Math.min(Math.ceil(measuring.measureText(name).width), 160) + 6
    const [canvas, context] = this.#canvas(width, 20)
    context.font = font
    context.textBaseline = 'middle'
    context.lineJoin = 'round'
    context.lineWidth = 3
    context.strokeStyle = this.ink.sheet
    context.fillStyle = own ? this.ink.magenta : this.ink.ink
    context.strokeText(name, 3, 10)
    context.fillText(name, 3, 10)
    return { canvas, x: -Math.round(12 * this.ratio), y: Math.round(20 * this.ratio) }
  }
}

function triangle(context: CanvasRenderingContext2D, half: number, top: number, bottom: number): void {
  context.moveTo(0, top)
  context.lineTo(half, bottom)
  context.lineTo(-half, bottom)
  context.closePath()
}

function cross(context: CanvasRenderingContext2D): void {
  for (const [x, y] of [
    [-1.4, -12],
    [1.4, -12],
    [1.4, -8.4],
    [4.4, -8.4],
    [4.4, -5.6],
    [1.4, -5.6],
    [1.4, -1.5],
    [-1.4, -1.5],
    [-1.4, -5.6],
    [-4.4, -5.6],
    [-4.4, -8.4],
    [-1.4, -8.4],
  ] as const) {
    context.lineTo(x, y)
  }
  context.closePath()
}
