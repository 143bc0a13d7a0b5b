/** Streams over data channels of WebRTC, without the program: the other half of package core/webrtc, which has negotiated them. */
import { TomboloError } from './errors.js'
import { encode, FIN, FIN_ACK, type Frame, Frames, OVERHEAD, RESET, STOP_SENDING } from './frames.js'
import { type Ends, Halves } from './halves.js'
import type { PeerStream } from './types.js'
import { isBuffer } from './values.js'
import { Inbox, waiting, WINDOW } from './wire/credit.js'

/** The part of `RTCDataChannel` that a stream needs. */
export type DataChannel = Pick<
  RTCDataChannel,
  'binaryType' | 'bufferedAmount' | 'bufferedAmountLowThreshold' | 'readyState' | 'close'
> & {
  send(bytes: Uint8Array<ArrayBuffer>): void
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: (() => void) | null
  onbufferedamountlow: (() => void) | null
}

/** The state in which the program hands out a stream: see wasm/webrtc. */
export interface ChannelState {
  /** Data that was received and not read. */
  readonly unread: Uint8Array<ArrayBuffer>
  /** The beginning of a frame. */
  readonly rest: Uint8Array
  /** The peer has sent all its data. */
  readonly ended: boolean
  /** Both ends use credit. */
  readonly credit: boolean
  readonly maySend: number
  readonly mayReceive: number
  /** The size of the largest message that the peer accepts, in bytes. */
  readonly message: number
  /** The peer wants the length of large frames in a message of its own. */
  readonly lengthApart: boolean
}

export interface HeldChannel {
  readonly channel: DataChannel
  /** An object that all streams of the same connection share. */
  readonly connection: object
}

/** How a page has seen a stream fail. */
export interface Seen {
  /** The code of the peer's reset, or 0. */
  readonly code: number
  /** What is wrong, if the peer did not reset the stream. */
  readonly why: string
}

/** A stream over a data channel as the program hands it out. */
export interface ChannelStream extends Pick<PeerStream, 'peer' | 'protocol' | 'reset'> {
  readonly kind: 'channel'
  readonly state: ChannelState & HeldChannel
  /** Reports how the stream has failed. Resolves to the reason. */
  failed(seen: Seen): Promise<Error | null>
  /** Resolves when the program has ended the stream: to the reason if it failed, else to null. */
  readonly ended: Promise<Error | null>
  /** Reports that the channel is closed. */
  over(): void
}

/** The bytes that all streams of a connection may have in the platform's queue. It is first in, first out, and a ping waits for them. */
const MAX_QUEUED = 128 << 10
/** The bytes that may be unread on all streams of a connection. */
const MAX_UNREAD = 64 << 20
/** The bytes that may be unread on a stream of a peer that does not use credit: nothing holds it back. */
const WINDOW_OF_OTHERS = 4 << 20
/** The credit that the peer may give, in bytes. */
const MAX_WINDOW = 16 << 20
/** The size of the largest frame whose length is never sent apart, in bytes. */
const MAX_WITH_LENGTH = 4096
/** How long a channel waits for the peer after both halves have ended, in milliseconds. */
const FAR_MS = 10_000

/** What the streams of one connection share. */
class Shared {
  static readonly #of = new WeakMap<object, Shared>()
  unread = 0
  readonly #busy = new Set<DataChannel>()
  #waiting: (() => void)[] = []

  static of(connection: object): Shared {
    let shared = Shared.#of.get(connection)
    if (shared === undefined) Shared.#of.set(connection, (shared = new Shared()))
    return shared
  }

  send(channel: DataChannel, bytes: Uint8Array<ArrayBuffer>): void {
    channel.send(bytes)
    this.#busy.add(channel)
  }

  /** Resolves when something of what is queued has left. Undefined if there is room now. */
  room(): Promise<void> | undefined {
    if (this.#queued() < MAX_QUEUED) return
    // At least one of them has more than its part queued, and will fall to it.
    const part = MAX_QUEUED / 2 / this.#busy.size
    for (const channel of this.#busy) channel.bufferedAmountLowThreshold = part
    return new Promise((resolve) => void this.#waiting.push(resolve))
  }

  /** Called when there may be room again, or somebody who waits must look around. */
  wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  forget(channel: DataChannel): void {
    this.#busy.delete(channel)
    this.wake()
  }

  #queued(): number {
    let queued = 0
    for (const channel of this.#busy) {
      if (channel.bufferedAmount === 0) this.#busy.delete(channel)
      queued += channel.bufferedAmount
    }
    return queued
  }
}

/** Makes a stream of one that the program has handed out. */
export function channelStream(raw: ChannelStream): PeerStream {
  return new Channelled(raw).stream
}

class Channelled implements Ends {
  readonly stream: PeerStream
  readonly #raw: ChannelStream
  readonly #channel: DataChannel
  readonly #shared: Shared
  readonly #frames: Frames
  readonly #inbox: Inbox | undefined
  readonly #halves: Halves
  /** The data that the peer accepts. */
  #maySend: number
  #mayMore: (() => void) | undefined
  /** What this stream has added to `Shared.unread`. */
  #unread = 0
  #finSent = false
  #finReceived: boolean
  /** The peer has everything, or wants no more. */
  #written = false
  /** Why the peer takes no more. */
  #refused: TomboloError | undefined
  /** The peer will close the channel when it receives the reset. */
  #resetSent = false
  /** The peer has reset the stream, or the channel has closed before its time. */
  #broken = false
  /** The program finds out why the stream is broken. */
  #asking = false
  #farTimer: ReturnType<typeof setTimeout> | undefined
  #closed = false

  constructor(raw: ChannelStream) {
    const { channel, connection, unread, rest, ended, credit, maySend, mayReceive } = raw.state
    this.#raw = raw
    this.#channel = channel
    this.#shared = Shared.of(connection)
    this.#frames = new Frames(rest)
    this.#inbox = credit ? new Inbox((part) => 'credit' in part && this.#send(part), mayReceive) : undefined
    this.#maySend = credit ? maySend : Infinity
    this.#finReceived = ended
    this.#halves = new Halves(this, waiting())
    this.stream = this.#halves.of(raw)

    channel.binaryType = 'arraybuffer'
    channel.onmessage = ({ data }) => this.#message(data)
    channel.onclose = () => this.#lost()
    channel.onbufferedamountlow = () => this.#shared.wake()
    if (unread.byteLength > 0) this.#halves.enqueue(unread)
    if (ended) this.#halves.endReading()
    if (channel.readyState !== 'open') this.#lost() // it has closed while it was handed over
    void raw.ended.then((error) => error && this.#fail(error))
  }

  pull(halves: Halves): void {
    this.#count()
    this.#inbox?.grant(halves.room)
  }

  cancel(): void {
    if (!this.#finReceived) this.#send({ flag: STOP_SENDING })
    this.#settle()
  }

  async write(chunk: Uint8Array): Promise<void> {
    const most = this.#raw.state.message - OVERHEAD
    for (let at = 0; at < chunk.byteLength;) {
      const why = this.#halves.failure ?? this.#refused
      if (why !== undefined) throw why
      const wait = this.#maySend === 0 ? this.#credit() : this.#shared.room()
      if (wait !== undefined) {
        await wait
        continue
      }
      const data = chunk.subarray(at, at + Math.min(most, this.#maySend))
      this.#send({ data })
      this.#maySend -= data.byteLength
      at += data.byteLength
    }
  }

  async close(): Promise<void> {
    if (this.#written) return
    this.#finSent = true
    this.#send({ flag: FIN })
    this.#settle()
  }

  reset(): void {
    this.#raw.reset()
    this.#sendReset()
  }

  failed(): void {
    this.#written = true
    this.#wake()
    this.#settle()
  }

  /** Fails the stream for a reason at this end. */
  #fail(error: Error): void {
    this.#sendReset()
    this.#halves.fail(error)
  }

  #sendReset(): void {
    if (this.#closed || this.#broken || this.#resetSent) return
    this.#resetSent = true
    this.#waitForFar()
    this.#send({ flag: RESET })
  }

  #message(data: unknown): void {
    if (this.#closed || this.#broken) return
    try {
      if (!isBuffer(data)) throw new TypeError('the peer sent a text')
      this.#frames.feed(new Uint8Array(data), (frame) => this.#take(frame))
    } catch (error) {
      this.#send({ flag: RESET })
      this.#break({ code: 0, why: (error as Error).message })
    }
    this.#settle()
  }

  #take({ data, flag, code = 0, credit }: Frame): void {
    if (data !== undefined && !this.#halves.read) this.#receive(data)
    if (credit !== undefined) {
      this.#maySend = Math.min(this.#maySend + credit, this.#inbox === undefined ? Infinity : MAX_WINDOW)
      this.#wake()
    }
    if (flag === FIN && !this.#finReceived) {
      this.#finReceived = true
      this.#halves.endReading()
      this.#send({ flag: FIN_ACK })
    } else if (flag === FIN_ACK) this.#written ||= this.#finSent
    else if (flag === STOP_SENDING) this.#stop()
    else if (flag === RESET) this.#break({ code, why: 'reset by the peer' })
  }

  #receive(data: Uint8Array): void {
    this.#halves.enqueue(data.slice())
    this.#count()
    const most = this.#inbox === undefined ? WINDOW_OF_OTHERS : WINDOW
    if (this.#unread > most || this.#shared.unread > MAX_UNREAD)
      throw new RangeError('the peer sent more than may be unread')
    this.#inbox?.took(data)
  }

  /** Counts again what is unread. */
  #count(): void {
    const unread = this.#halves.read ? 0 : WINDOW - this.#halves.room
    this.#shared.unread += unread - this.#unread
    this.#unread = unread
  }

  /** The peer wants no more. What it sends can still be read. */
  #stop(): void {
    if (this.#written) return
    this.#written = true
    this.#refused = new TomboloError('stream', 'the peer takes no more', { reason: 'reset by the peer' })
    this.#wake()
  }

  /** The channel has closed, or does not work any more. */
  #lost(): void {
    if (this.#closed) return
    this.#break({ code: 0, why: 'its channel was closed' })
    this.#settle()
  }

  /** The peer has ended the stream. What has not ended by itself fails. The program knows why, or asks. */
  #break(seen: Seen): void {
    if (this.#broken) return
    this.#broken = true
    this.#resetSent = false // both ends have ended it, and neither waits for the other
    const { read, failure } = this.#halves
    const whole = read && (this.#finSent || this.#written)
    this.#written = true
    if (whole || failure !== undefined) return
    this.#asking = true
    void this.#raw.failed(seen).then((error) => {
      this.#asking = false
      this.#halves.fail(
        error ?? new TomboloError('stream', 'the peer reset the stream', { reason: 'reset by the peer' }),
      )
      this.#settle()
    })
  }

  /** Closes the channel when both halves have ended, and the peer knows that. */
  #settle(): void {
    this.#count()
    if (!this.#halves.read || this.#resetSent || this.#asking) return
    if (this.#written) this.#close()
    else if (this.#finSent) this.#waitForFar()
  }

  #waitForFar(): void {
    this.#farTimer ??= setTimeout(() => this.#close(), FAR_MS)
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#farTimer)
    this.#channel.close()
    this.#shared.forget(this.#channel)
    this.#raw.over()
  }

  #send(frame: Frame): void {
    if (this.#closed || this.#broken) return
    const bytes = encode(frame)
    try {
      const apart = this.#raw.state.lengthApart && bytes.byteLength > MAX_WITH_LENGTH
      const from = apart ? 1 + bytes.findIndex((byte) => byte < 128) : 0
      if (apart) this.#shared.send(this.#channel, bytes.subarray(0, from))
      this.#shared.send(this.#channel, bytes.subarray(from))
    } catch {
      this.#lost() // the channel is closing, or has closed
    }
  }

  #credit(): Promise<void> {
    return new Promise((resolve) => (this.#mayMore = resolve))
  }

  #wake(): void {
    this.#mayMore?.()
    this.#mayMore = undefined
    this.#shared.wake()
  }
}
