import type { StreamReason } from './types.js'

/** The error codes and their meanings. A test compares this table with the one in docs/typescript.md. */
const CODES = {
  // A node cannot be made, or does not work any more.
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
 * The error that calls of this package reject with. `code` is for programs, the message is for people, and `cause` is the underlying error,
 * if there is one. A call that its signal aborts rejects with the signal's reason instead, as on the platform.
 */
export class TomboloError extends Error {
  readonly code: TomboloErrorCode
  /** The reason why a stream failed or a seat ended. Set only if the code is `stream` or `seat`. */
  readonly reason?: StreamReason

  constructor(code: TomboloErrorCode, message: string, options?: ErrorOptions & { reason?: StreamReason }) {
    super(message, options)
    this.name = 'TomboloError'
    this.code = code
    if (options?.reason !== undefined) this.reason = options.reason
  }
}

/** The error of calls and streams that were under way when the node's worker crashed and was restarted. They can be tried again. */
export class RestartError extends TomboloError {
  constructor(message: string) {
    super('restart', message)
    this.name = 'RestartError'
  }
}
