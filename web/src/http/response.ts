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

const FORMATS = new Map<string, CompressionFormat>([
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
])

/** How many content codings one body may have. Each costs memory, and a header of a few bytes could list very many. */
const MAX_CODINGS = 5

/**
 * Returns the body without its content codings, if the platform can undo them, as `fetch` does. The headers about them are then removed,
 * because they do not describe what a program reads or hands on.
 */
export function decompressed(body: ReadableStream<Uint8Array>, headers: Headers): ReadableStream<Uint8Array> {
  const formats = tokens(headers.get('content-encoding')).map((coding) => FORMATS.get(coding))
  if (typeof DecompressionStream === 'undefined' || formats.includes(undefined)) return body
  if (formats.length > MAX_CODINGS) return body
  headers.delete('content-encoding')
  headers.delete('content-length')
  return formats.reduceRight((stream, format) => undo(stream, format!), body)
}

/** Undoes a coding. As in `fetch`, an empty body is left empty, and `deflate` may lack its header, as some servers send it. */
function undo(body: ReadableStream<Uint8Array>, format: CompressionFormat): ReadableStream<Uint8Array> {
  const encoded = body.getReader()
  let decoded: ReadableStreamDefaultReader<Uint8Array> | undefined
  const begin = (first: Uint8Array) => {
    const rest: UnderlyingDefaultSource<Uint8Array> = {
      start: (controller) => controller.enqueue(first),
      pull: (controller) => passOn(encoded, controller),
      cancel: (reason) => encoded.cancel(reason),
    }
    const raw = format === 'deflate' && (first[0]! & 15) !== 8 // RFC 1950, 2.2: the lower half of the first byte is 8
    const undone = new DecompressionStream(raw ? 'deflate-raw' : format) as TransformStream<Uint8Array, Uint8Array>
    return new ReadableStream(rest).pipeThrough(undone).getReader()
  }
  const source: UnderlyingDefaultSource<Uint8Array> = {
    async pull(controller) {
      if (decoded === undefined) {
        const { done, value } = await encoded.read()
        if (done) return controller.close()
        decoded = begin(value)
      }
      await passOn(decoded, controller)
    },
    cancel: (reason) => (decoded ?? encoded).cancel(reason),
  }
  return new ReadableStream(source, { highWaterMark: 0 })
}

async function passOn(
  from: ReadableStreamDefaultReader<Uint8Array>,
  to: ReadableStreamDefaultController<Uint8Array>,
): Promise<void> {
  const { done, value } = await from.read()
  if (done) to.close()
  else to.enqueue(value)
}
