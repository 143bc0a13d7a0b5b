/** Returns a copy with a buffer of its own. A Buffer of Node.js is a view of a shared buffer, and so is the result of its `slice`. */
export function copyBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}

/** Returns bytes that are alone in their buffer, so that it can be transferred and nothing else crosses with it. */
export function ownBytes(bytes: Uint8Array, given: boolean): Uint8Array<ArrayBuffer> {
  const alone = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer
  return given && alone ? (bytes as Uint8Array<ArrayBuffer>) : copyBytes(bytes)
}
