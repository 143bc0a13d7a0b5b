/**
 * The frames in which a stream crosses a data channel: protobuf messages with their length in front, as in package core/webrtc. Field 16 is
 * ours, and is sent only to ends that announced it.
 */

/** No more data follows. */
export const FIN = 0
/** No more data will be read. */
export const STOP_SENDING = 1
/** The stream has ended in both directions. */
export const RESET = 2
/** All data before the FIN has arrived. */
export const FIN_ACK = 3

export interface Frame {
  data?: Uint8Array
  flag?: number
  /** Of a RESET or STOP_SENDING. */
  code?: number
  /** Further bytes of data that the other end may send. */
  credit?: number
}

/** The largest overhead of a frame of data, in bytes. */
export const OVERHEAD = 2 * (1 + 5)
/** The largest frame that is accepted, in bytes: the most that go-libp2p and browsers send. */
const MAX_FRAME = 256 << 10

const VARINT = 0
const BYTES = 2
/** The tag of a field: its number and its type. */
const tag = (field: number, type: number) => (field << 3) | type
const FLAG = tag(1, VARINT)
const DATA = tag(2, BYTES)
const CODE = tag(3, VARINT)
const CREDIT = tag(16, VARINT)

/** Frames are built here. A channel copies what it sends. */
const scratch = new Uint8Array(64 << 10)

/** Encodes a frame. The result is valid until the next call. Data and OVERHEAD must fit into 64 KiB. */
export function encode({ data, flag, code, credit }: Frame): Uint8Array<ArrayBuffer> {
  let at = OVERHEAD / 2 // leaves room for the length, which is written last
  const number = (value: number) => {
    for (; value > 127; value = Math.floor(value / 128)) scratch[at++] = (value % 128) | 128
    scratch[at++] = value
  }
  const field = (tag: number, value: number | undefined) => {
    if (value === undefined) return
    number(tag)
    number(value)
  }
  field(FLAG, flag)
  if (data !== undefined) {
    field(DATA, data.byteLength)
    scratch.set(data, at)
    at += data.byteLength
  }
  field(CODE, code)
  field(CREDIT, credit)
  const end = at
  const length = end - OVERHEAD / 2
  const from = OVERHEAD / 2 - sizeOf(length)
  at = from
  number(length)
  return scratch.subarray(from, end)
}

const sizeOf = (value: number): number => (value > 127 ? 1 + sizeOf(Math.floor(value / 128)) : 1)

/** Reads numbers and fields. What is incomplete or too large makes it throw. */
class Reader {
  readonly #bytes: Uint8Array
  at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.at >= this.#bytes.byteLength
  }

  /** Returns a number, or undefined if it is incomplete. */
  number(): number | undefined {
    let value = 0
    for (let i = 0; i < 10; i++) {
      const byte = this.#bytes[this.at++]
      if (byte === undefined) return undefined
      value += (byte & 127) * 128 ** i
      if (byte < 128) return value
    }
    throw new RangeError('a number of a frame is too long')
  }

  /** Returns a number that must be there. */
  value(): number {
    const value = this.number()
    if (value === undefined) throw new RangeError('a frame ends within a field')
    return value
  }

  /** Returns bytes that must be there. */
  bytes(length: number): Uint8Array {
    const from = this.at
    if (length > this.#bytes.byteLength - from) throw new RangeError('a frame ends within a field')
    this.at += length
    return this.#bytes.subarray(from, this.at)
  }
}

function decode(bytes: Uint8Array): Frame {
  const reader = new Reader(bytes)
  const frame: Frame = {}
  while (!reader.done) {
    const tag = reader.value()
    if (tag < 8) throw new RangeError('a field of a frame has no number')
    switch (tag % 8) {
      case VARINT: {
        const value = reader.value()
        if (tag === FLAG) frame.flag = value
        else if (tag === CODE) frame.code = value % 2 ** 32
        else if (tag === CREDIT) frame.credit = value
        break
      }
      case BYTES: {
        const data = reader.bytes(reader.value())
        if (tag === DATA) frame.data = data
        break
      }
      case 1:
        reader.bytes(8)
        break
      case 5:
        reader.bytes(4)
        break
      default:
        throw new RangeError('a frame has a field of an unknown type')
    }
  }
  return frame
}

/** Takes the messages of a channel as a stream of bytes: a frame may span several messages, and a message may contain several frames. */
export class Frames {
  #rest: Uint8Array

  /** `rest` is the beginning of a frame that has already come. */
  constructor(rest: Uint8Array) {
    this.#rest = rest
  }

  /** Passes every complete frame on. Its data is valid during the call. Throws if one cannot be read; nothing may follow then. */
  feed(message: Uint8Array, take: (frame: Frame) => void): void {
    let bytes = message
    if (this.#rest.byteLength > 0) {
      bytes = new Uint8Array(this.#rest.byteLength + message.byteLength)
      bytes.set(this.#rest)
      bytes.set(message, this.#rest.byteLength)
    }
    while (bytes.byteLength > 0) {
      const reader = new Reader(bytes)
      const length = reader.number()
      if (length !== undefined && length > MAX_FRAME) throw new RangeError(`a frame has ${length} bytes`)
      if (length === undefined || length > bytes.byteLength - reader.at) break
      take(decode(reader.bytes(length)))
      bytes = bytes.subarray(reader.at)
    }
    this.#rest = bytes
  }
}
