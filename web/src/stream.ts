import type { PeerStream } from './types.js'

/** A stream as the WebAssembly program hands it out. */
export interface RawStream extends PeerStream {
  /**
   * Over WebTransport the streams are the browser's own: no byte between this page and the network passes through the program, which
   * so cannot end a `readable` that somebody is reading.
   */
  readonly native: boolean
}

/** Makes `reset` of a native stream end its `readable` too. Other streams are as they should be. */
export function peerStream(raw: RawStream): PeerStream {
  if (!raw.native) return raw
  const reader = raw.readable.getReader()
  let controller!: ReadableStreamDefaultController<Uint8Array>
  let over = false
  const readable = new ReadableStream<Uint8Array>(
    {
      start(c) {
        controller = c
      },
      async pull() {
        const { done, value } = await reader.read()
        if (over) return
        if (done) controller.close()
        else controller.enqueue(value)
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 }, // the browser reads ahead by itself
  )
  return {
    readable,
    writable: raw.writable,
    peer: raw.peer,
    protocol: raw.protocol,
    reset() {
      raw.reset()
      if (over) return
      over = true
      controller.error(new DOMException('the stream was reset', 'AbortError'))
      reader.cancel().catch(() => {}) // it may have failed before
    },
  }
}
