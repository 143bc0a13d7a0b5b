import type { Item } from './items.js'

/** What is larger is not copied into the browser's store: it has to be chosen again after a reload. */
export const KEEP_BYTES = 64 << 20
/** What tabs that are gone have left is removed after so long. */
const LEFT_MS = 7 * 24 * 3_600_000
/** Says in this tab's session whose offers there are. */
const KEY = 'tombolo.offers.1'

/** What a tab shares, for its next load. */
export interface KeptOffer {
  /** The tab's peer id. */
  peer: string
  name: string
  /** Of its files' entity tags, so that downloads go on. */
  salt: string
  at: number
  /** Undefined: they are too large to be kept. */
  items: Item[] | undefined
  /** The files' names and sizes. */
  files: { name: string; size: number }[]
}

/** Keeps what this tab shares in IndexedDB, so that a reload does not end it. Whatever fails rejects. */
export class Keep {
  #db: Promise<IDBDatabase> | undefined

  constructor(readonly peer: string) {}

  /** What this tab shared before it was loaded again; removes what others have left. */
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
      // What a tab that is closed has left under this id is not this one's.
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
