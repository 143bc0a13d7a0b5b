/** The WebRTC connections of a node in a worker, which has none of its own: see `worker/connections.ts`. */
import type { Asked, ChannelAsked, Told, ToldChannel } from '../wire/connections.js'
import { KeptChannels } from './channels.js'

/** The connections that a page has for its worker. */
export interface Connections {
  /** Closes all: the far sides would take those of a worker that has died for alive. */
  close(): void
}

/**
 * Offers a worker connections, where the platform has any. Nothing is made before the worker asks. Data channels are sent to a dedicated worker;
 * those of a shared one, which takes none, the page keeps.
 */
export function offerConnections(worker: Pick<Worker, 'postMessage'>, keepsChannels: boolean): Connections {
  if (!('RTCPeerConnection' in globalThis)) return { close() {} }
  const { port1, port2 } = new MessageChannel()
  const made = new Map<number, Connection>()
  const loseAll = () => {
    for (const connection of made.values()) connection.close('failed')
    made.clear()
  }
  port1.onmessage = ({ data }: MessageEvent<Asked | ChannelAsked>) => {
    if ('channel' in data) made.get(data.on)?.channels?.take(data)
    else if (data.method === 'new') {
      made.set(data.on, new Connection(data.on, data.args[0] as RTCConfiguration, port1, keepsChannels))
    } else if (data.method !== 'close') void made.get(data.on)?.answer(data)
    else {
      made.get(data.on)?.close('closed')
      made.delete(data.on)
    }
  }
  worker.postMessage({ connections: port2 }, [port2])
  const over = new AbortController()
  // A browser keeps no page for the way back that has a connection.
  addEventListener('pagehide', loseAll, { signal: over.signal })
  globalThis.document?.addEventListener('freeze', loseAll, { signal: over.signal })
  return {
    close() {
      over.abort()
      loseAll()
      port1.close()
    },
  }
}

class Connection {
  /** Those that cannot be sent to the worker. */
  readonly channels: KeptChannels | undefined
  readonly #id: number
  readonly #port: MessagePort
  #pc: RTCPeerConnection | undefined
  #why: unknown

  constructor(id: number, config: RTCConfiguration, port: MessagePort, keepsChannels: boolean) {
    this.#id = id
    this.#port = port
    if (keepsChannels) {
      this.channels = new KeptChannels((told, transfer = []) => port.postMessage({ on: id, ...told }, transfer))
    }
    try {
      this.#pc = new RTCPeerConnection(config)
    } catch (error) {
      this.#why = error // a page may have some 500, and closed ones count until they are collected
      return
    }
    const pc = this.#pc
    pc.onicecandidate = ({ candidate }) =>
      candidate && this.#tell({ event: 'icecandidate', candidate: candidate.toJSON() })
    pc.onconnectionstatechange = () =>
      this.#tell({ event: 'connectionstatechange', state: pc.connectionState, ice: pc.iceConnectionState })
    // A channel can be sent on only in the task that brings it, or has made it.
    pc.ondatachannel = ({ channel }) => {
      const [told, transfer] = this.#give(channel)
      this.#tell({ event: 'datachannel', channel: told }, transfer)
    }
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

  /** Closes it, and tells whether it was to be closed or has failed. */
  close(state: 'closed' | 'failed'): void {
    if (this.#pc === undefined || this.#pc.connectionState === 'closed') return
    this.#pc.close()
    this.#tell({ event: 'connectionstatechange', state })
  }

  /** When the far side closes the connection, SCTP says so at once, and the connection's own state after seconds. */
  #followSctp(): void {
    const sctp = this.#pc?.sctp
    if (sctp) sctp.onstatechange = () => sctp.state === 'closed' && this.close('closed')
  }

  #give(channel: RTCDataChannel): [ToldChannel, Transferable[]] {
    return this.channels ? [this.channels.keep(channel), []] : [channel, [channel as unknown as Transferable]]
  }

  #tell(told: Omit<Extract<Told, { done: number }>, 'on'>, transfer?: Transferable[]): void
  #tell(told: Omit<Extract<Told, { failed: number }>, 'on'>): void
  #tell(told: Omit<Extract<Told, { event: string }>, 'on'>, transfer?: Transferable[]): void
  #tell(told: object, transfer: Transferable[] = []): void {
    this.#port.postMessage({ on: this.#id, ...told }, transfer)
  }
}
