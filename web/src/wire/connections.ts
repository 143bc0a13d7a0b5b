/** The messages between a page that has WebRTC connections and the worker that uses them. */

/** A call of the worker on the connection `on`. `new` and `close` are not answered. */
export interface Asked {
  readonly on: number
  readonly call: number
  readonly method: string
  readonly args: unknown[]
}

/** The actions of a worker on a data channel that its page keeps, in the order of the members. */
export interface ChannelAsked {
  readonly on: number
  readonly channel: number
  /** The bytes to send. They are transferred. */
  readonly send?: Uint8Array<ArrayBuffer>
  readonly low?: number
  readonly close?: true
}

/** A channel that a page reports: the channel itself, or its number if the page keeps it. */
export type ToldChannel = RTCDataChannel | { readonly kept: number; readonly label: string }

/** A report of the page about the connection `on`. */
export type Told = { readonly on: number } & (
  | { readonly done: number; readonly value: unknown }
  | { readonly failed: number; readonly name: string; readonly message: string }
  | {
      readonly event: 'icecandidate' | 'connectionstatechange' | 'datachannel'
      readonly candidate?: RTCIceCandidateInit
      readonly state?: RTCPeerConnectionState
      /** Sent with a `state`. It shows whether the network path to the peer failed, or the peer's authentication. */
      readonly ice?: RTCIceConnectionState
      readonly channel?: ToldChannel
    }
  | ChannelTold
)

/** A report of the page about a data channel that it keeps. */
export interface ChannelTold {
  readonly on: number
  readonly kept: number
  readonly happened?: 'open' | 'message' | 'error' | 'close'
  /** The data of a message. It is transferred. */
  readonly data?: unknown
  readonly errorDetail?: string
  /** How many bytes have left so far, of all that were sent. */
  readonly left?: number
}
