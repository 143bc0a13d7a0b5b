import { cleanName } from './records.js'

/** With the version of what is kept. */
const KEY = 'tombolo.boat.1'

/** What a person's boat looks like to others. */
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

/** The boat that this browser had last, or one of some colour. */
export function keptBoat(): Boat {
  const anyHue = HUES[Math.floor(Math.random() * HUES.length)]![1]
  try {
    const { name, hue } = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Record<keyof Boat, unknown>>
    return {
      name: typeof name === 'string' ? cleanName(name) : '',
      hue: HUES.some((one) => one[1] === hue) ? (hue as number) : anyHue,
    }
  } catch {
    return { name: '', hue: anyHue } // this page may keep nothing, or what is there is not its own
  }
}

export function keepBoat(boat: Boat): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(boat))
  } catch {
    // It is asked for again the next time.
  }
}
