/** What crosses between a page that has WebRTC connections and the worker that uses them. */

/** What a worker asks of the connection `on`. `new` and `close` are not answered. */
export interface Asked {
  readonly on: number
  readonly call: number
  readonly method: string
  readonly args: unknown[]
}

/** What a page tells of the connection `on`. */
export type Told = { readonly on: number } & (
  | { readonly done: number; readonly value: unknown }
  | { readonly failed: number; readonly name: string; readonly message: string }
  | {
      readonly event: 'icecandidate' | 'connectionstatechange' | 'datachannel'
      readonly candidate?: RTCIceCandidateInit
      readonly state?: RTCPeerConnectionState
      readonly channel?: RTCDataChannel
    }
)
