import type { TomboloNode } from '@tombolo/node'
import {
  awayFailure,
  fetchFailure,
  loadFailure,
  message,
  ownLink,
  statusFailure,
  tooMuch,
  type Failure,
} from '../failures.js'
import { Disk } from './disk.js'
import { Part } from './part.js'
import { protocolOf, targetOf, type Target } from './share-link.js'
import { readListing, shownName, type Listing } from './listing.js'
import { seek } from '../tab/seek.js'
import type { Listed } from './shelf.js'
import { anyOf } from '../signals.js'
import { calmly } from '../timers.js'
import { Store } from '../source.js'

const ASK_MS = 20_000
/** The shortest time between two updates of the progress that is shown. */
const SHOW_MS = 200
/** How long to wait before looking for an absent peer again: at first, and at most. */
const AGAIN_MS = { least: 3_000, most: 30_000 }
/** How many files are fetched at once when all of them are wanted. */
const AT_ONCE = 4

/** The download of one file from the peer. */
export interface Download {
  file: Listed
  received: number
  /** The size that the peer announced. */
  total: number
  how: 'under way' | 'done' | 'cut off' | 'failed'
  failure: Failure | undefined
  /** The URL of the finished file in this browser. */
  url: string | undefined
}

export interface GettingState {
  target: Target | undefined
  /**
   * - `waiting`: waiting for this tab's node
   * - `looking`: looking for the peer and its files
   * - `there`: the peer shares something
   */
  phase: 'waiting' | 'looking' | 'there' | 'failed'
  /** The files. Undefined for a service without a listing, which can only be opened as a page. */
  listing: Listing | undefined
  failure: Failure | undefined
  /** Whether the page will look for the peer again by itself. */
  again: boolean
  /** By file name. */
  downloads: ReadonlyMap<string, Download>
  /** The download of all files at once, if somebody asked for it. */
  all: All | undefined
  /**
   * Whether downloads are written to disk as they arrive, and so survive a reload. Otherwise they stay in memory until they are finished.
   */
  toDisk: boolean
}

export interface All {
  how: 'under way' | 'packing' | 'done' | 'cut off'
  /** How many files are finished, out of `of`. */
  done: number
  of: number
  failure: Failure | undefined
  url: string | undefined
}

const NOTHING: GettingState = {
  target: undefined,
  phase: 'waiting',
  listing: undefined,
  failure: undefined,
  again: false,
  downloads: new Map(),
  all: undefined,
  toDisk: true,
}

/** Gets what the page's address links to: something that another tab shares. */
export class Getting {
  readonly view = new Store(NOTHING)
  readonly #parts = new Map<string, Part>()
  /** Finished files, for the archive of all. */
  readonly #wholes = new Map<string, Blob>()
  #disk: Promise<Disk | undefined> | undefined
  #retry: ReturnType<typeof setTimeout> | undefined
  readonly #stops = new Map<string, AbortController>()
  #node: TomboloNode | undefined
  #over = new AbortController()

  constructor() {
    window.addEventListener('hashchange', () => this.#read())
    window.addEventListener('beforeunload', (event) => {
      const { downloads, all } = this.state
      const moves = [...downloads.values()].some(({ how }) => how === 'under way')
      if (moves || all?.how === 'under way' || all?.how === 'packing') event.preventDefault() // the browser then asks
    })
    this.#read()
  }

  get state(): GettingState {
    return this.view.value
  }

  start(node: TomboloNode): void {
    this.#node = node
    if (this.state.phase === 'waiting') void this.look()
  }

  /** Looks for the peer, and asks for its listing. If that fails, it tries again by itself, with increasing pauses. */
  async look(wait = AGAIN_MS.least): Promise<void> {
    clearTimeout(this.#retry)
    const { target, phase } = this.state
    const node = this.#node
    if (node === undefined || target === undefined) return
    if (target.peer === node.id) return this.view.change({ phase: 'failed', failure: ownLink(), again: false })
    const { signal } = this.#over
    if (phase !== 'failed') this.view.change({ phase: 'looking', failure: undefined })
    const fail = (failure: Failure) => {
      if (signal.aborted) return
      this.view.change({ phase: 'failed', failure, again: true })
      this.#retry = setTimeout(() => void this.look(Math.min(wait * 1.5, AGAIN_MS.most)), wait)
    }
    try {
      await seek(node, target.peer, signal)
    } catch (error) {
      return fail(awayFailure(error))
    }
    try {
      const listing = await this.#list(node, target, signal)
      signal.throwIfAborted()
      this.view.change({ phase: 'there', listing, failure: undefined })
      await this.#resume(target, listing, signal)
    } catch (error) {
      fail(error instanceof Refused ? error.failure : fetchFailure(error, 0))
    }
  }

  /** Shows the downloads that are stored from before a reload. */
  async #resume(target: Target, listing: Listing | undefined, signal: AbortSignal): Promise<void> {
    const disk = await (this.#disk ??= Disk.open())
    if (signal.aborted) return
    this.view.change({ toDisk: disk !== undefined })
    for (const file of listing?.files ?? []) {
      if (this.#parts.has(file.name) || !disk?.has(keyOf(target, file.name))) continue
      const part = await Part.open(keyOf(target, file.name), disk)
      if (signal.aborted) return
      this.#parts.set(file.name, part)
      const cut = { received: part.size, total: file.size, how: 'cut off', failure: undefined, url: undefined } as const
      if (part.size > 0) this.#show({ file, ...cut })
    }
  }

  /** Forgets the link and all of its downloads. */
  close(): void {
    this.#clear()
    history.replaceState(null, '', `${location.pathname}${location.search}#share`)
  }

  /** Stops a download; the bytes that have arrived are kept. */
  stop(name: string): void {
    this.#stops.get(name)?.abort()
  }

  /** Fetches a file, resuming it if it was cut off, and saves it once it is complete. */
  async download(file: Listed): Promise<void> {
    const blob = await this.#fetch(file)
    if (blob === undefined) return
    const url = URL.createObjectURL(blob)
    this.#change(file.name, { url })
    save(url, shownName(file).split('/').at(-1)!)
  }

  /** Fetches all files that are not here yet, and saves all of them as one archive. */
  async downloadAll(): Promise<void> {
    const { target, listing, all } = this.state
    if (target === undefined || listing === undefined || all?.how === 'under way' || all?.how === 'packing') return
    const { signal } = this.#over
    const { files } = listing
    const show = (change: Partial<All>) => {
      const now = { how: 'under way', of: files.length, failure: undefined, url: undefined, ...change } as const
      if (!signal.aborted) this.view.change({ all: { ...now, done: this.#wholes.size } })
    }
    show({})
    const left = files.filter(({ name }) => !this.#wholes.has(name))
    const fetchOne = async () => {
      for (let file = left.shift(); file !== undefined; file = left.shift()) {
        const whole = await this.#fetch(file)
        if (whole === undefined) left.length = 0
        else show({})
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, fetchOne))
    if (signal.aborted) return
    if (this.#wholes.size < files.length) return show({ how: 'cut off' })
    show({ how: 'packing' })
    try {
      const url = URL.createObjectURL(await this.#pack(files))
      show({ how: 'done', url })
      save(url, `${target.name}.zip`)
    } catch (error) {
      show({ how: 'cut off', failure: loadFailure(error) })
    }
  }

  /** Stops fetching all files; the bytes that have arrived are kept. */
  stopAll(): void {
    for (const stop of this.#stops.values()) stop.abort()
  }

  async #pack(files: Listed[]): Promise<Blob> {
    const { archive } = await import('./archive.js')
    const packed = new Part('', await this.#disk)
    const reader = archive(files.map(({ name }) => ({ name, blob: this.#wholes.get(name)! }))).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return packed.whole()
      await packed.add(value)
    }
  }

  /** Resolves to the whole file, or to undefined if that failed; the failure is shown. */
  async #fetch(file: Listed): Promise<Blob | undefined> {
    const { target } = this.state
    if (this.#node === undefined || target === undefined) return undefined
    if (this.state.downloads.get(file.name)?.how === 'under way') return undefined
    const stop = new AbortController()
    const over = this.#over.signal
    this.#stops.set(file.name, stop)
    const signal = anyOf(stop.signal, over)
    const begun = this.state.downloads.get(file.name)?.received ?? 0
    this.#show({ file, received: begun, total: file.size, how: 'under way', failure: undefined, url: undefined })
    const disk = await (this.#disk ??= Disk.open())
    const part = this.#parts.get(file.name) ?? (await Part.open(keyOf(target, file.name), disk))
    if (over.aborted) return undefined
    this.#parts.set(file.name, part)
    try {
      await this.#receive(this.#node, target, file, part, signal)
      if (over.aborted) return undefined
      const blob = await part.whole()
      this.#parts.delete(file.name)
      this.#wholes.set(file.name, blob)
      this.#change(file.name, { how: 'done', received: blob.size })
      return blob
    } catch (error) {
      if (over.aborted) return undefined
      const how = part.size > 0 ? 'cut off' : 'failed'
      if (stop.signal.aborted) this.#change(file.name, { how, received: part.size })
      else {
        const failure = error instanceof Refused ? error.failure : fetchFailure(error, part.size)
        this.#change(file.name, { how, received: part.size, failure })
      }
      return undefined
    } finally {
      if (this.#stops.get(file.name) === stop) this.#stops.delete(file.name)
    }
  }

  async #list(node: TomboloNode, { peer, name }: Target, signal: AbortSignal): Promise<Listing | undefined> {
    const response = await node.fetch(peer, protocolOf(name), '/', {
      headers: { accept: 'application/json' },
      signal: anyOf(signal, AbortSignal.timeout(ASK_MS)),
    })
    if (response.ok && response.headers.get('content-type')?.startsWith('application/json'))
      return readListing(response)
    await response.body?.cancel()
    // A 406 means that it has no such listing, not that it has nothing.
    if (response.status >= 400 && response.status !== 406) throw new Refused(statusFailure('/', response.status))
    return undefined
  }

  async #receive(node: TomboloNode, target: Target, file: Listed, part: Part, signal: AbortSignal): Promise<void> {
    const from = part.size
    const headers: Record<string, string> = {}
    if (from > 0 && part.etag !== null) Object.assign(headers, { range: `bytes=${from}-`, 'if-range': part.etag })
    const path = `/${file.name.split('/').map(encodeURIComponent).join('/')}`
    const response = await node.fetch(target.peer, protocolOf(target.name), path, { headers, signal })
    const goesOn = response.status === 206 && response.headers.get('content-range')?.startsWith(`bytes ${from}-`)
    if (!goesOn && response.status !== 200) {
      await response.body?.cancel()
      if (response.status === 416 && from > 0) {
        part.empty() // the file ends where this part does, or before: fetch all of it again
        return this.#receive(node, target, file, part, signal)
      }
      throw new Refused(statusFailure(path, response.status))
    }
    if (!goesOn) part.empty() // the file has changed
    part.etag = response.headers.get('etag')
    const begin = part.size
    const rest = response.headers.get('content-length')
    const total = rest === null ? file.size : begin + Number(rest)
    this.#change(file.name, { total, received: begin })
    let over = false
    const show = calmly(SHOW_MS, () => over || this.#change(file.name, { received: part.size }))
    try {
      // The stream's own reader, because a Response that fails loses the reason.
      for (const reader = response.body!.getReader(); ;) {
        const { done, value } = await reader.read()
        if (done) return
        if (part.size + value.length > total) {
          part.empty()
          await reader.cancel()
          throw new Refused(tooMuch(total))
        }
        await part.add(value)
        show()
      }
    } finally {
      over = true
    }
  }

  /** Reads the page's address. Downloads continue if it leads elsewhere, such as to another view, or here once more. */
  #read(): void {
    try {
      const target = targetOf(location.hash)
      const { target: before, phase } = this.state
      if (target === undefined) return
      if (target.peer === before?.peer && target.name === before.name) {
        if (phase === 'failed') void this.look()
        return
      }
      this.#clear()
      this.view.change({ target })
      void this.look()
    } catch (error) {
      this.#clear()
      const advice = 'A part of it may be missing: ask for it again, and copy all of it.'
      const failure = { title: 'The link is broken', advice, detail: message(error) }
      this.view.change({ phase: 'failed', failure })
    }
  }

  #clear(): void {
    this.#over.abort()
    this.#over = new AbortController()
    for (const { url } of this.state.downloads.values()) if (url !== undefined) URL.revokeObjectURL(url)
    if (this.state.all?.url !== undefined) URL.revokeObjectURL(this.state.all.url)
    clearTimeout(this.#retry)
    for (const part of this.#parts.values()) part.empty()
    this.#parts.clear()
    this.#wholes.clear()
    this.view.change(NOTHING)
  }

  #show(download: Download): void {
    this.view.change({ downloads: new Map(this.state.downloads).set(download.file.name, download) })
  }

  #change(name: string, change: Partial<Download>): void {
    const download = this.state.downloads.get(name)
    if (download === undefined) return
    this.#show({ ...download, ...change })
  }
}

/** An answer other than the file. */
class Refused extends Error {
  constructor(readonly failure: Failure) {
    super(failure.detail)
  }
}

/** Identifies a file among all files of all peers. */
function keyOf({ peer, name }: Target, file: string): string {
  return `${peer}/${name}/${file}`
}

function save(url: string, name: string): void {
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
}
