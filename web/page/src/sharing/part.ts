import type { Disk } from './disk.js'

/** So much of what came is in memory at most where there is a disk; elsewhere, so much at a time becomes the browser's, which may put it on one. */
const FOLD_BYTES = 8 << 20
/** Less is not worth a file of its own. */
const SMALL_BYTES = 256 << 10

/** What came of a download, and of which version of the file. */
export class Part {
  etag: string | null = null
  #done = new Blob()
  #pieces: string[] = []
  #recent: Uint8Array<ArrayBuffer>[] = []
  #recentBytes = 0

  constructor(
    readonly key: string,
    readonly disk: Disk | undefined,
  ) {}

  /** With what there is of it from before a reload. */
  static async open(key: string, disk: Disk | undefined): Promise<Part> {
    const part = new Part(key, disk)
    const kept = await disk?.read(key)
    if (kept === undefined) return part
    part.etag = kept.etag
    part.#pieces = kept.pieces
    part.#done = new Blob(kept.files)
    return part
  }

  get size(): number {
    return this.#done.size + this.#recentBytes
  }

  async add(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#recent.push(bytes)
    this.#recentBytes += bytes.length
    if (this.#recentBytes >= FOLD_BYTES) await this.#fold()
  }

  empty(): void {
    this.disk?.forget(this.key)
    this.etag = null
    this.#done = new Blob()
    this.#pieces = []
    this.#recent = []
    this.#recentBytes = 0
  }

  /** All of it. */
  async whole(): Promise<Blob> {
    if (this.#recentBytes > SMALL_BYTES) await this.#fold()
    this.disk?.forget(this.key)
    return new Blob([this.#done, ...this.#recent], { type: 'application/octet-stream' })
  }

  async #fold(): Promise<void> {
    const recent = this.#recent
    this.#recent = []
    this.#recentBytes = 0
    try {
      if (this.disk === undefined) throw new Error('no disk')
      const { name, file } = await this.disk.write(recent)
      this.#done = new Blob([this.#done, file])
      this.#pieces.push(name)
      this.disk.keep(this.key, { etag: this.etag, pieces: this.#pieces })
    } catch {
      this.#done = new Blob([this.#done, ...recent]) // there is no disk, or no room on it
    }
  }
}
