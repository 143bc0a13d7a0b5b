/** The response of a peer. */

interface Origin {
  url: string
  redirected: boolean
}

/** A `Response` that knows where it is from, as one of the platform's `fetch` does. Only `fetch` itself can make such a one of its own class. */
export class PeerResponse extends Response {
  readonly #from: Origin

  constructor(body: ReadableStream<Uint8Array> | null, init: ResponseInit, from: Origin) {
    super(body, init)
    this.#from = from
  }

  override get url(): string {
    return this.#from.url
  }

  override get redirected(): boolean {
    return this.#from.redirected
  }

  override get type(): ResponseType {
    return 'basic'
  }

  override clone(): PeerResponse {
    const { body, status, statusText, headers } = super.clone()
    return new PeerResponse(body, { status, statusText, headers }, this.#from)
  }
}

const DECOMPRESSED: Record<string, CompressionFormat> = { gzip: 'gzip', 'x-gzip': 'gzip', deflate: 'deflate' }

/**
 * The body without its content codings, where the platform can undo them, as `fetch` hands it out. The headers that told of them are gone
 * then: they are not true of what a program reads, nor of what it hands on.
 */
export function decompressed(body: ReadableStream<Uint8Array>, headers: Headers): ReadableStream<Uint8Array> {
  const codings =
    headers
      .get('content-encoding')
      ?.toLowerCase()
      .split(/[ \t]*,[ \t]*/) ?? []
  const formats = codings.map((coding) => DECOMPRESSED[coding])
  if (formats.length === 0 || typeof DecompressionStream === 'undefined' || formats.includes(undefined)) return body
  headers.delete('content-encoding')
  headers.delete('content-length')
  return formats.reduceRight<ReadableStream<Uint8Array>>(
    (stream, format) => stream.pipeThrough(new DecompressionStream(format!) as TransformStream<Uint8Array, Uint8Array>),
    body,
  )
}
