/** WebRTC for a dedicated worker, by the connections of its page. Data channels come to the worker themselves. */
import type { Told } from '../wire/connections.js'

type Handler = ((event: { type: string; candidate?: unknown; channel?: RTCDataChannel }) => void) | null

interface Call {
  resolve(value: unknown): void
  reject(error: Error): void
}

/** Makes `RTCPeerConnection` what the program needs of it, by way of the page at the other end of the port. */
export function takeConnections(port: MessagePort): void {
  const made = new Map<number, RemoteConnection>()
  let count = 0

  class RemoteConnection {
    onicecandidate: Handler = null
    onconnectionstatechange: Handler = null
    ondatachannel: Handler = null
    connectionState: RTCPeerConnectionState = 'new'
    /** What it would tell, `connectionState` tells here. */
    readonly sctp = null
    readonly #id = ++count
    readonly #calls = new Map<number, Call>()
    #last = 0

    constructor(config: RTCConfiguration) {
      made.set(this.#id, this)
      this.#ask('new', [config])
    }

    createOffer = () => this.#call('createOffer')
    createAnswer = () => this.#call('createAnswer')
    setLocalDescription = (description: unknown) => this.#call('setLocalDescription', description)
    setRemoteDescription = (description: unknown) => this.#call('setRemoteDescription', description)
    addIceCandidate = (candidate: unknown) => this.#call('addIceCandidate', candidate)
    createDataChannel = (label: string) => this.#call('createDataChannel', label)

    close(): void {
      if (!made.delete(this.#id)) return
      this.#ask('close', [])
      this.connectionState = 'closed'
      this.#failAll()
    }

    take(told: Told): void {
      if ('done' in told) this.#settle(told.done)?.resolve(told.value)
      else if ('failed' in told) this.#settle(told.failed)?.reject(new DOMException(told.message, told.name))
      else if (told.event === 'icecandidate') this.onicecandidate?.({ type: told.event, candidate: told.candidate })
      else if (told.event === 'datachannel') this.ondatachannel?.({ type: told.event, channel: told.channel! })
      else {
        this.connectionState = told.state!
        if (told.state === 'closed') this.#failAll()
        this.onconnectionstatechange?.({ type: told.event })
      }
    }

    #call(method: string, ...args: unknown[]): Promise<unknown> {
      if (this.connectionState === 'closed') return Promise.reject(closed())
      return new Promise((resolve, reject) => {
        this.#calls.set(this.#ask(method, args), { resolve, reject })
      })
    }

    #ask(method: string, args: unknown[]): number {
      const call = ++this.#last
      port.postMessage({ on: this.#id, call, method, args })
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

  port.onmessage = ({ data }: MessageEvent<Told>) => made.get(data.on)?.take(data)
  Object.assign(globalThis, { RTCPeerConnection: RemoteConnection })
}

function closed(): Error {
  return new DOMException('the WebRTC connection is closed', 'InvalidStateError')
}
