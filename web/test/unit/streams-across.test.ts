import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { TomboloError } from '../../src/errors.js'
import { type Ends, Halves } from '../../src/halves.js'
import { type Part, ReceivedStream, SentStream } from '../../src/wire/streams.js'

/** A node's stream, played by the test: written bytes come back. */
function echo(ends: Partial<Ends> = {}) {
  const log: string[] = []
  const halves: Halves = new Halves(
    {
      pull: () => {},
      cancel: () => void log.push('cancelled'),
      write: async (chunk, halves) => halves.enqueue(new Uint8Array(chunk)),
      close: async (halves) => halves.endReading(),
      reset: () => void log.push('reset'),
      failed: () => {},
      ...ends,
    },
    { highWaterMark: 8 },
  )
  return { halves, log, stream: halves.of({ peer: 'p', protocol: '/x/echo' }) }
}

/** Returns the stream as seen at the other end; parts are cloned on the way. */
function crossed(stream: ReturnType<typeof echo>['stream']) {
  const over: string[] = []
  const clone = (part: Part, transfer: Transferable[] = []) => structuredClone(part, { transfer: transfer as never[] })
  const sent: SentStream = new SentStream(
    stream,
    (part, transfer) => setImmediate((part: Part) => received.take(part), clone(part, transfer)),
    () => over.push('sent'),
  )
  const received: ReceivedStream = new ReceivedStream(
    { id: 1, peer: stream.peer, protocol: stream.protocol },
    (part, transfer) => setImmediate((part: Part) => sent.take(part), clone(part, transfer)),
    () => over.push('received'),
  )
  return { ...received.stream, over, received }
}

const reasonOf = (error: unknown) => (error as TomboloError).reason

test('bytes cross both ways, in order, however many', async () => {
  const { readable, writable, over } = crossed(echo().stream)
  const sizes = [1, 8 << 10, 100_000, 3 << 20]
  const total = sizes.reduce((a, b) => a + b)
  const writing = (async () => {
    const writer = writable.getWriter()
    let at = 0
    for (const size of sizes) {
      await writer.ready
      void writer.write(Uint8Array.from({ length: size }, () => at++ % 251))
    }
    await writer.close()
  })()
  let got = 0
  for await (const chunk of readable) for (const byte of chunk) assert.equal(byte, got++ % 251)
  await writing
  assert.equal(got, total)
  await turn()
  assert.deepEqual(over.sort(), ['received', 'sent'])
})

test('what fails a stream fails both halves at the other end, with its reason', async () => {
  const { stream, halves } = echo({ write: () => new Promise(() => {}) })
  const { readable, writable } = crossed(stream)
  const ends = [writable.getWriter().closed, readable.getReader().read()]
  halves.fail(new TomboloError('stream', 'lost', { reason: 'peer lost' }))
  for (const end of ends) await assert.rejects(end, (error) => reasonOf(error) === 'peer lost')
})

test('a reset at the other end ends both halves here, and names itself', async () => {
  const { stream, log } = echo()
  const { readable, reset, received } = crossed(stream)
  const reading = readable.getReader().read()
  reset()
  await assert.rejects(reading, (error) => reasonOf(error) === 'closed by hand')
  while (log.length === 0) await turn()
  assert.deepEqual(log, ['reset'])
  received.fail(new Error('later')) // has no effect
})

test('cancelling the reading half leaves the writing half', async () => {
  const wrote: number[] = []
  const { stream, log } = echo({ write: async (chunk) => void wrote.push(chunk.length) })
  const { readable, writable } = crossed(stream)
  await readable.cancel('enough')
  while (log.length === 0) await turn()
  const writer = writable.getWriter()
  await writer.write(new Uint8Array(5))
  await writer.close()
  assert.deepEqual([log, wrote], [['cancelled'], [5]])
})

test('an abort reaches the peer while a chunk waits, with the cause', async () => {
  const { stream, log } = echo({ write: () => new Promise(() => {}) })
  const { writable } = crossed(stream)
  const writer = writable.getWriter()
  writer.write(new Uint8Array(1)).catch(() => {})
  const cause = new Error('enough')
  await writer.abort(cause)
  await assert.rejects(writer.closed, (error) => error === cause)
  while (log.length === 0) await turn()
  assert.deepEqual(log, ['reset'])
})

test('a chunk that is no bytes resets the stream, since what follows must not pass for the whole', async () => {
  for (const bad of ['text', 5, null, new Int8Array(1), {}]) {
    const { stream, log } = echo()
    const { writable } = crossed(stream)
    await assert.rejects(writable.getWriter().write(bad as never), /Uint8Array/)
    while (log.length === 0) await turn()
    assert.deepEqual(log, ['reset'])
  }
})
