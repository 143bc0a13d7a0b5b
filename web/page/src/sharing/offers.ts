import type { Listener, TomboloNode } from '@tombolo/node'
import { fileFailure, serveFailure, type Failure } from '../failures.js'
import { linkTo, protocolOf } from './share-link.js'
import { answer, shelve, type Shelved, type Watch } from './shelf.js'
import { Store } from '../source.js'

/** How many rows of who fetched what are kept of an offer. */
const MAX_FETCHES = 20
/** How often what is on its way is shown anew. */
const SHOW_MS = 250
const MAX_ANNOUNCED = 256
/** A fetch that has taken nothing for so long has come to a stop, and does not keep a person from closing the tab. */
const STALLED_MS = 30_000

/** What a peer fetched of an offer: all its requests for one file. */
export interface Fetched {
  peer: string
  file: string
  /** When the last request came. */
  at: number
  /** When bytes of it went out last, or were asked for. */
  moved: number
  requests: number
  bytes: number
  /** Of the last request. */
  how: 'under way' | 'whole' | 'cut off'
}

/** Files, or a page, that this tab serves. */
export interface Offer {
  name: string
  files: { name: string; size: number }[]
  link: string
  fetched: Fetched[]
  /** All requests for files, those whose rows made room included. */
  requests: number
  failure: Failure | undefined
}

export interface OffersState {
  offers: Offer[]
  /** Why something could not be served. */
  failure: Failure | undefined
}

/** What this tab serves to peers. */
export class Offers {
  readonly view = new Store<OffersState>({ offers: [], failure: undefined })
  readonly #listeners = new Map<string, Listener>()
  #node: TomboloNode | undefined

  get state(): OffersState {
    return this.view.value
  }

  start(node: TomboloNode): void {
    this.#node = node
    window.addEventListener('beforeunload', (event) => {
      if (this.state.offers.some(({ fetched }) => fetched.some(isMoving))) event.preventDefault() // has the browser ask whether to cut it off
    })
  }

  /** Serves files under a name. Resolves to whether that could be done. */
  async serve(name: string, files: File[]): Promise<boolean> {
    const node = this.#node
    if (node === undefined) return false
    const shelf = shelve(files)
    const offer: Offer = {
      name,
      files: shelf.map(({ name, file }) => ({ name, size: file.size })),
      link: linkTo({ peer: node.id, name }),
      fetched: [],
      requests: 0,
      failure: undefined,
    }
    this.view.change({ failure: undefined })
    try {
      const watch = (peer: string) => (shelved: Shelved) => this.#watch(name, peer, shelved)
      const handler = (request: Request, { peer }: { peer: string }) => answer(request, shelf, watch(peer))
      const listener = await node.serve(protocolOf(name), handler, { announce: announced(offer) })
      this.#listeners.set(name, listener)
    } catch (error) {
      this.view.change({ failure: serveFailure(error) })
      return false
    }
    this.view.change({ offers: [offer, ...this.state.offers] })
    return true
  }

  /** Serves it no more: what is under way goes on to its end. */
  async stop(name: string): Promise<void> {
    try {
      await this.#listeners.get(name)?.close()
    } catch (error) {
      return this.#change(name, () => ({ failure: serveFailure(error) }))
    }
    this.#listeners.delete(name)
    this.view.change({ offers: this.state.offers.filter((offer) => offer.name !== name) })
  }

  /** Counts what a peer fetches. */
  #watch(name: string, peer: string, { name: file }: Shelved): Watch {
    this.#change(name, (offer) => {
      const before = offer.fetched.find((row) => row.peer === peer && row.file === file)
      const others = offer.fetched.filter((row) => row !== before)
      const { requests = 0, bytes = 0 } = before ?? {}
      const at = Date.now()
      const row: Fetched = { peer, file, at, moved: at, requests: requests + 1, bytes, how: 'under way' }
      return { fetched: [row, ...others].slice(0, MAX_FETCHES), requests: offer.requests + 1 }
    })
    let unshown = 0
    let shownAt = 0
    const show = (how: Fetched['how']) => {
      const bytes = unshown
      unshown = 0
      shownAt = performance.now()
      this.#change(name, ({ fetched }) => ({
        fetched: fetched.map((row) =>
          row.peer === peer && row.file === file ? { ...row, bytes: row.bytes + bytes, how, moved: Date.now() } : row,
        ),
      }))
    }
    return {
      more: (bytes) => {
        unshown += bytes
        if (performance.now() - shownAt > SHOW_MS) show('under way')
      },
      end: (how, error) => {
        show(how)
        if (error !== undefined) this.#change(name, () => ({ failure: fileFailure(file, error) }))
      },
    }
  }

  #change(name: string, change: (offer: Offer) => Partial<Offer>): void {
    const offers = this.state.offers.map((offer) => (offer.name === name ? { ...offer, ...change(offer) } : offer))
    this.view.change({ offers })
  }
}

function isMoving({ how, moved }: Fetched): boolean {
  return how === 'under way' && Date.now() - moved < STALLED_MS
}

/** What peers see among this tab's services. */
function announced({ files }: Offer): string {
  const [first] = files
  const text = files.length === 1 ? `${first!.name}, from a tab` : `${files.length} files from a tab: ${first!.name}, …`
  const room = new Uint8Array(MAX_ANNOUNCED)
  const { written } = new TextEncoder().encodeInto(text, room)
  return new TextDecoder().decode(room.subarray(0, written))
}
