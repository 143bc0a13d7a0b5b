/** The WebRTC connections of a node in a worker, which cannot make any itself: see `worker/connections.ts`. */
import type { HeldChannel } from '../channel.js'
import {
  type Asked,
  type ChannelAsked,
  type TakenPlace,
  RAW_PROTOCOL,
  type Told,
  type ToldChannel,
} from '../wire/connections.js'
import { closedChannel, KeptChannels } from './channels.js'

/** The connections that a page holds for its worker. */
export interface Connections {
  /** Closes all connections. Otherwise, after a worker has died, the peers would take them for alive. */
  close(): void
  /** Takes a channel for a stream of this page. */
  take(place: TakenPlace): HeldChannel
}

/**
 * Offers connections to a worker, if the platform has WebRTC. Nothing is made before the worker asks. Data channels are transferred to a
 * dedicated worker, except those of raw streams, which the page takes. A shared worker cannot receive any, so the page keeps all.
 */
export function offerConnections(worker: Pick<Worker, 'postMessage'>, keepsAll: boolean): Connections {
  if (!('RTCPeerConnection' in globalThis)) return { close() {}, take: gone }
  const { port1, port2 } = new MessageChannel()
  const made = new Map<number, Connection>()
  const loseAll = () => {
    for (const connection of made.values()) connection.close('failed')
    made.clear()
  }
  port1.onmessage = ({ data }: MessageEvent<Asked | ChannelAsked>) => {
    if ('channel' in data) made.get(data.on)?.ask(data)
    else if (data.method === 'new') {
      made.set(data.on, new Connection(data.on, data.args[0] as RTCConfiguration, port1, keepsAll))
    } else if (data.method !== 'close') void made.get(data.on)?.answer(data)
    else {
      made.get(data.on)?.close('closed')
      made.delete(data.on)
    }
  }
  worker.postMessage({ connections: port2 }, [port2])
  const over = new AbortController()
  // A browser does not put a page with a connection in the back/forward cache.
  addEventListener('pagehide', loseAll, { signal: over.signal })
  globalThis.document?.addEventListener('freeze', loseAll, { signal: over.signal })
  return {
    close() {
      over.abort()
      loseAll()
      port1.close()
    },
    take: (place) => made.get(place.on)?.channels.take(place) ?? gone(),
  }
}

/** Returns what stands for a channel of a connection that is gone. */
const gone = (): HeldChannel => ({ channel: closedChannel(), connection: {} })

class Connection {
  /** The channels that are not transferred to the worker. */
  readonly channels: KeptChannels
  readonly #keepsAll: boolean
  readonly #id: number
  readonly #port: MessagePort
  #pc: RTCPeerConnection | undefined
  #why: unknown

  constructor(id: number, config: RTCConfiguration, port: MessagePort, keepsAll: boolean) {
    this.#id = id
    this.#port = port
    this.#keepsAll = keepsAll
    this.channels = new KeptChannels((told, transfer = []) => port.postMessage({ on: id, ...told }, transfer))
    try {
      this.#pc = new RTCPeerConnection(config)
    } catch (error) {
      this.#why = error // a page may have about 500 connections, and closed ones count until they are garbage-collected
      return
    }
    const pc = this.#pc
    pc.onicecandidate = ({ candidate }) =>
      candidate && this.#tell({ event: 'icecandidate', candidate: candidate.toJSON() })
    pc.onconnectionstatechange = () =>
      this.#tell({ event: 'connectionstatechange', state: pc.connectionState, ice: pc.iceConnectionState })
    // A channel can be transferred only in the task that receives or makes it.
    pc.ondatachannel = ({ channel }) => {
      const [told, transfer] = this.#give(channel, true)
      this.#tell({ event: 'datachannel', channel: told }, transfer)
    }
  }

  /** Handles a channel that the page keeps. */
  ask(asked: ChannelAsked): void {
    if (asked.open !== undefined) this.channels.open(asked.channel, () => this.#pc!.createDataChannel(...asked.open!))
    else this.channels.ask(asked)
  }

  async answer({ call, method, args }: Asked): Promise<void> {
    try {
      if (this.#pc === undefined) throw this.#why
      if (method === 'createDataChannel') {
        const [told, transfer] = this.#give(this.#pc.createDataChannel(...(args as [string, RTCDataChannelInit?])))
        return this.#tell({ done: call, value: told }, transfer)
      }
      const f = this.#pc[method as 'setRemoteDescription'] as (...args: unknown[]) => Promise<unknown>
      const value = await f.apply(this.#pc, args)
      this.#followSctp()
      if (method === 'createOffer' || method === 'createAnswer') {
        const { type, sdp } = value as RTCSessionDescriptionInit
        return this.#tell({ done: call, value: { type, sdp } })
      }
      this.#tell({ done: call, value: undefined })
    } catch (error) {
      const { name, message } = error as Error
      this.#tell({ failed: call, name, message })
    }
  }

  /** Closes the connection, and reports whether it was closed on purpose or has failed. */
  close(state: 'closed' | 'failed'): void {
    if (this.#pc === undefined || this.#pc.connectionState === 'closed') return
    this.#pc.close()
    this.channels.lose()
    this.#tell({ event: 'connectionstatechange', state })
  }

  /** When the peer closes the connection, SCTP reports that at once, but the connection's own state changes only after seconds. */
  #followSctp(): void {
    const sctp = this.#pc?.sctp
    if (sctp) sctp.onstatechange = () => sctp.state === 'closed' && this.close('closed')
  }

  #give(channel: RTCDataChannel, ofPeer = false): [ToldChannel, Transferable[]] {
    if (this.#keepsAll || channel.protocol === RAW_PROTOCOL) {
      return [this.channels.keep(ofPeer ? renewed(channel) : channel), []]
    }
    return [channel, [channel as unknown as Transferable]]
  }

  #tell(told: Omit<Extract<Told, { done: number }>, 'on'>, transfer?: Transferable[]): void
  #tell(told: Omit<Extract<Told, { failed: number }>, 'on'>): void
  #tell(told: Omit<Extract<Told, { event: string }>, 'on'>, transfer?: Transferable[]): void
  #tell(told: object, transfer: Transferable[] = []): void {
    this.#port.postMessage({ on: this.#id, ...told }, transfer)
  }
}

/**
 * Returns a channel of the peer as another object. Chromium reports such a channel as open at first, and about one in two thousand as
 * connecting from then on: two threads report its state, and the older report may come last. The object that a transfer makes, even to this
 * page itself, has the right state. Messages are not lost, if it is transferred in the task of its event. In Firefox, such an object does
 * not close when the peer closes it.
 */
function renewed(channel: RTCDataChannel): RTCDataChannel {
  if (!('webkitRTCPeerConnection' in globalThis)) return channel // it is not Chromium
  try {
    return structuredClone(channel, { transfer: [channel as unknown as Transferable] })
  } catch {
    return channel // the platform does not transfer channels
  }
}
