/** Data channels in a worker that a page keeps, with the part of `RTCDataChannel` that the program needs: see `page/channels.ts`. */
import type { ChannelAsked, ChannelPlace, ChannelTold, TakenPlace } from '../wire/connections.js'

type Ask = (asked: Omit<ChannelAsked, 'on' | 'channel'>, transfer?: Transferable[]) => void
type Handler = ((event: { type: string; data?: unknown; error?: { errorDetail: string | undefined } }) => void) | null

export class RemoteChannel {
  binaryType = 'arraybuffer'
  readyState: RTCDataChannelState
  onopen: Handler = null
  onclose: Handler = null
  onerror: Handler = null
  onbufferedamountlow: Handler = null
  label = ''
  readonly #ask: Ask
  #onmessage: Handler = null
  #early: unknown[] = []
  #sent = 0
  #left = 0
  #low = 0
  #messages = 0
  #sends = 0
  #handed = false

  /** `place` is where its page finds the channel, which keeps it with those of the connections that it offered over `port`. */
  constructor(
    ask: Ask,
    readonly port: MessagePort,
    readonly place: ChannelPlace,
    open?: ChannelAsked['open'],
  ) {
    this.#ask = ask
    // What is sent to a channel that this worker opens waits at the page until it is open.
    this.readyState = open === undefined ? 'connecting' : 'open'
    if (open !== undefined) ask({ open })
  }

  get onmessage(): Handler {
    return this.#onmessage
  }

  /** Sets the handler. It first gets the messages that came before it was set. */
  set onmessage(handler: Handler) {
    this.#onmessage = handler
    if (handler !== null) for (const data of this.#early.splice(0)) handler({ type: 'message', data })
  }

  /** Bytes that are not yet sent, including those on their way to the page. */
  get bufferedAmount(): number {
    return this.#sent - this.#left
  }

  get bufferedAmountLowThreshold(): number {
    return this.#low
  }

  set bufferedAmountLowThreshold(low: number) {
    this.#low = low
    this.#ask({ low })
  }

  send(bytes: Uint8Array): void {
    if (this.readyState !== 'open') throw new DOMException('the data channel is not open', 'InvalidStateError')
    const send = bytes.slice()
    this.#sent += send.byteLength
    this.#sends++
    this.#ask({ send }, [send.buffer])
  }

  close(): void {
    if (this.readyState === 'closed' || this.readyState === 'closing') return
    this.readyState = 'closing'
    this.#ask({ close: true })
  }

  /** Hands the channel to its page. What the program has not received is returned, even before the page learns of the stream. */
  handOver(): TakenPlace {
    this.#handed = true
    const early = this.#early.splice(0)
    for (const data of early) this.#giveBack(data)
    return { ...this.place, messages: this.#messages - early.length, sent: this.#sends }
  }

  take({ happened, data, errorDetail, left }: ChannelTold): void {
    if (left !== undefined) this.#leave(left)
    else if (happened === 'taken') this.#ask({ begin: true })
    else if (happened === 'message') {
      this.#messages++
      if (this.#handed) this.#giveBack(data)
      else if (this.#onmessage === null) this.#early.push(data)
      else this.#onmessage({ type: happened, data })
    } else if (happened === 'begun') return
    else if (happened === 'error') this.onerror?.({ type: happened, error: { errorDetail } })
    else if (happened === 'open') {
      if (this.readyState !== 'connecting') return
      this.readyState = 'open'
      this.onopen?.({ type: happened })
    } else {
      this.readyState = 'closed'
      this.onclose?.({ type: 'close' })
    }
  }

  #giveBack(back: unknown): void {
    this.#ask({ back }, back instanceof ArrayBuffer ? [back] : [])
  }

  #leave(left: number): void {
    const was = this.bufferedAmount
    this.#left = left
    if (was > this.#low && this.bufferedAmount <= this.#low) this.onbufferedamountlow?.({ type: 'bufferedamountlow' })
  }
}
