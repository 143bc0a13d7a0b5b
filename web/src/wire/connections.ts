/** What crosses between a page that has WebRTC connections and the worker that uses them. */

/** What a worker asks of the connection `on`. `new` and `close` are not answered. */
export interface Asked {
  readonly on: number
  readonly call: number
  readonly method: string
  readonly args: unknown[]
}

/** What a worker has a data channel do that its page keeps, in the order of these. */
export interface ChannelAsked {
  readonly on: number
  readonly channel: number
  /** Is given away. */
  readonly send?: Uint8Array<ArrayBuffer>
  readonly low?: number
  readonly close?: true
}

/** A channel of which a page tells: itself, or its number where the page keeps it. */
export type ToldChannel = RTCDataChannel | { readonly kept: number; readonly label: string }

/** What a page tells of the connection `on`. */
export type Told = { readonly on: number } & (
  | { readonly done: number; readonly value: unknown }
  | { readonly failed: number; readonly name: string; readonly message: string }
  | {
      readonly event: 'icecandidate' | 'connectionstatechange' | 'datachannel'
      readonly candidate?: RTCIceCandidateInit
      readonly state?: RTCPeerConnectionState
      /** With a `state`: tells whether what failed is the way to the peer, or who is there. */
      readonly ice?: RTCIceConnectionState
      readonly channel?: ToldChannel
    }
  | ChannelTold
)

/** What a page tells of a data channel that it keeps. */
export interface ChannelTold {
  readonly on: number
  readonly kept: number
  readonly happened?: 'open' | 'message' | 'error' | 'close'
  /** Is given away. */
  readonly data?: unknown
  readonly errorDetail?: string
  /** How many bytes have left so far, of all that were sent. */
  readonly left?: number
}
