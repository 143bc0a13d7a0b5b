/**
 * Streams over data channels that a page takes from the node in its worker. Their bytes do not cross; only how they end does, over the wire
 * of the calls. See `channel.ts` and `page/channels.ts`.
 */
import { type ChannelState, type ChannelStream, channelStream, type HeldChannel, type Seen } from '../channel.js'
import type { PeerStream } from '../types.js'
import type { TakenPlace } from './connections.js'
import { receiveError, sendError, type SentError } from './errors.js'

/** A stream whose channel is handed to the page. */
export interface HandedStream {
  readonly id: number
  readonly peer: string
  readonly protocol: string
  readonly place: TakenPlace
  readonly state: ChannelState
}

export type HandedPart =
  /** From the page: how it has seen the stream fail. It is answered with `why`. */
  | { seen: Seen }
  | { why: SentError | null }
  /** From the worker: the program has ended the stream, for this reason. */
  | { ended: SentError }
  /** From the page: the channel is closed. Nothing follows. */
  | { over: true }
  /** From the page: the stream is reset. */
  | { reset: true }

type Post = (part: HandedPart) => void

const sent = (error: Error | null) => error && sendError(error)
const received = (error: SentError | null) => error && receiveError(error)

/** The end on the side of the node. */
export class GivenStream {
  readonly #stream: ChannelStream
  readonly #post: Post
  readonly #over: () => void

  constructor(stream: ChannelStream, post: Post, over: () => void) {
    this.#stream = stream
    this.#post = post
    this.#over = over
    void stream.ended.then((error) => error && post({ ended: sendError(error) }))
  }

  take(part: HandedPart): void {
    if ('seen' in part) void this.#stream.failed(part.seen).then((error) => this.#post({ why: sent(error) }))
    else if ('reset' in part) this.#stream.reset()
    else if ('over' in part) this.#end()
  }

  /** Called when the page is gone, and the channel with it. */
  reset(): void {
    this.#stream.reset()
    this.#end()
  }

  #end(): void {
    this.#stream.over()
    this.#over()
  }
}

/** The end on the side of the page. */
export class TakenStream {
  readonly stream: PeerStream
  #setWhy!: (error: Error | null) => void
  #setEnded!: (error: Error) => void

  constructor({ peer, protocol, state }: HandedStream, held: HeldChannel, post: Post, over: () => void) {
    const why = new Promise<Error | null>((resolve) => (this.#setWhy = resolve))
    this.stream = channelStream({
      kind: 'channel',
      peer,
      protocol,
      state: { ...state, ...held },
      ended: new Promise((resolve) => (this.#setEnded = resolve)),
      failed(seen) {
        post({ seen })
        return why
      },
      reset: () => post({ reset: true }),
      over() {
        post({ over: true })
        over()
      },
    })
  }

  take(part: HandedPart): void {
    if ('why' in part) this.#setWhy(received(part.why))
    else if ('ended' in part) this.#setEnded(receiveError(part.ended))
  }

  /** Fails both halves, unless they have ended. */
  fail(error: Error): void {
    this.#setEnded(error)
    this.#setWhy(error)
  }
}
