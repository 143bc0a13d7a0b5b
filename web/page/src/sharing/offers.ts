import type { Listener, TomboloNode } from '@tombolo/node'
import { fileFailure, serveFailure, type Failure } from '../failures.js'
import { Store } from '../source.js'
import { dropped, unfolded, type Item } from './items.js'
import { Keep, KEEP_BYTES, type KeptOffer } from './keep.js'
import { isName, linkTo, nameFrom, protocolOf } from './share-link.js'
import { answer, shelve, type Shelved, type Watch } from './shelf.js'
import { calmly } from '../timers.js'

/** How many fetches are listed for each offer. */
const MAX_FETCHES = 20
/** The shortest time between two updates of the progress that is shown. */
const SHOW_MS = 250
const MAX_ANNOUNCED = 256
/** A fetch that has moved nothing for this long counts as stalled, and no longer stops a person from closing the tab. */
const STALLED_MS = 30_000

/** All requests of one peer for one file of an offer. */
export interface Fetched {
  peer: string
  file: string
  /** The time of the last request. */
  at: number
  /** When bytes of the file were last sent or requested. */
  moved: number
  requests: number
  bytes: number
  /** How the last request ended, or that it has not. */
  how: 'under way' | 'whole' | 'cut off'
}

/** Files, or a page, that this tab shares. */
export interface Offer {
  name: string
  files: { name: string; size: number }[]
  link: string
  fetched: Fetched[]
  /** How many requests for files there were, including those that are no longer listed. */
  requests: number
  /** Whether the offer survives a reload of this tab. */
  keeping: 'under way' | 'kept' | 'not kept'
  failure: Failure | undefined
}

/** An offer from before a reload that is no longer available. */
export type Lost = Pick<KeptOffer, 'name' | 'files'>

export interface OffersState {
  offers: Offer[]
  lost: Lost[]
  /** Why something could not be shared. */
  failure: Failure | undefined
}

/** What this tab shares with peers. */
export class Offers {
  readonly view = new Store<OffersState>({ offers: [], lost: [], failure: undefined })
  readonly #listeners = new Map<string, Listener>()
  #node: TomboloNode | undefined
  #keep: Keep | undefined

  /** `keeps`: whether the tab is the same peer after a reload, so that its links can stay valid. */
  constructor(readonly keeps: boolean) {
    const carriesFiles = ({ dataTransfer }: DragEvent) => dataTransfer?.types.includes('Files') === true
    window.addEventListener('dragover', (event) => {
      if (carriesFiles(event)) event.preventDefault()
    })
    window.addEventListener('drop', (event) => {
      if (!carriesFiles(event) || event.defaultPrevented) return
      event.preventDefault()
      location.hash = '#share'
      void dropped(event.dataTransfer!).then((items) => this.share(items))
    })
    window.addEventListener('beforeunload', (event) => {
      const moves = ({ keeping, fetched }: Offer) => keeping !== 'kept' || fetched.some(isMoving)
      if (this.state.offers.some(moves)) event.preventDefault() // the browser then asks before it closes the tab
    })
  }

  get state(): OffersState {
    return this.view.value
  }

  start(node: TomboloNode): void {
    this.#node = node
    if (!this.keeps) return
    this.#keep = new Keep(node.id)
    void this.#restore(this.#keep)
  }

  /** Shares files under the wanted name, or else one made from theirs. Resolves to the name, or to undefined if it failed. */
  async share(chosen: (Item | File)[], wanted = ''): Promise<string | undefined> {
    const items = chosen.map((one) => (one instanceof File ? { path: one.name, file: one } : one))
    if (items.length === 0) return undefined
    const { folder, items: within } = unfolded(items)
    const name =
      wanted !== '' ? wanted : this.#free(nameFrom(folder ?? (items.length === 1 ? items[0]!.path : 'files')))
    if (!isName(name)) {
      const advice = 'A name has 1 to 48 small letters, digits, dots and dashes, and begins with a letter or a digit.'
      this.view.change({ failure: { title: 'It cannot be shared under that name', advice, detail: name } })
      return undefined
    }
    const salt = crypto.getRandomValues(new Uint32Array(2)).join('-')
    if (!(await this.#serve(name, within, salt))) return undefined
    this.view.change({ lost: this.state.lost.filter((lost) => lost.name !== name) })
    void this.#remember(name, within, salt)
    return name
  }

  /** Stops sharing an offer. Fetches in progress finish. */
  async stop(name: string): Promise<void> {
    try {
      await this.#listeners.get(name)?.close()
    } catch (error) {
      return this.#change(name, () => ({ failure: serveFailure(error) }))
    }
    this.#listeners.delete(name)
    this.view.change({ offers: this.state.offers.filter((offer) => offer.name !== name) })
    await this.forget(name)
  }

  /** Forgets an offer from before a reload. */
  async forget(name: string): Promise<void> {
    this.view.change({ lost: this.state.lost.filter((lost) => lost.name !== name) })
    await this.#keep?.remove(name).catch(() => {}) // if this fails, it was not stored
  }

  /** Returns a name that this tab has not used yet. */
  #free(name: string): string {
    const taken = new Set([...this.#listeners.keys(), ...this.state.lost.map((lost) => lost.name)])
    for (let n = 1, free = name; ; free = `${name.slice(0, 44)}-${++n}`) if (!taken.has(free)) return free
  }

  async #serve(name: string, items: Item[], salt: string): Promise<boolean> {
    const node = this.#node
    if (node === undefined) return false
    const shelf = shelve(items, salt)
    const offer: Offer = {
      name,
      files: shelf.map(({ name, file }) => ({ name, size: file.size })),
      link: linkTo({ peer: node.id, name }),
      fetched: [],
      requests: 0,
      keeping: this.keeps ? 'under way' : 'not kept',
      failure: undefined,
    }
    this.view.change({ failure: undefined })
    try {
      const watch = (peer: string) => (shelved: Shelved) => this.#watch(name, peer, shelved)
      const byName = new Map(shelf.map((shelved) => [shelved.name, shelved]))
      const handler = (request: Request, { peer }: { peer: string }) => answer(request, byName, watch(peer))
      const listener = await node.serve(protocolOf(name), handler, { announce: announced(offer) })
      this.#listeners.set(name, listener)
    } catch (error) {
      this.view.change({ failure: serveFailure(error) })
      return false
    }
    this.view.change({ offers: [offer, ...this.state.offers] })
    return true
  }

  /** Shares again what was shared before a reload. */
  async #restore(keep: Keep): Promise<void> {
    try {
      for (const { name, items, files, salt } of await keep.all()) {
        if (items === undefined) this.view.change({ lost: [...this.state.lost, { name, files }] })
        else if (await this.#serve(name, items, salt)) this.#change(name, () => ({ keeping: 'kept' }))
      }
    } catch {
      // This browser stores nothing, and each offer says so.
    }
  }

  async #remember(name: string, items: Item[], salt: string): Promise<void> {
    if (this.#keep === undefined) return
    const files = items.map(({ path, file }) => ({ name: path, size: file.size }))
    const fits = files.reduce((sum, { size }) => sum + size, 0) <= KEEP_BYTES
    try {
      await this.#keep.put({ name, salt, files: files.slice(0, 1), items: fits ? items : undefined })
      this.#change(name, () => ({ keeping: fits ? 'kept' : 'not kept' }))
    } catch {
      this.#change(name, () => ({ keeping: 'not kept' }))
    }
  }

  /** Follows a peer's fetch of a file. */
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
    let over = false
    const show = (how: Fetched['how']) => {
      const bytes = unshown
      unshown = 0
      this.#change(name, ({ fetched }) => ({
        fetched: fetched.map((row) =>
          row.peer === peer && row.file === file ? { ...row, bytes: row.bytes + bytes, how, moved: Date.now() } : row,
        ),
      }))
    }
    const showSome = calmly(SHOW_MS, () => over || show('under way'))
    return {
      more: (bytes) => {
        unshown += bytes
        showSome()
      },
      end: (how, error) => {
        over = true
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

/** The text that peers see among this tab's services. */
function announced({ files }: Offer): string {
  const [first] = files
  const text = files.length === 1 ? `${first!.name}, from a tab` : `${files.length} files from a tab: ${first!.name}, …`
  const room = new Uint8Array(MAX_ANNOUNCED)
  const { written } = new TextEncoder().encodeInto(text, room)
  return new TextDecoder().decode(room.subarray(0, written))
}
