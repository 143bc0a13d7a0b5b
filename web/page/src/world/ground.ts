import type { Spot } from './scene.js'

// The water that boats sail on: depths, soundings and the coast. It is drawn once, in tiles, which are laid out as the view moves.

/** The side of a tile, in the world's units. */
const TILE = 32
/** The most tiles that are kept. When they are full, all are dropped and redrawn as needed. */
const MAX_TILES = 160
/** The most tiles that are drawn in one frame; the others wait for the next. */
const DRAWN_AT_ONCE = 2
/** Soundings are this many units apart. */
const SOUNDING = 16

/** The colours of the page's chart, from its style sheet. */
export interface Ink {
  deep: string
  water1: string
  water2: string
  water3: string
  depthLine: string
  sounding: string
  wet: string
  land: string
  landLine: string
  hill: string
  ink: string
  sheet: string
  magenta: string
  dark: boolean
}

export function readInk(element: Element): Ink {
  const style = getComputedStyle(element)
  const of = (name: string) => style.getPropertyValue(`--${name}`).trim()
  return {
    deep: of('deep'),
    water1: of('water-1'),
    water2: of('water-2'),
    water3: of('water-3'),
    depthLine: of('depth-line'),
    sounding: of('sounding'),
    wet: of('wet'),
    land: of('land'),
    landLine: of('land-line'),
    hill: of('hill'),
    ink: of('ink'),
    sheet: of('sheet'),
    magenta: of('magenta'),
    dark: matchMedia('(prefers-color-scheme: dark)').matches,
  }
}

export class Ground {
  readonly #tiles = new Map<string, HTMLCanvasElement>()
  readonly #shoals: { at: Spot; radius: number }[]
  #ink: Ink
  /** Device pixels per unit. */
  #scale: number

  constructor(
    readonly size: number,
    ink: Ink,
    scale: number,
  ) {
    this.#ink = ink
    this.#scale = scale
    const count = Math.max(3, Math.round((size * size) / 5_500))
    this.#shoals = Array.from({ length: count }, (_, i) => ({
      at: { x: chance(i, 1) * size, y: chance(i, 2) * size },
      radius: 10 + chance(i, 3) * 16,
    }))
  }

  /**
   * Draws the tiles around `centre` on an area of `width` by `height` device pixels. The first call draws all tiles; later ones leave some
   * for the next frames.
   */
  draw(context: CanvasRenderingContext2D, centre: Spot, width: number, height: number): void {
    const side = Math.round(TILE * this.#scale)
    const west = Math.round(centre.x * this.#scale - width / 2)
    const north = Math.round(centre.y * this.#scale - height / 2)
    let left = this.#tiles.size === 0 ? Infinity : DRAWN_AT_ONCE
    for (let row = Math.floor(north / side); row * side < north + height; row++) {
      for (let column = Math.floor(west / side); column * side < west + width; column++) {
        const key = `${column} ${row}`
        let tile = this.#tiles.get(key)
        if (tile === undefined && left > 0) {
          if (this.#tiles.size >= MAX_TILES) this.#tiles.clear()
          this.#tiles.set(key, (tile = this.#tile(column, row, side)))
          left--
        }
        const [x, y] = [column * side - west, row * side - north]
        if (tile !== undefined) {
          context.drawImage(tile, x, y)
          continue
        }
        context.fillStyle = this.#ink.water3
        context.fillRect(x, y, side, side)
      }
    }
  }

  #tile(column: number, row: number, side: number): HTMLCanvasElement {
    const tile = document.createElement('canvas')
    tile.width = tile.height = side
    const context = tile.getContext('2d', { alpha: false })!
    context.scale(side / TILE, side / TILE)
    context.translate(-column * TILE, -row * TILE)
    const from = { x: column * TILE, y: row * TILE }
    this.#depths(context, from)
    this.#graticule(context, from)
    this.#soundings(context, from)
    this.#coast(context, from)
    return tile
  }

  /** Draws deep water, and the shoals that rise from it. */
  #depths(context: CanvasRenderingContext2D, from: Spot): void {
    const { deep, water1, water2, water3, depthLine } = this.#ink
    context.fillStyle = deep
    context.fillRect(from.x, from.y, TILE, TILE)
    context.lineWidth = 0.2
    context.strokeStyle = depthLine
    for (const [reach, colour] of [
      [1.7, water3],
      [1, water2],
      [0.45, water1],
    ] as const) {
      context.beginPath()
      for (const [i, { at, radius }] of this.#shoals.entries()) {
        const most = radius * reach * 1.4
        if (at.x + most < from.x || at.x - most > from.x + TILE) continue
        if (at.y + most < from.y || at.y - most > from.y + TILE) continue
        blob(context, at, radius * reach, i)
      }
      context.stroke() // filling covers the inner half of the line, so that no line is left where shoals meet
      context.fillStyle = colour
      context.fill()
    }
  }

  #graticule(context: CanvasRenderingContext2D, from: Spot): void {
    context.strokeStyle = this.#ink.depthLine
    context.globalAlpha = 0.5
    context.lineWidth = 0.08
    context.beginPath()
    context.moveTo(from.x, from.y + TILE)
    context.lineTo(from.x, from.y)
    context.lineTo(from.x + TILE, from.y)
    context.stroke()
    context.globalAlpha = 1
  }

  #soundings(context: CanvasRenderingContext2D, from: Spot): void {
    context.fillStyle = this.#ink.sounding
    context.textAlign = 'center'
    const cell = (n: number) => Math.floor(n / SOUNDING)
    for (let row = cell(from.y) - 1; row <= cell(from.y + TILE); row++) {
      for (let column = cell(from.x) - 1; column <= cell(from.x + TILE); column++) {
        const n = row * 1_009 + column
        const x = (column + 0.2 + 0.6 * chance(n, 5)) * SOUNDING
        const y = (row + 0.2 + 0.6 * chance(n, 6)) * SOUNDING
        if (x < 1 || y < 1 || x > this.size - 1 || y > this.size - 1) continue
        const depth = this.#depth({ x, y }) + chance(n, 7)
        const size = 11 / (this.#scale / devicePixelRatio)
        context.font = `italic ${size}px Georgia, serif`
        context.fillText(String(Math.floor(depth)), x, y)
        if (depth >= 10) continue
        context.font = `italic ${size * 0.7}px Georgia, serif`
        context.fillText(String(Math.floor((depth % 1) * 10)), x + size * 0.45, y + size * 0.25)
      }
    }
  }

  /** Returns a plausible depth in metres: less over a shoal and near the coast. */
  #depth({ x, y }: Spot): number {
    let depth = 2 + Math.min(x, y, this.size - x, this.size - y) * 0.9
    for (const { at, radius } of this.#shoals) {
      depth = Math.min(depth, 1 + (Math.hypot(at.x - x, at.y - y) / radius) ** 2 * 6)
    }
    return Math.min(depth, 26 + 9 * Math.sin(x / 31) * Math.cos(y / 23) + 4 * Math.sin((x + y) / 11))
  }

  /** Draws the land beyond the walls, and the strip that the tide uncovers. */
  #coast(context: CanvasRenderingContext2D, from: Spot): void {
    const { size } = this
    if (from.x >= 0 && from.y >= 0 && from.x + TILE <= size && from.y + TILE <= size) return
    const { wet, land, landLine, hill } = this.#ink
    for (const [off, colour] of [
      [0.6, wet],
      [2.2, land],
    ] as const) {
      context.beginPath()
      context.rect(from.x - 1, from.y - 1, TILE + 2, TILE + 2)
      shore(context, size, off)
      context.fillStyle = colour
      context.fill('evenodd')
    }
    for (const [off, colour, wide] of [
      [2.2, landLine, 0.25],
      [11, hill, 0.12],
      [19, hill, 0.12],
      [26, hill, 0.12],
    ] as const) {
      context.beginPath()
      shore(context, size, off)
      context.strokeStyle = colour
      context.lineWidth = wide
      context.stroke()
    }
  }
}

/** Adds a closed, uneven line around a position, in the shape of a shoal. */
function blob(context: CanvasRenderingContext2D, at: Spot, radius: number, seed: number): void {
  const points = 40
  for (let i = 0; i <= points; i++) {
    const angle = (i / points) * 2 * Math.PI
    const uneven = 1 + 0.2 * Math.sin(2 * angle + seed) + 0.1 * Math.sin(3 * angle + 2 * seed)
    const [x, y] = [at.x + 1.15 * radius * uneven * Math.cos(angle), at.y + 0.85 * radius * uneven * Math.sin(angle)]
    if (i === 0) context.moveTo(x, y)
    else context.lineTo(x, y)
  }
}

/** Adds the line of the coast all the way round, about `off` units outside the walls. */
function shore(context: CanvasRenderingContext2D, size: number, off: number): void {
  const waver = (n: number, side: number) =>
    off +
    (0.8 + 0.5 * Math.sin(n * 0.21 + side + off) + 0.3 * Math.sin(n * 0.67 + 2 * side)) * Math.min(1 + off / 8, off)
  const step = 2
  context.moveTo(-waver(0, 4), -waver(0, 1))
  for (let n = 0; n <= size; n += step) context.lineTo(n, -waver(n, 1))
  for (let n = 0; n <= size; n += step) context.lineTo(size + waver(n, 2), n)
  for (let n = size; n >= 0; n -= step) context.lineTo(n, size + waver(n, 3))
  for (let n = size; n >= 0; n -= step) context.lineTo(-waver(n, 4), n)
  context.closePath()
}

/** Returns a pseudo-random number from 0 to 1 that is the same in every tab. */
function chance(n: number, salt: number): number {
  const hash = Math.sin(n * 127.1 + salt * 311.7) * 43_758.5453
  return hash - Math.floor(hash)
}
