/** WebRTC for a worker, with the connections of its page, or of one of the pages of a shared worker. */
import { type ChannelAsked, RAW_PROTOCOL, type Told, type TakenPlace, type ToldChannel } from '../wire/connections.js'
import { RemoteChannel } from './channels.js'

type Handler = ((event: { type: string; candidate?: unknown; channel?: RTCDataChannel | RemoteChannel }) => void) | null

interface Call {
  resolve(value: unknown): void
  reject(error: Error): void
}

/** A page that has connections for this worker. */
interface Offer {
  readonly port: MessagePort
  awake(): boolean
}

/** The pages that have connections for this worker. A dedicated one has one page. */
export class Connections {
  readonly #offers = new Map<unknown, Offer>()
  readonly #made = new Map<number, RemoteConnection>()
  #count = 0

  /** Takes the offer of a page, and defines the part of `RTCPeerConnection` that the program needs. */
  take(page: unknown, offer: Offer): void {
    this.#offers.set(page, offer)
    offer.port.onmessage = ({ data }: MessageEvent<Told>) => this.#made.get(data.on)?.take(data)
    const make = (config: RTCConfiguration) => this.#make(config)
    Object.assign(globalThis, {
      RTCPeerConnection: class {
        constructor(config: RTCConfiguration) {
          return make(config)
        }
      },
    })
  }

  /** Hands a channel to a page, if that page keeps it. */
  handOver(channel: unknown, page: unknown): TakenPlace | undefined {
    if (!(channel instanceof RemoteChannel) || channel.port !== this.#offers.get(page)?.port) return undefined
    return channel.handOver()
  }

  /** Called when a page is gone, and its connections with it. Another page makes the next ones. */
  lose(page: unknown): void {
    const offer = this.#offers.get(page)
    if (offer === undefined) return
    this.#offers.delete(page)
    for (const connection of [...this.#made.values()]) if (connection.port === offer.port) connection.lose()
    offer.port.close()
  }

  #make(config: RTCConfiguration): RemoteConnection {
    const offer = [...this.#offers.values()].find((offer) => offer.awake())
    if (offer === undefined) throw new DOMException('no page of this node is awake', 'InvalidStateError')
    const id = ++this.#count
    const connection = new RemoteConnection(id, offer.port, config, () => this.#made.delete(id))
    this.#made.set(id, connection)
    return connection
  }
}

class RemoteConnection {
  onicecandidate: Handler = null
  onconnectionstatechange: Handler = null
  ondatachannel: Handler = null
  connectionState: RTCPeerConnectionState = 'new'
  iceConnectionState: RTCIceConnectionState = 'new'
  /** Null, because `connectionState` reports here what this would report. */
  readonly sctp = null
  readonly port: MessagePort
  readonly #id: number
  readonly #forget: () => boolean
  readonly #calls = new Map<number, Call>()
  readonly #channels = new Map<number, RemoteChannel>()
  #last = 0

  constructor(id: number, port: MessagePort, config: RTCConfiguration, forget: () => boolean) {
    this.#id = id
    this.port = port
    this.#forget = forget
    this.#ask('new', [config])
  }

  createOffer = () => this.#call('createOffer')
  createAnswer = () => this.#call('createAnswer')
  setLocalDescription = (description: unknown) => this.#call('setLocalDescription', description)
  setRemoteDescription = (description: unknown) => this.#call('setRemoteDescription', description)
  addIceCandidate = (candidate: unknown) => this.#call('addIceCandidate', candidate)
  createDataChannel = async (label: string, init?: RTCDataChannelInit): Promise<RTCDataChannel | RemoteChannel> => {
    // The page keeps it, so there is no need to wait for the page.
    if (init?.protocol === RAW_PROTOCOL && !this.#isOver) return this.#channel(-++this.#last, [label, init])
    return this.#taken((await this.#call('createDataChannel', label, init)) as ToldChannel)
  }

  close(): void {
    if (!this.#forget()) return
    this.#ask('close', [])
    this.connectionState = 'closed'
    this.#failAll()
  }

  /** Called when the page of the connection is gone. */
  lose(): void {
    this.#changed('failed')
    this.#forget()
  }

  take(told: Told): void {
    if ('done' in told) this.#settle(told.done)?.resolve(told.value)
    else if ('failed' in told) this.#settle(told.failed)?.reject(new DOMException(told.message, told.name))
    else if ('kept' in told) {
      const channel = this.#channel(told.kept)
      if (['close', 'taken', 'begun'].includes(told.happened!)) this.#channels.delete(told.kept)
      channel.take(told)
    } else if (told.event === 'icecandidate') this.onicecandidate?.({ type: told.event, candidate: told.candidate })
    else if (told.event === 'datachannel')
      this.ondatachannel?.({ type: told.event, channel: this.#taken(told.channel!) })
    else this.#changed(told.state!, told.ice)
  }

  #changed(state: RTCPeerConnectionState, ice: RTCIceConnectionState = 'closed'): void {
    this.connectionState = state
    this.iceConnectionState = ice
    if (state === 'closed' || state === 'failed') this.#failAll()
    this.onconnectionstatechange?.({ type: 'connectionstatechange' })
  }

  /** Returns a channel that was reported: the channel itself, or a stand-in for one that the page keeps. */
  #taken(told: ToldChannel): RTCDataChannel | RemoteChannel {
    if (!('kept' in told)) return told
    const channel = this.#channel(told.kept)
    channel.label = told.label
    if (told.open) channel.take({ on: this.#id, kept: told.kept, happened: 'open' })
    return channel
  }

  /** Returns the stand-in for a channel. Its events may arrive before the answer to the call that made it. */
  #channel(kept: number, open?: ChannelAsked['open']): RemoteChannel {
    let channel = this.#channels.get(kept)
    if (channel === undefined) {
      const ask = (asked: object, transfer: Transferable[] = []) =>
        this.port.postMessage({ on: this.#id, channel: kept, ...asked } satisfies ChannelAsked, transfer)
      channel = new RemoteChannel(ask, this.port, { on: this.#id, kept }, open)
      this.#channels.set(kept, channel)
    }
    return channel
  }

  get #isOver(): boolean {
    return this.connectionState === 'closed' || this.connectionState === 'failed'
  }

  #call(method: string, ...args: unknown[]): Promise<unknown> {
    if (this.#isOver) return Promise.reject(closed())
    return new Promise((resolve, reject) => {
      this.#calls.set(this.#ask(method, args), { resolve, reject })
    })
  }

  #ask(method: string, args: unknown[]): number {
    const call = ++this.#last
    this.port.postMessage({ on: this.#id, call, method, args })
    return call
  }

  #settle(call: number): Call | undefined {
    const waiting = this.#calls.get(call)
    this.#calls.delete(call)
    return waiting
  }

  #failAll(): void {
    for (const { reject } of this.#calls.values()) reject(closed())
    this.#calls.clear()
  }
}

function closed(): Error {
  return new DOMException('the WebRTC connection is closed', 'InvalidStateError')
}
