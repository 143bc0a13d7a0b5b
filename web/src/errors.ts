/**
 * Why a node could not be made, or stopped working. Errors that the node itself raises (a peer that cannot be
 * reached, an option it does not know) are plain `Error`s and say what they are about.
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

export class TomboloError extends Error {
  readonly code: TomboloErrorCode

  constructor(code: TomboloErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'TomboloError'
    this.code = code
  }
}
