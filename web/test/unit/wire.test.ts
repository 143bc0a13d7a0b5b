import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MalformedError, MessageReader } from '../../src/http/wire.js'
import { bytes, pieces, text } from './support/bytes.js'

test('messages are read off a stream however it is cut', async () => {
  const wire =
    'POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;ext\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n'
  for (const size of [1, 2, 3, 7, 1000]) {
    const reader = new MessageReader(pieces(bytes(wire), size), 'requests')
    const first = await reader.head()
    assert.equal(first?.start, 'POST /a HTTP/1.1')
    assert.equal(await text(reader.body(first, 1)), 'hello!')
    assert.equal((await reader.head())?.start, 'GET /b HTTP/1.1')
    assert.equal(await reader.head(), null)
  }
})

test('a body that is cut short fails', async () => {
  for (const wire of ['Content-Length: 9\r\n\r\nshort', 'Transfer-Encoding: chunked\r\n\r\n9\r\nshort']) {
    const reader = new MessageReader(pieces(bytes('POST / HTTP/1.1\r\n' + wire)), 'requests')
    const head = await reader.head()
    await assert.rejects(text(reader.body(head!, 1)), { code: 'stream' })
  }
})

test('a head longer than 64 KiB is refused', async () => {
  const reader = new MessageReader(pieces(bytes('GET / HTTP/1.1\r\nA: ' + 'a'.repeat(1 << 16)), 1024), 'requests')
  await assert.rejects(reader.head(), (error: MalformedError) => error.status === 431)
})
