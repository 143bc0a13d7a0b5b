/** The response of a peer. */
import { tokens } from './wire.js'

interface Origin {
  url: string
  redirected: boolean
  /** What `clone` took the body from. It is kept: Node.js 20 cancels the body of a clone that is garbage-collected. */
  copy?: Response
}

/**
 * A `Response` with `url`, `redirected` and `type`, like one of the platform's `fetch`. Only `fetch` itself can make such a plain
 * `Response`.
 */
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
    const copy = super.clone()
    const { body, status, statusText, headers } = copy
    return new PeerResponse(body, { status, statusText, headers }, { ...this.#from, copy })
  }
}

const DECOMPRESSED: Record<string, CompressionFormat> = { gzip: 'gzip', 'x-gzip': 'gzip', deflate: 'deflate' }

/**
 * Returns the body without its content codings, if the platform can undo them, as `fetch` does. The headers about them are then removed,
 * because they do not describe what a program reads or hands on.
 */
export function decompressed(body: ReadableStream<Uint8Array>, headers: Headers): ReadableStream<Uint8Array> {
  const formats = tokens(headers.get('content-encoding')).map((coding) => DECOMPRESSED[coding])
  if (typeof DecompressionStream === 'undefined' || formats.includes(undefined)) return body
  headers.delete('content-encoding')
  headers.delete('content-length')
  return formats.reduceRight<ReadableStream<Uint8Array>>(
    (stream, format) => stream.pipeThrough(new DecompressionStream(format!) as TransformStream<Uint8Array, Uint8Array>),
    body,
  )
}
