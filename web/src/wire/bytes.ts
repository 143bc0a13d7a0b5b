/** A copy with a buffer of its own. A Buffer of Node.js is a view of a buffer that others use, and its `slice` is another. */
export function copyBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}

/** Bytes that have their buffer to themselves: it can be transferred, and nothing else crosses with it. */
export function ownBytes(bytes: Uint8Array, given: boolean): Uint8Array<ArrayBuffer> {
  const alone = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer
  return given && alone ? (bytes as Uint8Array<ArrayBuffer>) : copyBytes(bytes)
}
