/**
 * The data channels that a page keeps for the node in its worker: all, if the worker is shared, because they cannot be transferred to it,
 * else those of raw streams. See `worker/channels.ts`. Once a stream has been negotiated, its page takes the channel, and no byte crosses.
 */
import type { DataChannel, HeldChannel } from '../channel.js'
import type { ChannelAsked, ChannelTold, TakenPlace, ToldChannel } from '../wire/connections.js'

type Tell = (told: Omit<ChannelTold, 'on' | 'kept'>, transfer?: Transferable[]) => void

/** The channels of one connection. */
export class KeptChannels {
  readonly #tell: (told: Omit<ChannelTold, 'on'>, transfer?: Transferable[]) => void
  readonly #channels = new Map<number, KeptChannel>()
  #count = 0

  constructor(tell: (told: Omit<ChannelTold, 'on'>, transfer?: Transferable[]) => void) {
    this.#tell = tell
  }

  /** Opens a channel that the worker has numbered, and already uses. */
  open(kept: number, open: () => RTCDataChannel): void {
    try {
      this.#keep(kept, open(), true)
    } catch {
      this.#tell({ kept, happened: 'close' }) // the connection is closed
    }
  }

  keep(channel: RTCDataChannel): ToldChannel {
    const kept = ++this.#count
    this.#keep(kept, channel, channel.readyState === 'open')
    return { kept, label: channel.label, open: channel.readyState === 'open' }
  }

  #keep(kept: number, channel: RTCDataChannel, open: boolean): void {
    const tell: Tell = (told, transfer) => this.#tell({ ...told, kept }, transfer)
    this.#channels.set(kept, new KeptChannel(channel, open, tell, () => this.#channels.delete(kept)))
  }

  ask(asked: ChannelAsked): void {
    this.#channels.get(asked.channel)?.ask(asked)
  }

  /** Takes a channel for a stream of this page. */
  take(place: TakenPlace): HeldChannel {
    return { channel: this.#channels.get(place.kept)?.take(place) ?? closedChannel(), connection: this }
  }

  /** Called when the connection is closed at this end, of which its channels have no event. */
  lose(): void {
    for (const channel of [...this.#channels.values()]) channel.lose()
  }
}

/** Returns what stands for a channel that has closed before its page could take it. */
export function closedChannel(): DataChannel {
  return {
    binaryType: 'arraybuffer',
    readyState: 'closed',
    bufferedAmount: 0,
    bufferedAmountLowThreshold: 0,
    onmessage: null,
    onclose: null,
    onbufferedamountlow: null,
    send() {},
    close() {},
  }
}

/** Fewer bytes that have left are reported to the worker later, together: most streams are handed to the page before. */
const WORTH_A_REPORT = 16 << 10
const LATER_MS = 20

class KeptChannel {
  readonly #channel: RTCDataChannel
  readonly #tell: Tell
  readonly #forget: () => void
  /** Bytes that the worker has sent, and messages. */
  #sent = 0
  #sends = 0
  /** Bytes of which the worker knows that they have left. */
  #left = 0
  #later: ReturnType<typeof setTimeout> | undefined
  /** What the worker has done before the channel is open. */
  #early: ChannelAsked[] = []
  /** Messages that the worker was sent. */
  #messages = 0
  #taken: TakenChannel | undefined
  /** Messages that the worker had got before the channel was taken. */
  readonly #back: unknown[] = []
  /** The worker has returned all messages that it had got. */
  #begun = false
  #closed = false

  /** `open` is whether the worker takes the channel for open. */
  constructor(channel: RTCDataChannel, open: boolean, tell: Tell, forget: () => void) {
    this.#channel = channel
    this.#tell = tell
    this.#forget = forget
    channel.binaryType = 'arraybuffer'
    channel.onopen = () => {
      this.#early.splice(0).forEach((asked) => this.#do(asked))
      if (!open) tell({ happened: 'open' })
    }
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      this.#messages++
      tell({ happened: 'message', data }, data instanceof ArrayBuffer ? [data] : [])
    }
    channel.onerror = ({ error }) => tell({ happened: 'error', errorDetail: error.errorDetail })
    channel.onclose = () => this.lose()
    channel.onbufferedamountlow = () => this.#report()
  }

  ask(asked: ChannelAsked): void {
    const { back, begin } = asked
    if (back !== undefined) this.#back.push(back)
    if (begin) this.#begun = true
    if (back !== undefined || begin) return this.#begin()
    if (this.#channel.readyState === 'connecting') this.#early.push(asked)
    else this.#do(asked)
  }

  #do({ send, low, close }: ChannelAsked): void {
    if (low !== undefined) this.#channel.bufferedAmountLowThreshold = low
    if (send !== undefined) {
      this.#sent += send.byteLength
      this.#sends++
      try {
        this.#channel.send(send)
      } catch {
        return // the channel has closed, and its event informs the worker
      }
      this.#taken?.sentByWorker()
    }
    // Above the threshold, the channel's own event reports it later.
    if (this.#taken === undefined && this.#channel.bufferedAmount <= this.#channel.bufferedAmountLowThreshold) {
      if (low !== undefined || this.#sent - this.#left > WORTH_A_REPORT) this.#report()
      else this.#later ??= setTimeout(() => this.#report(), LATER_MS)
    }
    if (close) this.#channel.close()
  }

  take({ messages, sent }: TakenPlace): DataChannel {
    clearTimeout(this.#later)
    this.#taken = new TakenChannel(this.#channel, sent - this.#sends)
    this.#begun ||= messages === this.#messages // then the worker has nothing to return
    this.#tell({ happened: this.#begun ? 'begun' : 'taken' })
    this.#begin()
    return this.#taken
  }

  lose(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#later)
    if (this.#taken !== undefined) return this.#begin()
    this.#forget()
    this.#tell({ happened: 'close' })
  }

  #begin(): void {
    if (!this.#begun || this.#taken === undefined) return
    this.#taken.begin(this.#back.splice(0))
    if (!this.#closed) return
    this.#forget()
    this.#taken.onclose?.()
  }

  #report(): void {
    clearTimeout(this.#later)
    this.#later = undefined
    this.#left = this.#sent - this.#channel.bufferedAmount
    this.#tell({ left: this.#left })
  }
}

/**
 * A data channel that the worker has had before. Messages wait until the worker has returned those that it got, and what is sent waits until
 * that of the worker has been.
 */
class TakenChannel implements DataChannel {
  readonly #channel: RTCDataChannel
  readonly #early: unknown[] = []
  #begun = false
  /** Messages of the worker that are on their way. */
  #awaited: number
  readonly #waiting: Uint8Array<ArrayBuffer>[] = []
  #closing = false
  onmessage: DataChannel['onmessage'] = null
  onclose: DataChannel['onclose'] = null

  constructor(channel: RTCDataChannel, awaited: number) {
    this.#channel = channel
    this.#awaited = awaited
    channel.onopen = channel.onerror = channel.onbufferedamountlow = null
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (this.#begun) this.onmessage?.({ data })
      else this.#early.push(data)
    }
  }

  begin(back: unknown[]): void {
    if (this.#begun) return
    this.#begun = true
    for (const data of [...back, ...this.#early.splice(0)]) this.onmessage?.({ data })
  }

  set binaryType(type: BinaryType) {
    this.#channel.binaryType = type
  }

  get readyState(): RTCDataChannelState {
    return this.#channel.readyState
  }

  get bufferedAmount(): number {
    return this.#waiting.reduce((sum, { byteLength }) => sum + byteLength, this.#channel.bufferedAmount)
  }

  set bufferedAmountLowThreshold(low: number) {
    this.#channel.bufferedAmountLowThreshold = low
  }

  set onbufferedamountlow(handler: DataChannel['onbufferedamountlow']) {
    this.#channel.onbufferedamountlow = handler
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#awaited > 0) this.#waiting.push(bytes.slice())
    else this.#channel.send(bytes)
  }

  close(): void {
    this.#closing = true
    if (this.#awaited === 0) this.#channel.close()
  }

  /** Called when a message of the worker has been sent. */
  sentByWorker(): void {
    if (--this.#awaited > 0) return
    try {
      for (const bytes of this.#waiting.splice(0)) this.#channel.send(bytes)
    } catch {
      return // the channel has closed, and its event follows
    }
    if (this.#closing) this.#channel.close()
  }
}
