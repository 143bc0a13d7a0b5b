import { TomboloError } from './errors.js'
import { Halves } from './halves.js'
import type { PeerStream, StreamHandler } from './types.js'

/** A stream as the WebAssembly program hands it out. */
export type RawStream = (PeerStream & { readonly native: false }) | NativeStream

/**
 * Over WebTransport the streams are the browser's own: no byte between this page and the network passes through the program. So the program
 * is told how the reading half ended, is asked why the stream failed, and says when it has ended the stream itself.
 */
interface NativeStream extends Pick<PeerStream, 'peer' | 'protocol' | 'reset'> {
  readonly native: true
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly writer: WritableStreamDefaultWriter<Uint8Array>
  /** The readable is at its end, or was cancelled. */
  readEnded(): void
  /** The browser has failed one of the halves. Resolves to why, for which the peer may be asked. */
  failed(error: unknown): Promise<Error | null>
  /** Resolves when the stream is over, to why it failed. */
  readonly ended: Promise<Error | null>
}

/** How long after the one half of a stream the other may fail of the same reset. */
const RESET_MS = 100

/** Makes of a native stream what other streams are already: both its halves fail, and with a reason. */
export function peerStream(raw: RawStream): PeerStream {
  if (!raw.native) return raw
  const { writer } = raw
  const reader = raw.readable.getReader()
  let asked: Promise<Error> | undefined

  const why = (seen: unknown): Promise<Error> =>
    (asked ??= raw.failed(seen).then((error) => halves.fail(error ?? (seen as Error))))

  const halves = new Halves(
    {
      async pull(halves) {
        const { done, value } = await reader.read().catch(async (error: unknown) => {
          throw await why(error)
        })
        if (done) halves.endReading()
        else halves.enqueue(value)
      },
      cancel: (reason) => reader.cancel(reason),
      async write(chunk, halves) {
        try {
          await writer.write(chunk)
        } catch (error) {
          // Where the peer has only stopped to read, what it sends can still be read.
          const failed = halves.failure ?? (await whole(error))
          throw failed ?? new TomboloError('stream', 'the peer takes no more', { reason: 'reset by the peer' })
        }
      },
      async close() {
        try {
          await writer.close()
        } catch (error) {
          // That the peer reads no more is no failure: nothing is lost that it wanted.
          const failed = await whole(error)
          if (failed) throw failed
        }
      },
      reset(cause) {
        raw.reset()
        if (cause !== undefined) writer.abort(cause).catch(() => {})
      },
      failed: () => void reader.cancel().catch(() => {}), // it may have failed before
    },
    { highWaterMark: 0 }, // the browser reads ahead by itself
  )

  // The browser says here that the peer has reset the stream, whether or not anybody reads or writes.
  const readEnd = reader.closed.then(() => raw.readEnded(), why)
  readEnd.catch(() => {})
  void raw.ended.then((error) => error && halves.fail(error))

  /** Writing has failed: resolves to the failure of the whole stream, if it is that. A reset of both halves arrives at about one time. */
  async function whole(seen: unknown): Promise<Error | void> {
    if ((seen as Partial<WebTransportError> | undefined)?.source === 'session') return why(seen)
    const wait = new Promise<void>((resolve) => setTimeout(resolve, RESET_MS))
    return asked ?? (await Promise.race([readEnd, wait.then(() => asked)]))
  }

  return halves.of(raw)
}

/** What the program calls for a handler of streams. It shows the handler's name. The program refuses anything but a function. */
export function streamHandler(handler: StreamHandler): (raw: RawStream) => void | Promise<void> {
  if (typeof handler !== 'function') return handler
  const f = (raw: RawStream) => handler(peerStream(raw))
  return Object.defineProperty(f, 'name', { value: handler.name })
}
