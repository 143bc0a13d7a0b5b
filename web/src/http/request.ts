/** The request of a peer. */
import { escapeBytes, MalformedError, type Head } from './wire.js'

/** The maximum body size if the platform does not accept a stream as a body, in bytes. */
const MAX_HELD = 64 << 20

/** Methods that a Request cannot have. */
const REFUSED = /^(CONNECT|TRACE|TRACK)$/i

/** The characters that RFC 3986 allows in a host and port. None of them ends the host in a URL. */
const HOST = /^(?:[\w.~!$&'()*+,;=%-]+|\[[\dA-Fa-f:.]+\])(?::\d*)?$/

/** The contents of a request's first line and its Host. */
export interface Line {
  method: string
  /** The minor version of HTTP/1. */
  minor: number
  /** Null for `OPTIONS *`. */
  url: URL | null
}

export function parseLine({ start, headers, hosts }: Head): Line {
  const line = /^([!#$%&'*+.^_`|~\w-]+) ([!-~\x80-\xff]+) HTTP\/(\d)\.(\d)$/.exec(start)
  if (line === null) throw new MalformedError('the request line cannot be read')
  const [, method = '', target = '', major, minor] = line
  if (major !== '1') throw new MalformedError(`HTTP/${major}.${minor} is not answered here`, 505)
  if (REFUSED.test(method)) throw new MalformedError(`the method ${method} is not answered here`, 501)
  if (hosts > 1 || (hosts === 0 && minor !== '0')) throw new MalformedError('there must be one Host')
  const host = headers.get('host') || 'peer.invalid'
  if (!HOST.test(host)) throw new MalformedError('the host cannot be read')
  return { method, minor: Number(minor), url: parseTarget(method, target, host) }
}

function parseTarget(method: string, target: string, host: string): URL | null {
  if (method === 'OPTIONS' && target === '*') return null
  // RFC 9112, 3.2.2: a server accepts a URL, which takes precedence over Host.
  const absolute = /^https?:\/\/([^/?#\\]+)(.*)$/i.exec(target)
  if (absolute !== null) {
    host = absolute[1]!
    target = absolute[2]!.startsWith('/') ? absolute[2]! : '/' + absolute[2]!
  }
  if (!target.startsWith('/') || target.includes('#')) throw new MalformedError('the request is not for a path')
  if (!HOST.test(host)) throw new MalformedError('the host cannot be read')
  try {
    // Concatenated, not resolved, because a path may begin with two slashes. A URL would treat a backslash as another slash.
    return new URL(`http://${host}${escapeBytes(target).replaceAll('\\', '%5C')}`)
  } catch {
    throw new MalformedError('the host or the path cannot be read')
  }
}

/** Complete headers. Changes are applied to those of a Request, too, which leave out the headers that a page may not set. */
class FullHeaders extends Headers {
  readonly #kept: Headers

  constructor(all: Headers, kept: Headers) {
    super(all)
    this.#kept = kept
  }

  override append(name: string, value: string): void {
    super.append(name, value)
    this.#kept.append(name, value)
  }

  override set(name: string, value: string): void {
    super.set(name, value)
    this.#kept.set(name, value)
  }

  override delete(name: string): void {
    super.delete(name)
    this.#kept.delete(name)
  }
}

/**
 * The platform's Request, with two additions. A browser leaves out the headers that a page may not set, such as cookie, host and origin:
 * this Request and its clones have them. Firefox does not offer the body of a Request as a stream: here, `body` is one.
 */
class IncomingRequest extends Request {
  readonly #headers: Headers
  #body: ReadableStream<Uint8Array<ArrayBuffer>> | null | undefined

  constructor(input: URL | Request, init: RequestInit, headers: Headers) {
    super(input, { ...init, headers })
    const kept = super.headers
    this.#headers = [...kept].length === [...headers].length ? kept : new FullHeaders(headers, kept)
  }

  override get headers(): Headers {
    return this.#headers
  }

  override get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    if (super.body !== undefined) return super.body
    if (this.#body !== undefined || this.method === 'GET' || this.method === 'HEAD') return this.#body ?? null
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>) => {
      controller.enqueue(new Uint8Array(await this.arrayBuffer()))
      controller.close()
    }
    return (this.#body = new ReadableStream({ pull }, { highWaterMark: 0 }))
  }

  override clone(): IncomingRequest {
    return new IncomingRequest(super.clone(), { signal: this.signal }, this.#headers)
  }
}

let streams: boolean | undefined

/** Reports whether the platform accepts a stream as the body of a Request. Other platforms send its name, or throw. */
function takesStreams(): boolean {
  try {
    const init = { method: 'POST', body: new ReadableStream(), duplex: 'half' }
    return (streams ??= !new Request('http://peer.invalid', init as RequestInit).headers.has('content-type'))
  } catch {
    return (streams = false)
  }
}

/** Makes the request that a handler gets. `body` is null for GET and HEAD, which cannot have one. */
export async function makeRequest(
  url: URL,
  method: string,
  headers: Headers,
  body: ReadableStream<Uint8Array> | null,
  signal: AbortSignal,
): Promise<Request> {
  if (body === null) return new IncomingRequest(url, { method, signal }, headers)
  const init = { method, signal, body: takesStreams() ? body : await held(body), duplex: 'half' }
  return new IncomingRequest(url, init as RequestInit, headers)
}

/** Reads a whole body into one piece. */
async function held(body: ReadableStream<Uint8Array>): Promise<Blob> {
  const parts: BlobPart[] = []
  let length = 0
  for (const reader = body.getReader(); ;) {
    const { done, value } = await reader.read()
    if (done) return new Blob(parts)
    if ((length += value.length) > MAX_HELD) {
      throw new MalformedError(`this browser takes no body of more than ${MAX_HELD >> 20} MiB`, 413)
    }
    parts.push(value.slice())
  }
}
