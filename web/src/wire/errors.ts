/** The form of errors between a page and its worker. Cloning an error would lose its class, its code and its reason. */
import { TomboloError, type TomboloErrorCode } from '../errors.js'
import type { StreamReason } from '../types.js'
import { textOf } from '../values.js'

export interface SentError {
  readonly name: string
  readonly message: string
  readonly code?: TomboloErrorCode
  readonly reason?: StreamReason
  readonly dom?: boolean
  readonly cause?: SentError
}

/** The maximum depth of causes that cross. */
const MAX_CAUSES = 4

export function sendError(error: unknown, causes = MAX_CAUSES): SentError {
  if (!isError(error)) return { name: 'Error', message: textOf(error) }
  const { name, message } = error
  if (error instanceof DOMException) return { name, message, dom: true }
  const cause = error.cause === undefined || causes === 0 ? {} : { cause: sendError(error.cause, causes - 1) }
  if (!(error instanceof TomboloError)) return { name, message, ...cause }
  const { code, reason } = error
  return { name, message, code, ...(reason !== undefined && { reason }), ...cause }
}

/** Restores an error that crossed. An error that the platform itself made is left as it is. */
export function receiveError(sent: unknown): Error {
  if (isError(sent)) return sent
  const { name, message, code, reason, dom, ...rest } = (sent ?? { name: 'Error', message: String(sent) }) as SentError
  const options = rest.cause === undefined ? {} : { cause: receiveError(rest.cause) }
  if (code !== undefined)
    return new TomboloError(code, message, reason === undefined ? options : { ...options, reason })
  if (dom) return new DOMException(message, name)
  if (name === 'TypeError') return new TypeError(message, options)
  if (name === 'RangeError') return new RangeError(message, options)
  return Object.defineProperty(new Error(message, options), 'name', { value: name, configurable: true, writable: true })
}

function isError(value: unknown): value is Error {
  return value instanceof Error || value instanceof DOMException
}
