/** How far back the plots go. */
export const WINDOW_MS = 5 * 60_000

/** What lies further apart was not measured in between. */
const GAP_MS = 15_000

/** A measurement; `undefined` is one that failed, or could not be made. */
export interface Sample {
  at: number
  value: number | undefined
}

/** Adds to what was measured, and forgets what has left the window. */
export function appended(samples: readonly Sample[], at: number, value: number | undefined): Sample[] {
  return [...samples.filter((sample) => sample.at > at - WINDOW_MS), { at, value }]
}

/** The last value, the least and the greatest; `undefined` without any. */
export function extent(samples: readonly Sample[]): { last: number; min: number; max: number } | undefined {
  const values = samples.flatMap(({ value }) => (value === undefined ? [] : [value]))
  if (values.length === 0) return undefined
  return { last: values.at(-1)!, min: Math.min(...values), max: Math.max(...values) }
}

/** The samples as a path, from the window's beginning (0) to now (`width`), and from 0 to `top` upwards. Where one failed, or none was made, it has a gap. */
export function plot(samples: readonly Sample[], now: number, top: number, width: number, height: number): string {
  let path = ''
  let last: number | undefined // where the line is now
  for (const { at, value } of samples) {
    if (value === undefined) {
      last = undefined
      continue
    }
    const on = last !== undefined && at - last < GAP_MS
    const x = width * (1 - (now - at) / WINDOW_MS)
    const y = height * (1 - value / top)
    path += `${on ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`
    if (!on) path += 'h.01' // so that one alone is seen, as a dot
    last = at
  }
  return path
}

/** The next of 1, 2, 5, 10, …: the top of a scale on which the value is. */
export function roundTop(value: number): number {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((n) => n * power).find((top) => top >= value)!
}
