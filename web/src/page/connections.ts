/** The WebRTC connections of a node in a dedicated worker, which has none of its own: see `worker/connections.ts`. */
import type { Asked, Told } from '../wire/connections.js'

/** The connections that a page has for its worker. */
export interface Connections {
  /** Closes all: the far sides would take those of a worker that has died for alive. */
  close(): void
}

/** Offers a worker connections, where the platform has any. Nothing is made before the worker asks. */
export function offerConnections(worker: Pick<Worker, 'postMessage'>): Connections {
  if (!('RTCPeerConnection' in globalThis)) return { close() {} }
  const { port1, port2 } = new MessageChannel()
  const made = new Map<number, Connection>()
  const closeAll = () => {
    for (const connection of made.values()) connection.close()
    made.clear()
  }
  port1.onmessage = ({ data }: MessageEvent<Asked>) => {
    if (data.method === 'new') made.set(data.on, new Connection(data.on, data.args[0] as RTCConfiguration, port1))
    else if (data.method !== 'close') void made.get(data.on)?.answer(data)
    else {
      made.get(data.on)?.close()
      made.delete(data.on)
    }
  }
  worker.postMessage({ connections: port2 }, [port2])
  const over = new AbortController()
  // A browser keeps no page for the way back that has a connection.
  addEventListener('pagehide', closeAll, { signal: over.signal })
  globalThis.document?.addEventListener('freeze', closeAll, { signal: over.signal })
  return {
    close() {
      over.abort()
      closeAll()
      port1.close()
    },
  }
}

class Connection {
  readonly #id: number
  readonly #port: MessagePort
  #pc: RTCPeerConnection | undefined
  #why: unknown

  constructor(id: number, config: RTCConfiguration, port: MessagePort) {
    this.#id = id
    this.#port = port
    try {
      this.#pc = new RTCPeerConnection(config)
    } catch (error) {
      this.#why = error // a page may have some 500, and closed ones count until they are collected
      return
    }
    const pc = this.#pc
    pc.onicecandidate = ({ candidate }) =>
      candidate && this.#tell({ event: 'icecandidate', candidate: candidate.toJSON() })
    pc.onconnectionstatechange = () => this.#tell({ event: 'connectionstatechange', state: pc.connectionState })
    // A channel can be sent on only in the task that brings it, or has made it.
    pc.ondatachannel = ({ channel }) => this.#tell({ event: 'datachannel', channel }, channel)
  }

  async answer({ call, method, args }: Asked): Promise<void> {
    try {
      if (this.#pc === undefined) throw this.#why
      if (method === 'createDataChannel') {
        const channel = this.#pc.createDataChannel(args[0] as string)
        return this.#tell({ done: call, value: channel }, channel)
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

  close(): void {
    if (this.#pc === undefined || this.#pc.connectionState === 'closed') return
    this.#pc.close()
    this.#tell({ event: 'connectionstatechange', state: 'closed' })
  }

  /** When the far side closes the connection, SCTP says so at once, and the connection's own state after seconds. */
  #followSctp(): void {
    const sctp = this.#pc?.sctp
    if (sctp) sctp.onstatechange = () => sctp.state === 'closed' && this.close()
  }

  #tell(told: Omit<Extract<Told, { done: number }>, 'on'>, channel?: RTCDataChannel): void
  #tell(told: Omit<Extract<Told, { failed: number }>, 'on'>): void
  #tell(told: Omit<Extract<Told, { event: string }>, 'on'>, channel?: RTCDataChannel): void
  #tell(told: object, channel?: RTCDataChannel): void {
    this.#port.postMessage({ on: this.#id, ...told }, channel === undefined ? [] : [channel as unknown as Transferable])
  }
}
