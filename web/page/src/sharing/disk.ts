/** Files that other tabs left behind are removed after this time. */
const LEFT_MS = 7 * 24 * 3_600_000
const FOLDER = 'downloads'
/** The key in this tab's session storage: where its downloads are, and what they hold. */
const KEY = 'tombolo.downloads.1'
/** The most downloads that survive a reload. */
const MAX_KEPT = 200

/** An unfinished download, as restored after a reload. */
export interface KeptPart {
  etag: string | null
  /** The names of its pieces on disk, in order. */
  pieces: string[]
}

interface Index {
  folder: string
  parts: Record<string, KeptPart>
}

/** The private file system that the browser gives the page. Downloads are stored there piece by piece, so they take up no memory. */
export class Disk {
  #index: Index
  #count = 0

  private constructor(
    readonly folder: FileSystemDirectoryHandle,
    index: Index,
  ) {
    this.#index = index
  }

  /** Returns undefined if the browser has no such file system, or does not let this page write to it. */
  static async open(): Promise<Disk | undefined> {
    if (!('storage' in navigator) || typeof FileSystemFileHandle === 'undefined') return undefined
    if (!('createWritable' in FileSystemFileHandle.prototype)) return undefined
    try {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true })
      const index = readIndex() ?? { folder: `${Date.now()}-${Math.random().toString(36).slice(2)}`, parts: {} }
      sessionStorage.setItem(KEY, JSON.stringify(index))
      const disk = new Disk(await root.getDirectoryHandle(index.folder, { create: true }), index)
      void disk.#tidy(root).catch(() => {}) // the next load tries again
      return disk
    } catch {
      return undefined
    }
  }

  /** Writes a piece of a download to disk. */
  async write(bytes: Uint8Array<ArrayBuffer>[]): Promise<{ name: string; file: File }> {
    const name = `${Date.now()}-${++this.#count}`
    const handle = await this.folder.getFileHandle(name, { create: true })
    const writable = await handle.createWritable()
    await writable.write(new Blob(bytes))
    await writable.close()
    return { name, file: await handle.getFile() }
  }

  /** Returns what is stored of a download from before a reload. */
  async read(key: string): Promise<(KeptPart & { files: File[] }) | undefined> {
    const part = this.#index.parts[key]
    if (part === undefined) return undefined
    try {
      const handles = await Promise.all(part.pieces.map((name) => this.folder.getFileHandle(name)))
      return { ...part, files: await Promise.all(handles.map((handle) => handle.getFile())) }
    } catch {
      this.forget(key)
      return undefined
    }
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#index.parts, key)
  }

  keep(key: string, part: KeptPart): void {
    this.#index.parts[key] = part
    const keys = Object.keys(this.#index.parts)
    if (keys.length > MAX_KEPT) delete this.#index.parts[keys[0]!]
    this.#store()
  }

  forget(key: string): void {
    if (!Object.hasOwn(this.#index.parts, key)) return
    delete this.#index.parts[key]
    this.#store()
  }

  #store(): void {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.#index))
    } catch {
      // There is no room: after a reload the download starts from the beginning.
    }
  }

  /** Removes files that are no longer needed: finished downloads from before the reload, and what other tabs left behind. */
  async #tidy(root: FileSystemDirectoryHandle): Promise<void> {
    const used = new Set(Object.values(this.#index.parts).flatMap(({ pieces }) => pieces))
    const begun = Date.now()
    for await (const name of names(this.folder)) {
      if (!used.has(name) && Number.parseInt(name) < begun) await this.folder.removeEntry(name)
    }
    for await (const name of names(root)) {
      const old = Number.parseInt(name) < begun - LEFT_MS
      if (name !== this.#index.folder && old) await root.removeEntry(name, { recursive: true })
    }
  }
}

/** TypeScript's library does not declare directories as iterable. */
function names(directory: FileSystemDirectoryHandle): AsyncIterable<string> {
  return (directory as unknown as { keys(): AsyncIterable<string> }).keys()
}

function readIndex(): Index | undefined {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? '') as Index
  } catch {
    return undefined
  }
}
