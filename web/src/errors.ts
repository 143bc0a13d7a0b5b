import type { StreamReason } from './types.js'

/** The codes of errors, each with what it means. A test holds this table and that in docs/typescript.md together. */
const CODES = {
  // A node cannot be made, or works no more.
  unsupported: 'the platform lacks something that the node cannot do without',
  'wasm-unreachable': 'the request for the program did not get an answer',
  'wasm-not-found': 'the program is not at its address',
  'wasm-refused': 'the server answered, but not with success',
  'wasm-type': 'what came is not served as application/wasm',
  'wasm-truncated': 'the transfer ended before the program did',
  'wasm-invalid': 'what came is not a WebAssembly program that this package can start',
  'worker-unreachable': 'the worker of the node could not be loaded',
  option: 'an option has a value that it cannot have, or that cannot be had here',
  crashed: 'the program of the node has ended; make another node',

  // A call fails.
  argument: 'an argument, or an option of a call, has a value that it cannot have',
  closed: 'the node, or what was called, is closed',
  resting: 'the page is frozen or left, and its node makes no connection before it is back',
  restart: 'the worker of the node crashed and is started again; what was under way is lost and may be tried again',
  taken: 'the node has a listener, responder or validator of that name',
  unreachable: 'the peer cannot be reached',
  timeout: 'it took longer than it may',
  lost: 'the connection ended before all was sent, or before the answer; whether it arrived is not known',
  'queue-full': 'as much as may wait for the peer waits already',
  'too-large': 'the message is larger than a message may be',
  'no-peers': 'no peer is known to be on the type',
  refused: "this node's own validator refused the broadcast",
  answer: 'the peer answered the request with an error, or has no answer to that type',
  'too-slow': 'the subscription ended since its messages were not read in time',
  stream: 'a stream could not be opened, was refused, or ended before its time; `reason` says why',
  seat: 'a seat in a room was refused, or has ended; `reason` says why',
  failed: 'anything else; the message says what',
} as const

export type TomboloErrorCode = keyof typeof CODES

export const ERROR_CODES = CODES as Record<TomboloErrorCode, string>

/**
 * What the calls of this package reject with: `code` is for programs, the message for people, and `cause` is the error behind it, where there
 * is one. A call that is ended by its signal rejects with the signal's reason instead, as those of the platform do.
 */
export class TomboloError extends Error {
  readonly code: TomboloErrorCode
  /** Why a stream failed or a seat ended; only where the code is `stream` or `seat`. */
  readonly reason?: StreamReason

  constructor(code: TomboloErrorCode, message: string, options?: ErrorOptions & { reason?: StreamReason }) {
    super(message, options)
    this.name = 'TomboloError'
    this.code = code
    if (options?.reason !== undefined) this.reason = options.reason
  }
}

/** What is under way rejects with this when the worker of a node crashes and is started again. It may be tried again then. */
export class RestartError extends TomboloError {
  constructor(message: string) {
    super('restart', message)
    this.name = 'RestartError'
  }
}
