/** What a program gives as the body of a request, made into what can be sent. */
import { tagOf } from '../values.js'

export interface OutgoingBody {
  /** The content type that the body implies, or null. */
  type: string | null
  /** In bytes, where that is known beforehand. */
  length: number | undefined
  stream: ReadableStream<Uint8Array>
  /** The body once more, or null where it was a stream, which is gone. */
  again(): OutgoingBody | null
}

/**
 * Bodies are extracted by `Response` and `Blob`, for `Request` does not do it everywhere: Firefox has no `Request.body`, and it and WebKit
 * send a stream as the words `[object ReadableStream]`.
 */
export function outgoingBody(body: BodyInit): OutgoingBody {
  const kind = tagOf(body)
  if (kind === 'ReadableStream') {
    const stream = body as ReadableStream<Uint8Array>
    if (stream.locked) throw new TypeError('body: the stream is locked')
    return { type: null, length: undefined, stream, again: () => null }
  }
  if (kind === 'Blob' || kind === 'File') return ofBlob(body as Blob, (body as Blob).type || null)
  if (kind === 'ArrayBuffer' || ArrayBuffer.isView(body)) return ofBlob(new Blob([body as BlobPart]), null)
  const extracted = new Response(body)
  const type = extracted.headers.get('content-type')
  if (kind === 'String' || kind === 'URLSearchParams') return ofBlob(new Blob([String(body)]), type)
  // Of a form, `again` has another boundary, and so another type.
  const again = () => (kind === 'FormData' ? outgoingBody(body) : null)
  return { type, length: undefined, stream: extracted.body!, again }
}

function ofBlob(blob: Blob, type: string | null): OutgoingBody {
  return { type, length: blob.size, stream: blob.stream(), again: () => ofBlob(blob, type) }
}
