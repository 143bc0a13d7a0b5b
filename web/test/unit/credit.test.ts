import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Part, Sending, WINDOW } from '../../src/wire/credit.js'

/** Sends a stream, and keeps the parts that are sent. */
function sending(readable: ReadableStream<Uint8Array>, credit?: number) {
  const parts: Part[] = []
  const sending = new Sending(
    readable,
    (part) => parts.push(part),
    (outbox, piece) => outbox.putCopy(piece),
    credit,
  )
  const bytes = () =>
    parts.reduce((sum, part) => sum + ('data' in part ? part.data.reduce((n, data) => n + data.length, 0) : 0), 0)
  return { parts, sending, bytes }
}

function chunks(chunk: Uint8Array, count: number): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull(controller) {
      if (count-- > 0) controller.enqueue(chunk)
      else controller.close()
    },
  })
}

/** Resolves when everything has happened that does not need the other end. */
const idle = () => new Promise((resolve) => setTimeout(resolve, 10))

test('no more goes than there is credit for, and it goes on when there is more', async () => {
  const chunk = new Uint8Array(100_000).fill(1)
  const { sending: out, bytes, parts } = sending(chunks(chunk, 50))
  let granted = WINDOW
  while (!parts.some((part) => 'end' in part)) {
    const before = bytes()
    await idle()
    assert.ok(bytes() <= granted + chunk.length, `${bytes()} bytes for a credit of ${granted}`)
    if (bytes() === before) {
      granted += WINDOW
      out.grant({ credit: WINDOW })
    }
  }
  assert.equal(bytes(), 50 * chunk.length)
  await out.over
})

test('a small piece does not wait for more to go with', async () => {
  let write!: (piece: Uint8Array) => void
  const { bytes } = sending(new ReadableStream({ start: (c) => void (write = (piece) => c.enqueue(piece)) }))
  write(new Uint8Array(3))
  await idle()
  assert.equal(bytes(), 3)
})

test('nothing goes before there is credit', async () => {
  const { sending: out, bytes } = sending(chunks(new Uint8Array(10), 1), 0)
  await idle()
  assert.equal(bytes(), 0)
  out.grant({ credit: WINDOW })
  await out.over
  assert.equal(bytes(), 10)
})

test('a failure is told at once, though there is no credit', async () => {
  let fail!: (error: Error) => void
  const { sending: out, parts } = sending(
    new ReadableStream({ start: (c) => void (fail = (error) => c.error(error)) }),
    0,
  )
  fail(new TypeError('broken'))
  await out.over
  assert.deepEqual(parts, [{ failed: { name: 'TypeError', message: 'broken' } }])
})

test('cancelling ends the reading, and is no failure', async () => {
  let why: unknown
  const { sending: out, parts } = sending(new ReadableStream({ cancel: (reason) => void (why = reason) }))
  out.cancel('enough')
  await out.over
  assert.equal(why, 'enough')
  assert.deepEqual(parts, [])
})

test('what was written may be used again at once', async () => {
  const chunk = new Uint8Array(20_000).fill(1)
  const { sending: out, parts } = sending(chunks(chunk, 1))
  await out.over
  chunk.fill(2)
  assert.ok(parts.every((part) => !('data' in part) || part.data.every((data) => data.every((byte) => byte === 1))))
})
