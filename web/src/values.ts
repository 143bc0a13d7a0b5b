/**
 * Type checks for values that callers pass. They do not use `instanceof`, because values from a frame, from Node's `vm` or from jsdom have
 * other classes of the same names.
 */

import { TomboloError, type TomboloErrorCode } from './errors.js'
import type { CallOptions } from './types.js'

const bufferLength = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength')!.get!

/** Returns the name of a value's platform class. */
export function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1)
}

/** Returns the string form of a value that a program threw. Objects without a prototype have none. */
export function textOf(value: unknown): string {
  try {
    return String(value)
  } catch {
    return `[object ${tagOf(value)}]`
  }
}

export function isBytes(value: unknown): value is Uint8Array {
  return ArrayBuffer.isView(value) && tagOf(value) === 'Uint8Array'
}

export function isBuffer(value: unknown): value is ArrayBuffer {
  try {
    bufferLength.call(value)
    return true
  } catch {
    return false
  }
}

export function isModule(value: unknown): value is WebAssembly.Module {
  return tagOf(value) === 'WebAssembly.Module'
}

/** Recognizes a signal by its members. */
export function isSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener } = Object(value) as Partial<AbortSignal>
  return typeof aborted === 'boolean' && typeof addEventListener === 'function'
}

/**
 * Returns the options of a call. Throws, in the words of the program, if they or their signal are of the wrong kind, or if one of them is
 * not among the known ones. Throws the signal's reason if it has aborted.
 */
export function optionsOf<T extends object>(options: T, code: TomboloErrorCode = 'argument', known?: string[]): T {
  const must = (name: string, want: string, got: unknown) =>
    new TomboloError(code, `${name} must be ${want}, not ${got === null ? 'null' : typeof got}`)
  if (typeof options !== 'object' || options === null) throw must('options', 'an object', options)
  const unknown = known && Object.keys(options).find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new TomboloError(code, `unknown option ${JSON.stringify(unknown)}: there are ${known!.join(', ')}`)
  }
  const { signal } = options as CallOptions
  if ((signal ?? null) !== null && !isSignal(signal)) throw must('option signal', 'an AbortSignal', signal)
  throwIfAborted(signal)
  return options
}

/** Throws the reason of a signal that has aborted. A signal that is recognized by its members may lack the method of that name. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason
}
