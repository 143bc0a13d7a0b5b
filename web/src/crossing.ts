/**
 * How the streams of peers cross from a worker to its page: as transferable Web Streams, which keep back-pressure. Of an error they would
 * lose the class, the code and the reason, so it crosses as `rpc.ts` has it; and they do not end with their worker, so the page's halves are
 * its own.
 */
import { TomboloError } from './errors.js'
import { receiveError, sendError, type SentError } from './rpc.js'
import type { PeerStream } from './types.js'

/** A stream on its way. */
export interface CrossedStream {
  readonly id: number
  readonly peer: string
  readonly protocol: string
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly writable: WritableStream<Uint8Array>
}

/** How many chunks a writer may be ahead before it should wait, as of other streams. */
const MAX_QUEUED = 8

/** Makes a stream ready to cross. `written` hears how the writing half ended, `over` that both have. */
export function sendStream(
  stream: PeerStream,
  id: number,
  written: (error: SentError | null) => void,
  over: () => void,
): CrossedStream {
  const reader = stream.readable.getReader()
  const writer = stream.writable.getWriter()
  const readable = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      start(controller) {
        reader.closed.catch((error: unknown) => controller.error(sendError(error)))
      },
      async pull(controller) {
        try {
          const { done, value } = await reader.read()
          if (done) controller.close()
          else controller.enqueue(compact(value))
        } catch (error) {
          controller.error(sendError(error))
        }
      },
      cancel: (reason) => reader.cancel(receiveError(reason)),
    },
    { highWaterMark: 0 },
  )
  const rethrow = (error: unknown): never => {
    throw sendError(error) // eslint-disable-line @typescript-eslint/only-throw-error
  }
  const writable = new WritableStream<Uint8Array>(
    {
      start(controller) {
        writer.closed.catch((error: unknown) => controller.error(sendError(error)))
      },
      async write(chunk) {
        await writer.ready.catch(rethrow)
        writer.write(chunk).catch(() => {}) // `closed` says so; the next chunk comes meanwhile
      },
      close: () => writer.close().catch(rethrow),
      abort: (reason) => writer.abort(receiveError(reason)).catch(() => {}),
    },
    { highWaterMark: 1 },
  )
  const writing = writer.closed.then(
    () => written(null),
    (error: unknown) => written(sendError(error)),
  )
  void Promise.allSettled([reader.closed, writing]).then(over)
  return { id, peer: stream.peer, protocol: stream.protocol, readable, writable }
}

/** A stream as the page has it, with what is told of it from outside of its halves. */
export interface ReceivedStream {
  readonly stream: PeerStream
  /** Fails both halves, if they have not ended. */
  fail(error: Error): void
  /** The other end of the writable is closed, or failed. */
  written(error: SentError | null): void
}

/** Makes a stream of what crossed. `reset` is asked to reset it at the other end; `over` hears that both halves have ended. */
export function receiveStream(crossed: CrossedStream, reset: () => void, over: () => void): ReceivedStream {
  const reader = crossed.readable.getReader()
  const writer = crossed.writable.getWriter()
  let reading!: ReadableStreamDefaultController<Uint8Array>
  let writing!: WritableStreamDefaultController
  let failure: Error | undefined
  let read = false // to its end, or cancelled
  let written!: (error: SentError | null) => void
  let writeOver = false
  const end = new Promise<SentError | null>((resolve) => (written = resolve))
  const overOnce = () => {
    if (read && writeOver) over()
  }

  const fail = (error: Error): void => {
    if (failure !== undefined) return
    failure = error
    if (!read) reading.error(error)
    writing.error(error)
    written(sendError(error))
    read = writeOver = true
    reader.cancel(sendError(error)).catch(() => {})
    over()
  }
  /** What a stream fails with fails both halves, and here the writing one may hear of it later. */
  const readFailed = (error: unknown): Error => {
    const why = failure ?? receiveError(error)
    if (why instanceof TomboloError && why.code === 'stream') fail(why)
    else if (!read) {
      read = true
      reading.error(why)
      overOnce()
    }
    return why
  }
  const readable = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      start(controller) {
        reading = controller
        reader.closed.catch(readFailed)
      },
      async pull(controller) {
        const { done, value } = await reader.read().catch((error: unknown) => {
          throw readFailed(error)
        })
        if (read) return
        if (!done) return controller.enqueue(value)
        read = true
        controller.close()
        overOnce()
      },
      async cancel(reason) {
        read = true
        overOnce()
        await reader.cancel(sendError(reason))
      },
    },
    { highWaterMark: 0 },
  )
  const writable = new WritableStream<Uint8Array>(
    {
      start(controller) {
        writing = controller
        writer.closed.catch((error: unknown) => controller.error(failure ?? receiveError(error)))
      },
      async write(chunk) {
        if (!(chunk instanceof Uint8Array || (chunk as unknown) instanceof ArrayBuffer)) {
          resetBoth() // what follows must not pass for the whole
          throw new TypeError(`chunk must be a Uint8Array or an ArrayBuffer, not ${typeof chunk}`)
        }
        try {
          await writer.ready
          await writer.write(chunk instanceof Uint8Array ? compact(chunk) : chunk)
        } catch (error) {
          throw failure ?? receiveError(error)
        }
      },
      async close() {
        await writer.close().catch((error: unknown) => {
          throw failure ?? receiveError(error)
        })
        const error = await end // which the platform does not wait for
        if (error !== null) throw failure ?? receiveError(error)
      },
      async abort(reason) {
        const aborted = writer.abort(sendError(reason))
        reset()
        fail(new TomboloError('stream', 'the stream was aborted', { reason: 'closed by hand', cause: reason }))
        await aborted.catch(() => {})
      },
    },
    { highWaterMark: MAX_QUEUED },
  )
  void end.then(() => {
    writeOver = true
    if (failure === undefined) overOnce()
  })
  function resetBoth() {
    reset()
    fail(new TomboloError('stream', 'the stream was reset', { reason: 'closed by hand' }))
  }
  const stream = { readable, writable, peer: crossed.peer, protocol: crossed.protocol, reset: resetBoth }
  return { stream, fail, written }
}

/** A chunk crosses with the whole of its buffer, however little of that it is. */
function compact<Buffer extends ArrayBufferLike>(chunk: Uint8Array<Buffer>): Uint8Array<Buffer | ArrayBuffer> {
  return chunk.byteLength === chunk.buffer.byteLength ? chunk : chunk.slice()
}
