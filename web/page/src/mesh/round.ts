/** So many pages answer a question: where there are more, always the same, but for those that answer at the same moment. */
export const MAX_ANSWERS = 256

/** What a page knows of the answers to the last question. All answer, but not at once; if there are many, not all: else each of n pages would hear n answers. */
export class Round {
  #answers = 0
  readonly #turn: number

  constructor(id: string) {
    this.#turn = turnOf(id)
  }

  /** Somebody asks. */
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

  /** How long this page waits with its own answer, if all are to come in so many ms. */
  wait(ms: number): number {
    return this.#turn * ms
  }
}

/** When a page answers, from 0 to 1, by a hash of its id (FNV-1a, mixed as MurmurHash3 ends): in each round at the same time, so that the map of many is of the same pages. */
function turnOf(id: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}
