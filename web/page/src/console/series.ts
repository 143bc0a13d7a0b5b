/** How far back the plots go. */
export const WINDOW_MS = 5 * 60_000

/** Two samples further apart than this have a gap between them. */
const GAP_MS = 15_000

/** A measurement; `undefined` if it failed or could not be made. */
export interface Sample {
  at: number
  value: number | undefined
}

/** Adds a sample, and drops the samples that have left the window. */
export function appended(samples: readonly Sample[], at: number, value: number | undefined): Sample[] {
  return [...samples.filter((sample) => sample.at > at - WINDOW_MS), { at, value }]
}

/** Returns the last value, the smallest and the largest; `undefined` if there are none. */
export function extent(samples: readonly Sample[]): { last: number; min: number; max: number } | undefined {
  const values = samples.flatMap(({ value }) => (value === undefined ? [] : [value]))
  if (values.length === 0) return undefined
  return { last: values.at(-1)!, min: Math.min(...values), max: Math.max(...values) }
}

/**
 * Returns the samples as an SVG path. x runs from the window's beginning (0) to now (`width`), and y from 0 up to `top`. A failed or
 * missing sample leaves a gap.
 */
export function plot(samples: readonly Sample[], now: number, top: number, width: number, height: number): string {
  let path = ''
  let last: number | undefined // where the line ends so far
  for (const { at, value } of samples) {
    if (value === undefined) {
      last = undefined
      continue
    }
    const on = last !== undefined && at - last < GAP_MS
    const x = width * (1 - (now - at) / WINDOW_MS)
    const y = height * (1 - value / top)
    path += `${on ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`
    if (!on) path += 'h.01' // a lone sample is drawn as a dot
    last = at
  }
  return path
}

/** Rounds up to the next of 1, 2, 5, 10, …, for the top of a scale. */
export function roundTop(value: number): number {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((n) => n * power).find((top) => top >= value)!
}
