/** Bytes and streams of them, for the tests. */

/** Returns the bytes of a string whose characters are at most U+00FF. */
export function bytes(binary: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(binary, (character) => character.charCodeAt(0))
}

/** Returns the string whose characters are the bytes. */
export function binary(bytes: Uint8Array): string {
  let all = ''
  for (const byte of bytes) all += String.fromCharCode(byte)
  return all
}

/** Returns a stream of the bytes in pieces of `size`. */
export function pieces(all: Uint8Array<ArrayBuffer>, size = all.length): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= all.length) return controller.close()
      controller.enqueue(all.slice(at, (at += size)))
    },
  })
}

/** Reads a whole stream. Resolves to a string of its bytes. */
export async function text(stream: ReadableStream<Uint8Array> | null): Promise<string> {
  let all = ''
  if (stream !== null) for await (const piece of stream) all += binary(piece)
  return all
}
