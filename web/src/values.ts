/**
 * Type checks for values that callers pass. They do not use `instanceof`, because values from a frame, from Node's `vm` or from jsdom have
 * other classes of the same names.
 */

const bufferLength = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength')!.get!

/** Returns the name of a value's platform class. */
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

/** Recognizes a signal by its members. */
export function isSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener } = Object(value) as Partial<AbortSignal>
  return typeof aborted === 'boolean' && typeof addEventListener === 'function'
}
