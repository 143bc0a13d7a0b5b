import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answer, shelve } from '../../page/src/sharing/shelf.js'

// The HTTP service for what the page shares. The end-to-end tests show how a person shares.

const shelf = new Map(
  shelve([{ path: 'lot.txt', file: new File(['ten fathoms'], 'lot.txt') }], 'salt').map((shelved) => [
    shelved.name,
    shelved,
  ]),
)

function fetched() {
  const ends: unknown[][] = []
  const request = new AbortController()
  const response = answer(new Request('http://peer/lot.txt', { signal: request.signal }), shelf, () => ({
    more: () => {},
    end: (...how) => ends.push(how),
  }))
  return { ends, request, reader: response.body!.getReader() }
}

test('a peer that closes as soon as it has all of a file has got it whole', async () => {
  const { ends, request, reader } = fetched()
  assert.equal((await reader.read()).value?.length, 11)
  const after = reader.read() // the server tries to read more
  request.abort()
  await reader.cancel()
  await after
  assert.deepEqual(ends, [['whole', undefined]])
})

test('a peer that closes before it has begun is cut off, once', async () => {
  const { ends, request, reader } = fetched()
  request.abort()
  await reader.cancel()
  assert.deepEqual(ends, [['cut off', undefined]])
})
