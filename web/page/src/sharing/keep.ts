import type { Item } from './items.js'

/** In bytes. Larger offers are not copied into the browser's storage: their files must be chosen again after a reload. */
export const KEEP_BYTES = 64 << 20
/** Offers that other tabs left behind are removed after this time. */
const LEFT_MS = 7 * 24 * 3_600_000
/** The key in this tab's session storage: the peer whose offers are kept. */
const KEY = 'tombolo.offers.1'

/** An offer, stored for the next load of its tab. */
export interface KeptOffer {
  /** The tab's peer ID. */
  peer: string
  name: string
  /** The salt of its files' entity tags, so that downloads can resume. */
  salt: string
  at: number
  /** Undefined if the files are too large to be stored. */
  items: Item[] | undefined
  /** The files' names and sizes. */
  files: { name: string; size: number }[]
}

/** Stores what this tab shares in IndexedDB, so that it survives a reload. Methods reject if anything fails. */
export class Keep {
  #db: Promise<IDBDatabase> | undefined

  constructor(readonly peer: string) {}

  /** Returns what this tab shared before a reload, and removes what other tabs left behind. */
  async all(): Promise<KeptOffer[]> {
    const kept = await this.#do<KeptOffer[]>('readonly', (store) => store.getAll())
    const old = Date.now() - LEFT_MS
    const own = sessionStorage.getItem(KEY) === this.peer
    for (const { peer, name, at } of kept) {
      if (at < old && !(own && peer === this.peer)) await this.#do('readwrite', (store) => store.delete([peer, name]))
    }
    return own ? kept.filter(({ peer }) => peer === this.peer).sort((a, b) => a.at - b.at) : []
  }

  async put(offer: Omit<KeptOffer, 'peer' | 'at'>): Promise<void> {
    if (sessionStorage.getItem(KEY) !== this.peer) {
      // A closed tab may have left offers under the same ID. They are not this tab's.
      const range = IDBKeyRange.bound([this.peer], [this.peer, []])
      await this.#do('readwrite', (store) => store.delete(range))
      sessionStorage.setItem(KEY, this.peer)
    }
    await this.#do('readwrite', (store) => store.put({ ...offer, peer: this.peer, at: Date.now() }))
  }

  async remove(name: string): Promise<void> {
    await this.#do('readwrite', (store) => store.delete([this.peer, name]))
  }

  async #do<T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest): Promise<T> {
    const db = await (this.#db ??= open())
    return new Promise<T>((resolve, reject) => {
      const transaction = db.transaction('offers', mode)
      const request = ask(transaction.objectStore('offers'))
      transaction.oncomplete = () => resolve(request.result as T)
      transaction.onerror = transaction.onabort = () =>
        reject(transaction.error ?? new Error('the browser keeps nothing'))
    })
  }
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open('tombolo-page', 1)
    request.onupgradeneeded = () => request.result.createObjectStore('offers', { keyPath: ['peer', 'name'] })
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('the browser keeps nothing'))
  })
}
