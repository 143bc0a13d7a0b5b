/**
 * Data channels in a shared worker, with the part of `RTCDataChannel` that the program needs. A page keeps them: see `page/channels.ts`.
 */
import type { ChannelAsked, ChannelTold } from '../wire/connections.js'

type Ask = (asked: Omit<ChannelAsked, 'on' | 'channel'>, transfer?: Transferable[]) => void
type Handler = ((event: { type: string; data?: unknown; error?: { errorDetail: string | undefined } }) => void) | null

export class RemoteChannel {
  binaryType = 'arraybuffer'
  readyState: RTCDataChannelState = 'connecting'
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

  constructor(ask: Ask) {
    this.#ask = ask
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
    this.#ask({ send }, [send.buffer])
  }

  close(): void {
    if (this.readyState === 'closed' || this.readyState === 'closing') return
    this.readyState = 'closing'
    this.#ask({ close: true })
  }

  take({ happened, data, errorDetail, left }: ChannelTold): void {
    if (left !== undefined) this.#leave(left)
    else if (happened === 'message') {
      if (this.#onmessage === null) this.#early.push(data)
      else this.#onmessage({ type: happened, data })
    } else if (happened === 'error') this.onerror?.({ type: happened, error: { errorDetail } })
    else if (happened === 'open') {
      if (this.readyState !== 'connecting') return
      this.readyState = 'open'
      this.onopen?.({ type: happened })
    } else {
      this.readyState = 'closed'
      this.onclose?.({ type: 'close' })
    }
  }

  #leave(left: number): void {
    const was = this.bufferedAmount
    this.#left = left
    if (was > this.#low && this.bufferedAmount <= this.#low) this.onbufferedamountlow?.({ type: 'bufferedamountlow' })
  }
}
