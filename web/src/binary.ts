/** Bytes that cross between Go and JavaScript. Numbers have 32 bits and are little-endian; byte strings follow their length. */

/** Encodes values into a buffer that grows. */
export class Writer {
  #bytes = new Uint8Array(1024)
  #view = new DataView(this.#bytes.buffer)
  #at = 0

  byte(n: number): this {
    this.#room(1)
    this.#bytes[this.#at++] = n
    return this
  }

  number(n: number): this {
    this.#room(4)
    this.#view.setUint32(this.#at, n, true)
    this.#at += 4
    return this
  }

  float(n: number): this {
    this.#room(4)
    this.#view.setFloat32(this.#at, n, true)
    this.#at += 4
    return this
  }

  long(n: bigint): this {
    this.#room(8)
    this.#view.setBigInt64(this.#at, n, true)
    this.#at += 8
    return this
  }

  bytes(bytes: Uint8Array): this {
    this.number(bytes.byteLength)
    this.#room(bytes.byteLength)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.byteLength
    return this
  }

  /** Returns a copy of what was written, and begins anew. */
  take(): Uint8Array<ArrayBuffer> {
    const all = this.#bytes.slice(0, this.#at)
    this.#at = 0
    return all
  }

  #room(more: number): void {
    if (this.#at + more <= this.#bytes.byteLength) return
    const larger = new Uint8Array(Math.max(2 * this.#bytes.byteLength, this.#at + more))
    larger.set(this.#bytes)
    this.#bytes = larger
    this.#view = new DataView(larger.buffer)
  }
}

/** Decodes what a Writer, or the program, has encoded. */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get more(): boolean {
    return this.#at < this.#bytes.byteLength
  }

  byte(): number {
    return this.#view.getUint8(this.#at++)
  }

  number(): number {
    return this.#view.getUint32((this.#at += 4) - 4, true)
  }

  float(): number {
    return this.#view.getFloat32((this.#at += 4) - 4, true)
  }

  long(): bigint {
    return this.#view.getBigUint64((this.#at += 8) - 8, true)
  }

  /** Like `long`, but returns a number if that is exact, which costs much less. */
  count(): number | bigint {
    const high = this.#view.getUint32(this.#at + 4, true)
    return high < 2 ** 21 ? this.number() + 2 ** 32 * this.number() : this.long()
  }

  /** Returns a copy of the bytes, so that keeping them does not keep the whole buffer. */
  bytes(): Uint8Array {
    const length = this.number()
    return this.#bytes.slice(this.#at, (this.#at += length))
  }
}
