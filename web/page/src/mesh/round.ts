/** How many pages answer a question. In a larger mesh it is always the same pages, apart from those that answer at the same moment. */
export const MAX_ANSWERS = 256

/**
 * Counts the answers to the last question. Pages answer at different times, and stop once there are enough answers; otherwise each of n
 * pages would receive n answers.
 */
export class Round {
  #answers = 0
  readonly #turn: number

  constructor(id: string) {
    this.#turn = turnOf(id)
  }

  /** A page has asked. */
  begin(): void {
    this.#answers = 0
  }

  /** Another page has answered. */
  heard(): void {
    this.#answers++
  }

  /** Whether enough have answered. */
  get full(): boolean {
    return this.#answers >= MAX_ANSWERS
  }

  /** Returns how long this page waits before it answers, if all answers should arrive within `ms`. */
  wait(ms: number): number {
    return this.#turn * ms
  }
}

/**
 * Returns when a page answers, from 0 to 1, by a hash of its ID (FNV-1a with the final mix of MurmurHash3). It is the same in each round,
 * so that a map of a large mesh keeps showing the same pages.
 */
function turnOf(id: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}
