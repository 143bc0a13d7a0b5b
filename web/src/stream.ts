import { channelStream, type ChannelStream } from './channel.js'
import { TomboloError } from './errors.js'
import { Halves } from './halves.js'
import type { PeerStream, StreamHandler } from './types.js'

/** A stream as the WebAssembly program hands it out. */
export type RawStream = (PeerStream & { readonly kind: 'program' }) | NativeStream | ChannelStream

/**
 * Over WebTransport, the streams are the browser's own: no byte between this page and the network passes through the program. So this page
 * reports to the program when the reading half ended, asks it why the stream failed, and learns from it when it ended the stream itself.
 */
interface NativeStream extends Pick<PeerStream, 'peer' | 'protocol' | 'reset'> {
  readonly kind: 'browser'
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly writer: WritableStreamDefaultWriter<Uint8Array>
  /** Reports that the readable is at its end, or was cancelled. */
  readEnded(): void
  /** Reports that the browser has failed one of the halves. Resolves to the reason, for which the program may ask the peer. */
  failed(error: unknown): Promise<Error | null>
  /** Resolves when the stream is over: to the reason if it failed, else to null. */
  readonly ended: Promise<Error | null>
}

/** How long after one half of a stream the other one may fail because of the same reset, in milliseconds. */
const RESET_MS = 100

/** Makes a stream of what the program hands out. */
export function peerStream(raw: RawStream): PeerStream {
  if (raw.kind === 'program') return raw
  return raw.kind === 'channel' ? channelStream(raw) : nativeStream(raw)
}

/** Makes a native stream behave like the others: both halves fail together, with a reason. */
function nativeStream(raw: NativeStream): PeerStream {
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
          // If the peer has only stopped reading, what it sends can still be read.
          const failed = halves.failure ?? (await whole(error))
          throw failed ?? new TomboloError('stream', 'the peer takes no more', { reason: 'reset by the peer' })
        }
      },
      async close() {
        try {
          await writer.close()
        } catch (error) {
          // It is not a failure if the peer has stopped reading: nothing that it wanted is lost.
          const failed = await whole(error)
          if (failed) throw failed
        }
      },
      reset(cause) {
        raw.reset()
        if (cause !== undefined) writer.abort(cause).catch(() => {})
      },
      failed: () => void reader.cancel().catch(() => {}), // it may already have failed
    },
    { highWaterMark: 0 }, // the browser reads ahead by itself
  )

  // Here the browser reports a reset by the peer, whether or not anybody reads or writes.
  const readEnd = reader.closed.then(() => raw.readEnded(), why)
  readEnd.catch(() => {})
  void raw.ended.then((error) => error && halves.fail(error))

  /**
   * Called when writing has failed. Resolves to the failure of the whole stream, if all of it failed: both halves' resets arrive at about
   * the same time.
   */
  async function whole(seen: unknown): Promise<Error | void> {
    if ((seen as Partial<WebTransportError> | undefined)?.source === 'session') return why(seen)
    const wait = new Promise<void>((resolve) => setTimeout(resolve, RESET_MS))
    return asked ?? (await Promise.race([readEnd, wait.then(() => asked)]))
  }

  return halves.of(raw)
}

/**
 * Returns the function that the program calls with each stream of a handler. It has the handler's name, which the program shows. The
 * program refuses a handler that is not a function.
 */
export function streamHandler(handler: StreamHandler): (raw: RawStream) => void | Promise<void> {
  if (typeof handler !== 'function') return handler
  const f = (raw: RawStream) => handler(peerStream(raw))
  return Object.defineProperty(f, 'name', { value: handler.name })
}
