/** Turns the body that a caller passes into one that can be sent. */
import { tagOf } from '../values.js'

export interface OutgoingBody {
  /** The content type that the body implies, or null. */
  type: string | null
  /** The length in bytes, if it is known beforehand. */
  length: number | undefined
  stream: ReadableStream<Uint8Array>
  /** Returns the body once more, or null if it was a stream, which can be read only once. */
  again(): OutgoingBody | null
}

/**
 * Extracts a body with `Response` and `Blob`, because `Request` does not do it everywhere: Firefox has no `Request.body`, and Firefox and
 * WebKit send a stream as the text `[object ReadableStream]`.
 */
export function outgoingBody(body: BodyInit): OutgoingBody {
  const kind = tagOf(body)
  if (kind === 'ReadableStream') {
    const stream = body as ReadableStream<Uint8Array>
    assertUnread(stream)
    return { type: null, length: undefined, stream, again: () => null }
  }
  if (kind === 'Blob' || kind === 'File') return ofBlob(body as Blob, (body as Blob).type || null)
  if (kind === 'ArrayBuffer' || ArrayBuffer.isView(body)) return ofBlob(new Blob([body as BlobPart]), null)
  const { headers } = new Response(body)
  const type = headers.get('content-type')
  const parts = kind === 'FormData' ? multipart(body as FormData, type!.split('boundary=')[1]!) : [String(body)]
  return ofBlob(new Blob(parts), type)
}

/** Encodes a form as HTML says. The platform's own encoding does not tell its length. */
function multipart(form: FormData, boundary: string): BlobPart[] {
  const lines = (text: string) => text.replace(/\r\n?|\n/g, '\r\n')
  const quoted = (text: string) =>
    text.replace(/[\r\n"]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
  const parts: BlobPart[] = []
  for (const [name, value] of form) {
    parts.push(`--${boundary}\r\nContent-Disposition: form-data; name="${quoted(lines(name))}"`)
    if (typeof value === 'string') parts.push(`\r\n\r\n${lines(value)}\r\n`)
    else {
      parts.push(`; filename="${quoted(value.name)}"\r\n`)
      parts.push(`Content-Type: ${value.type || 'application/octet-stream'}\r\n\r\n`, value, '\r\n')
    }
  }
  return [...parts, `--${boundary}--\r\n`]
}

/** Throws if a stream was read or cancelled, or is locked. Only a Response of the platform can tell that a stream was read. */
function assertUnread(stream: ReadableStream): void {
  try {
    if (!stream.locked) return void new Response(stream)
  } catch {
    // It was read.
  }
  throw new TypeError('body: the stream was read or cancelled, or is locked; each request needs a new one')
}

function ofBlob(blob: Blob, type: string | null): OutgoingBody {
  return { type, length: blob.size, stream: blob.stream(), again: () => ofBlob(blob, type) }
}
