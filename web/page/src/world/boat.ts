import { cleanName } from './records.js'

/** Ends in the version of the stored format. */
const KEY = 'tombolo.boat.1'

/** How a person's boat looks to others. */
export interface Boat {
  name: string
  hue: number
}

/** Colours to choose from, by name. */
export const HUES: readonly (readonly [name: string, hue: number])[] = [
  ['red', 0],
  ['orange', 18],
  ['gold', 32],
  ['green', 96],
  ['teal', 124],
  ['blue', 150],
  ['violet', 188],
  ['pink', 228],
]

/** Returns the boat that this browser used last, or a new one of a random colour. */
export function keptBoat(): Boat {
  const anyHue = HUES[Math.floor(Math.random() * HUES.length)]![1]
  try {
    const { name, hue } = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Record<keyof Boat, unknown>>
    return {
      name: typeof name === 'string' ? cleanName(name) : '',
      hue: HUES.some((one) => one[1] === hue) ? (hue as number) : anyHue,
    }
  } catch {
    return { name: '', hue: anyHue } // storage is not allowed, or its contents are not this page's
  }
}

export function keepBoat(boat: Boat): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(boat))
  } catch {
    // The boat must then be chosen again the next time.
  }
}
