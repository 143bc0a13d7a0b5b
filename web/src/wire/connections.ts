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
  /** Opens the channel, with these arguments of `createDataChannel`. */
  readonly open?: [label: string, init: RTCDataChannelInit]
  /** The bytes to send. They are transferred. */
  readonly send?: Uint8Array<ArrayBuffer>
  readonly low?: number
  readonly close?: true
  /** The page has taken the channel for a stream. This is a message that the worker had got before. */
  readonly back?: unknown
  /** The worker got no more messages. */
  readonly begin?: true
}

/** The protocol of channels that a page may keep for a stream of its own: RawProtocol of package core/webrtc. */
export const RAW_PROTOCOL = 'tombolo/raw'

/** Where the channel of a stream is that a page takes over. */
export interface ChannelPlace {
  readonly on: number
  /** Channels that the peer or the program has opened have positive numbers, and those that the worker has numbered have negative ones. */
  readonly kept: number
}

/** A channel that a page takes over, after so much has happened: what the worker has done and seen may still be on its way. */
export interface TakenPlace extends ChannelPlace {
  /** Messages of the peer that the program has received. */
  readonly messages: number
  /** Messages that the worker has sent. */
  readonly sent: number
}

/** A channel that a page reports: the channel itself, or its number if the page keeps it. */
export type ToldChannel = RTCDataChannel | { readonly kept: number; readonly label: string; readonly open: boolean }

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
  /** `taken` and `begun`: the page uses the channel by itself, and no message follows. If it is `taken`, the page awaits `begin`. */
  readonly happened?: 'open' | 'message' | 'error' | 'close' | 'taken' | 'begun'
  /** The data of a message. It is transferred. */
  readonly data?: unknown
  readonly errorDetail?: string
  /** How many bytes have left so far, of all that were sent. */
  readonly left?: number
}
