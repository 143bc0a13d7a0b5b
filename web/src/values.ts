/**
 * What a program hands in, told by what it is and not by `instanceof`: what comes of a frame, of Node's `vm` or of jsdom is of other classes
 * of the same names.
 */

const bufferLength = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength')!.get!

/** The name of the platform's class. */
export function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1)
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

/** A signal goes by what it can do. */
export function isSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener } = Object(value) as Partial<AbortSignal>
  return typeof aborted === 'boolean' && typeof addEventListener === 'function'
}
