import type { StreamReason } from './types.js'

/**
 * Why a node could not be made or stopped working, or that a stream did. Other errors that the node itself raises (an
 * option it does not know, a message too large) are plain `Error`s and say what they are about.
 *
 * - `unsupported`: the platform lacks something that the node cannot do without
 * - `wasm-unreachable`: the request for the program did not get an answer
 * - `wasm-not-found`: the program is not at its address
 * - `wasm-refused`: the server answered, but not with success
 * - `wasm-type`: what came is not served as `application/wasm`
 * - `wasm-truncated`: the transfer ended before the program did
 * - `wasm-invalid`: what came is not a WebAssembly program that this package can start
 * - `option`: an option of this package (not of the node) has a value it cannot have
 * - `crashed`: the program ended under a running node; the node is of no more use
 * - `worker-unreachable`: the worker of the node could not be loaded
 * - `restart`: the worker of the node crashed, and is started again; what was under way with it is lost
 * - `stream`: a stream could not be opened, was refused, or ended before its time; `reason` says why
 */
export type TomboloErrorCode =
  | 'unsupported'
  | 'wasm-unreachable'
  | 'wasm-not-found'
  | 'wasm-refused'
  | 'wasm-type'
  | 'wasm-truncated'
  | 'wasm-invalid'
  | 'option'
  | 'crashed'
  | 'worker-unreachable'
  | 'restart'
  | 'stream'

export class TomboloError extends Error {
  readonly code: TomboloErrorCode
  /** Why a stream failed; only where the code is `stream`. */
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
