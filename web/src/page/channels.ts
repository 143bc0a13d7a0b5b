/** The data channels of a node in a shared worker. They cannot be transferred to it, so its page keeps them. See `worker/channels.ts`. */
import type { ChannelAsked, ChannelTold, ToldChannel } from '../wire/connections.js'

type Tell = (told: Omit<ChannelTold, 'on'>, transfer?: Transferable[]) => void

/** The channels of one connection. */
export class KeptChannels {
  readonly #tell: Tell
  readonly #channels = new Map<number, KeptChannel>()
  #count = 0

  constructor(tell: Tell) {
    this.#tell = tell
  }

  keep(channel: RTCDataChannel): ToldChannel {
    const kept = ++this.#count
    const tell: Tell = (told, transfer) => {
      if (told.happened === 'close') this.#channels.delete(kept)
      this.#tell({ ...told, kept }, transfer)
    }
    this.#channels.set(kept, new KeptChannel(channel, tell as never))
    return { kept, label: channel.label }
  }

  take(asked: ChannelAsked): void {
    this.#channels.get(asked.channel)?.take(asked)
  }
}

class KeptChannel {
  readonly #channel: RTCDataChannel
  readonly #tell: (told: Omit<ChannelTold, 'on' | 'kept'>, transfer?: Transferable[]) => void
  /** Bytes that the worker has sent. */
  #sent = 0

  constructor(
    channel: RTCDataChannel,
    tell: (told: Omit<ChannelTold, 'on' | 'kept'>, transfer?: Transferable[]) => void,
  ) {
    this.#channel = channel
    this.#tell = tell
    channel.binaryType = 'arraybuffer'
    channel.onopen = () => tell({ happened: 'open' })
    channel.onmessage = ({ data }: MessageEvent<unknown>) =>
      tell({ happened: 'message', data }, data instanceof ArrayBuffer ? [data] : [])
    channel.onerror = ({ error }) => tell({ happened: 'error', errorDetail: error.errorDetail })
    channel.onclose = () => tell({ happened: 'close' })
    channel.onbufferedamountlow = () => this.#report()
    if (channel.readyState === 'open') tell({ happened: 'open' })
  }

  take({ send, low, close }: ChannelAsked): void {
    if (low !== undefined) this.#channel.bufferedAmountLowThreshold = low
    if (send !== undefined) {
      this.#sent += send.byteLength
      try {
        this.#channel.send(send)
      } catch {
        return // the channel has closed, and its event informs the worker
      }
    }
    // Above the threshold, the channel's own event reports it later.
    if (this.#channel.bufferedAmount <= this.#channel.bufferedAmountLowThreshold) this.#report()
    if (close) this.#channel.close()
  }

  #report(): void {
    this.#tell({ left: this.#sent - this.#channel.bufferedAmount })
  }
}
