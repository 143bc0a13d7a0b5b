import type { TomboloNode } from '@tombolo/node'
import { awayFailure, fetchFailure, message, ownLink, statusFailure, tooMuch, type Failure } from '../failures.js'
import { protocolOf, targetOf, type Target } from './share-link.js'
import { readListing, shownName, type Listing } from './listing.js'
import { seek } from '../tab/seek.js'
import type { Listed } from './shelf.js'
import { anyOf } from '../signals.js'
import { Store } from '../source.js'

const ASK_MS = 20_000
/** How often what is on its way is shown anew. */
const SHOW_MS = 200
/** So much of what came is kept as bytes at most; then it is the browser's, which may put it on disk. */
const FOLD_BYTES = 8 << 20

/** A file on its way from the peer. */
export interface Download {
  file: Listed
  received: number
  /** As the peer says. */
  total: number
  how: 'under way' | 'done' | 'cut off' | 'failed'
  failure: Failure | undefined
  /** Where the browser has it, once it is all here. */
  url: string | undefined
}

export interface GettingState {
  target: Target | undefined
  /**
   * - `waiting`: for this tab's node
   * - `looking`: for the peer, and what it has
   * - `there`: it has something
   */
  phase: 'waiting' | 'looking' | 'there' | 'failed'
  /** What there is. Undefined: a service that does not list it, which can be shown only. */
  listing: Listing | undefined
  failure: Failure | undefined
  /** By the file's name. */
  downloads: ReadonlyMap<string, Download>
}

/** What came of a download, and of which version of the file. */
interface Part {
  done: Blob
  recent: Uint8Array<ArrayBuffer>[]
  recentBytes: number
  etag: string | null
}

const NOTHING: GettingState = {
  target: undefined,
  phase: 'waiting',
  listing: undefined,
  failure: undefined,
  downloads: new Map(),
}

/** What the page's address leads to: something that another tab serves. */
export class Getting {
  readonly view = new Store(NOTHING)
  readonly #parts = new Map<string, Part>()
  readonly #stops = new Map<string, AbortController>()
  #node: TomboloNode | undefined
  #over = new AbortController()

  constructor() {
    window.addEventListener('hashchange', () => this.#read())
    this.#read()
  }

  get state(): GettingState {
    return this.view.value
  }

  start(node: TomboloNode): void {
    this.#node = node
    if (this.state.phase === 'waiting') void this.look()
  }

  /** Looks for the peer, and asks what it has. */
  async look(): Promise<void> {
    const { target } = this.state
    const node = this.#node
    if (node === undefined || target === undefined) return
    if (target.peer === node.id) return this.view.change({ phase: 'failed', failure: ownLink() })
    const { signal } = this.#over
    this.view.change({ phase: 'looking', failure: undefined })
    const fail = (failure: Failure) => {
      if (!signal.aborted) this.view.change({ phase: 'failed', failure })
    }
    try {
      await seek(node, target.peer, signal)
    } catch (error) {
      return fail(awayFailure(error))
    }
    try {
      const listing = await this.#list(node, target, signal)
      signal.throwIfAborted()
      this.view.change({ phase: 'there', listing })
    } catch (error) {
      fail(error instanceof Refused ? error.failure : fetchFailure(error, 0))
    }
  }

  /** Forgets it, what came of it included. */
  close(): void {
    this.#clear()
    history.replaceState(null, '', `${location.pathname}${location.search}#share`)
  }

  /** Ends a download; what has come is kept. */
  stop(name: string): void {
    this.#stops.get(name)?.abort()
  }

  /** Fetches a file, from where it was cut off if it was; hands it to the browser when all of it is here. */
  async download(file: Listed): Promise<void> {
    const { target } = this.state
    if (this.#node === undefined || target === undefined) return
    if (this.state.downloads.get(file.name)?.how === 'under way') return
    const part = this.#parts.get(file.name) ?? { done: new Blob(), recent: [], recentBytes: 0, etag: null }
    this.#parts.set(file.name, part)
    const stop = new AbortController()
    const over = this.#over.signal
    this.#stops.set(file.name, stop)
    const signal = anyOf(stop.signal, over)
    const received = part.done.size + part.recentBytes
    this.#show({ file, received, total: file.size, how: 'under way', failure: undefined, url: undefined })
    try {
      await this.#receive(this.#node, target, file, part, signal)
      if (over.aborted) return
      fold(part)
      const url = URL.createObjectURL(new Blob([part.done], { type: 'application/octet-stream' }))
      this.#parts.delete(file.name)
      this.#change(file.name, { how: 'done', url, received: part.done.size })
      save(url, shownName(file))
    } catch (error) {
      if (over.aborted) return
      const here = part.done.size + part.recentBytes
      const how = here > 0 ? 'cut off' : 'failed'
      if (stop.signal.aborted) return this.#change(file.name, { how, received: here })
      const failure = error instanceof Refused ? error.failure : fetchFailure(error, here)
      this.#change(file.name, { how, received: here, failure })
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
    // That it has nothing of this kind does not mean that it has nothing.
    if (response.status >= 400 && response.status !== 406) throw new Refused(statusFailure('/', response.status))
    return undefined
  }

  async #receive(node: TomboloNode, target: Target, file: Listed, part: Part, signal: AbortSignal): Promise<void> {
    const from = part.done.size + part.recentBytes
    const headers: Record<string, string> = {}
    if (from > 0 && part.etag !== null) Object.assign(headers, { range: `bytes=${from}-`, 'if-range': part.etag })
    const path = `/${encodeURIComponent(file.name)}`
    const response = await node.fetch(target.peer, protocolOf(target.name), path, { headers, signal })
    const goesOn = response.status === 206 && response.headers.get('content-range')?.startsWith(`bytes ${from}-`)
    if (!goesOn && response.status !== 200) {
      await response.body?.cancel()
      if (response.status === 416 && from > 0) {
        empty(part) // it ends where this part does, or before: all of it once more
        return this.#receive(node, target, file, part, signal)
      }
      throw new Refused(statusFailure(path, response.status))
    }
    if (!goesOn) empty(part) // it is another now
    part.etag = response.headers.get('etag')
    const begin = part.done.size + part.recentBytes
    const rest = response.headers.get('content-length')
    const total = rest === null ? file.size : begin + Number(rest)
    this.#change(file.name, { total, received: begin })
    let shownAt = 0
    // The stream's own reader: of a Response's that fails, the reason would be lost.
    for (const reader = response.body!.getReader(); ;) {
      const { done, value } = await reader.read()
      if (done) return
      part.recent.push(value)
      part.recentBytes += value.length
      if (part.done.size + part.recentBytes > total) {
        empty(part)
        await reader.cancel()
        throw new Refused(tooMuch(total))
      }
      if (part.recentBytes >= FOLD_BYTES) fold(part)
      if (performance.now() - shownAt < SHOW_MS) continue
      shownAt = performance.now()
      this.#change(file.name, { received: part.done.size + part.recentBytes })
    }
  }

  /** Reads the page's address. One that leads elsewhere, as to another view, ends nothing, nor does one that leads here once more. */
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
    this.#parts.clear()
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

/** An answer that is not the file. */
class Refused extends Error {
  constructor(readonly failure: Failure) {
    super(failure.detail)
  }
}

function empty(part: Part): void {
  Object.assign(part, { done: new Blob(), recent: [], recentBytes: 0, etag: null })
}

function fold(part: Part): void {
  part.done = new Blob([part.done, ...part.recent])
  part.recent = []
  part.recentBytes = 0
}

function save(url: string, name: string): void {
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
}
