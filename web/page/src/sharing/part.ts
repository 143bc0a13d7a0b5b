import type { Disk } from './disk.js'

/**
 * How much of a download is in memory at most if there is a disk. Without one, pieces of this size become blobs, which the browser may put
 * on disk.
 */
const FOLD_BYTES = 8 << 20
/** Anything smaller is not worth a file of its own. */
const SMALL_BYTES = 256 << 10

/** The part of a download that has arrived, and the version of the file that it belongs to. */
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

  /** Opens the part, with what is stored of it from before a reload. */
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

  /** Returns the finished file. */
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
