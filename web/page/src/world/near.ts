import type { Spot } from './scene.js'

// The boats nearby, in words, for people who do not see the chart.

export interface Neighbour extends Spot {
  entity: number
  name: string
  hue: number
  boat: boolean
}

export interface Near {
  entity: number
  name: string
  hue: number
  /** The distance in the world's units, rounded. */
  far: number
  direction: string
}

const DIRECTIONS = ['east', 'south-east', 'south', 'south-west', 'west', 'north-west', 'north', 'north-east']
/** How many boats are named. */
const NAMED = 2

/** Returns the boats near a position, nearest first. */
export function near({ x, y }: Spot, things: Iterable<Neighbour>): Near[] {
  const boats: Near[] = []
  for (const thing of things) {
    if (!thing.boat) continue
    const [dx, dy] = [thing.x - x, thing.y - y]
    boats.push({
      entity: thing.entity,
      hue: thing.hue,
      name: thing.name || 'a boat without a name',
      far: Math.round(Math.hypot(dx, dy)),
      direction: direction(dx, dy),
    })
  }
  return boats.sort((a, b) => a.far - b.far || a.entity - b.entity)
}

export function direction(dx: number, dy: number): string {
  return DIRECTIONS[(Math.round(Math.atan2(dy, dx) / (Math.PI / 4)) + 8) % 8]!
}

/** Describes the boats in a sentence. The distances are coarse, so that the sentence changes only when something happens. */
export function nearWords(boats: Near[]): string {
  if (boats.length === 0) return 'Nobody is near.'
  const named = boats.slice(0, NAMED).map(({ name, far, direction }) => `${name}, ${farWords(far)} ${direction}`)
  const others = boats.length - named.length
  return `Near: ${named.join('; ')}${others === 0 ? '' : `; and ${others} more`}.`
}

function farWords(far: number): string {
  if (far <= 3) return 'alongside to the'
  return far < 10 ? 'close by to the' : `${Math.round(far / 10) * 10} off to the`
}
