import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Writer } from '../../src/binary.js'
import { Subscription } from '../../src/messages.js'

const epoch = 2n ** 53n + 1n

/** Encodes a batch of messages numbered from `first`, like wasm/jsapi/batch.go. */
function batch(first: number, count: number): Uint8Array {
  const messages = new Writer()
  for (let n = first; n < first + count; n++) {
    messages
      .number(n % 4)
      .number(0)
      .number(1)
      .number(2)
      .number(n)
    messages
      .long(epoch)
      .long(BigInt(n))
      .bytes(new Uint8Array([n, n >> 8]))
  }
  const strings = new Writer().number(3)
  for (const s of ['someone', 'another', 'chat']) strings.bytes(new TextEncoder().encode(s))
  const parts = [messages.take(), strings.take()]
  const head = new Writer().number(count).number(8 + parts[0]!.byteLength)
  return new Uint8Array(Buffer.concat([head.take(), ...parts]))
}

/** Stands in for the program's subscription. Counts the requests for batches, and records when it is closed. */
class Raw {
  readonly type = 'chat'
  readonly asked: string[] = []
  readonly #batches: (Uint8Array | Error)[]

  constructor(...batches: (Uint8Array | Error)[]) {
    this.#batches = batches
  }

  async next() {
    this.asked.push('next')
    const batch = this.#batches.shift() ?? null
    if (batch instanceof Error) throw batch
    return batch
  }

  async close() {
    this.asked.push('close')
  }

  async dropped() {
    return 0
  }
}

const read = (raw: Raw, policy?: string) => new Subscription(raw, (f) => f(), undefined, policy)

test('messages are yielded as they were sent, over the ends of batches', async () => {
  const got = []
  for await (const message of read(new Raw(batch(0, 100), batch(100, 1), batch(101, 70)))) got.push(message)
  const wanted = Array.from({ length: 171 }, (_, n) => ({
    from: 'someone',
    via: 'another',
    type: 'chat',
    missed: n,
    id: `9007199254740993.${n}`,
    data: new Uint8Array([n, n >> 8]),
    broadcast: n % 2 === 1,
    replayed: n % 4 > 1,
  }))
  assert.deepEqual(got, wanted)
})

test('the data of a message has a buffer of its own', async () => {
  const { value } = await read(new Raw(batch(0, 1))).next()
  assert.equal(value!.data.buffer.byteLength, 2)
})

test('several calls of next at once are answered in turn', async () => {
  const subscription = read(new Raw(batch(0, 2), batch(2, 2)))
  const results = await Promise.all(Array.from({ length: 6 }, () => subscription.next()))
  assert.deepEqual(
    results.map(({ value }) => value?.missed),
    [0, 1, 2, 3, undefined, undefined],
  )
})

test('where messages come quickly, a batch is asked for when half of the one before has been read', async () => {
  const raw = new Raw(batch(0, 100), batch(100, 100))
  const subscription = read(raw)
  for (let n = 0; n < 49; n++) await subscription.next()
  assert.equal(raw.asked.length, 1)
  await subscription.next()
  assert.equal(raw.asked.length, 2)
})

test('where they come slowly, or new ones matter most, none is asked for before it is wanted', async () => {
  for (const [count, policy] of [
    [20, 'block'],
    [100, 'drop-oldest'],
    [100, 'latest-per-sender'],
  ] as const) {
    const raw = new Raw(batch(0, count), batch(count, 1))
    const subscription = read(raw, policy)
    for (let n = 0; n < count; n++) await subscription.next()
    assert.equal(raw.asked.length, 1, policy)
  }
})

test('a batch that fails is reported to whoever reads up to it, and ends the subscription', async () => {
  const raw = new Raw(batch(0, 100), new Error('too slow'))
  const subscription = read(raw)
  for (let n = 0; n < 100; n++) assert.equal((await subscription.next()).value?.missed, n)
  await assert.rejects(subscription.next(), /too slow/)
  assert.equal(raw.asked.at(-1), 'close')
  assert.deepEqual(await subscription.next(), { done: true, value: undefined })
})

test('a subscription that was closed yields nothing more of what it has', async () => {
  const subscription = read(new Raw(batch(0, 100)))
  await subscription.next()
  await subscription.close()
  assert.deepEqual(await subscription.next(), { done: true, value: undefined })
})
