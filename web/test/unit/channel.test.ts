import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type ChannelState, type ChannelStream, channelStream, type DataChannel, type Seen } from '../../src/channel.js'
import { TomboloError } from '../../src/errors.js'
import { encode, type Frame, Frames, FIN, FIN_ACK, RESET, STOP_SENDING } from '../../src/frames.js'

const WINDOW = 1 << 20
const MIB = 1 << 20

/** Stands in for a data channel, since Node.js has no WebRTC: a message reaches the other end in a later turn. */
class Channel implements DataChannel {
  binaryType: BinaryType = 'arraybuffer'
  readyState: RTCDataChannelState = 'open'
  bufferedAmount = 0
  bufferedAmountLowThreshold = 0
  onmessage: DataChannel['onmessage'] = null
  onclose: DataChannel['onclose'] = null
  onbufferedamountlow: DataChannel['onbufferedamountlow'] = null
  other!: Channel
  readonly sent: Frame[] = []
  readonly sizes: number[] = []
  readonly #frames = new Frames(new Uint8Array())

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.readyState !== 'open') throw new Error('closed')
    const copy = bytes.slice()
    this.sizes.push(copy.byteLength)
    this.#frames.feed(copy, (frame) => this.sent.push({ ...frame, ...(frame.data && { data: frame.data.slice() }) }))
    this.bufferedAmount += copy.byteLength
    setImmediate(() => {
      const was = this.bufferedAmount
      this.bufferedAmount -= copy.byteLength
      this.other.onmessage?.({ data: copy.buffer })
      const low = this.bufferedAmountLowThreshold
      if (was > low && this.bufferedAmount <= low) this.onbufferedamountlow?.()
    })
  }

  close(): void {
    if (this.readyState !== 'open') return
    this.readyState = 'closing'
    setImmediate(() => {
      for (const end of [this, this.other]) {
        if (end.readyState === 'closed') continue
        end.readyState = 'closed'
        end.onclose?.()
      }
    })
  }

  get flags(): (number | undefined)[] {
    return this.sent.map(({ flag }) => flag).filter((flag) => flag !== undefined)
  }
}

/** One end of a stream, with a program that says why it failed. */
function end(channel: Channel, state: Partial<ChannelState> = {}) {
  const seen: Seen[] = []
  const log: string[] = []
  let setEnded!: (error: Error | null) => void
  const raw: ChannelStream = {
    kind: 'channel',
    peer: 'p',
    protocol: '/x/y',
    state: {
      channel,
      connection: channel,
      unread: new Uint8Array(),
      rest: new Uint8Array(),
      ended: false,
      credit: true,
      maySend: WINDOW,
      mayReceive: WINDOW,
      message: 64 << 10,
      lengthApart: false,
      ...state,
    },
    ended: new Promise((resolve) => (setEnded = resolve)),
    async failed(what) {
      seen.push(what)
      return new TomboloError('stream', what.why, { reason: 'target failed' })
    },
    reset: () => void log.push('reset'),
    over: () => void log.push('over'),
  }
  return { ...channelStream(raw), channel, seen, log, setEnded }
}

function channels(): [Channel, Channel] {
  const [a, b] = [new Channel(), new Channel()]
  a.other = b
  b.other = a
  return [a, b]
}

function ends(state?: Partial<ChannelState>) {
  const [a, b] = channels()
  return [end(a, state), end(b, state)] as const
}

/** The far side of a stream, played by the test. */
function played(state?: Partial<ChannelState>) {
  const [a, far] = channels()
  return [end(a, state), far] as const
}

const reasonOf = (error: unknown) => (error as TomboloError).reason
const until = async (what: () => boolean) => {
  for (let i = 0; !what(); i++) {
    assert.ok(i < 10_000, `it does not happen: ${what}`)
    await turn()
  }
}
const frame = (f: Frame) => encode(f).slice()

test('frames are those of the specification, as package core/webrtc has them', () => {
  const table: [Frame, number[]][] = [
    [{ data: new TextEncoder().encode('hi') }, [4, 0x12, 2, 0x68, 0x69]],
    [{ flag: FIN }, [2, 0x08, 0]],
    [{ flag: FIN_ACK }, [2, 0x08, 3]],
    [{ flag: RESET, code: 7 }, [4, 0x08, 2, 0x18, 7]],
    [{ credit: 5 }, [3, 0x80, 0x01, 5]],
    [{ credit: 300_000 }, [5, 0x80, 0x01, 0xe0, 0xa7, 0x12]],
  ]
  for (const [f, wire] of table) {
    assert.deepEqual([...encode(f)], wire)
    const got: Frame[] = []
    new Frames(new Uint8Array()).feed(new Uint8Array(wire), (f) =>
      got.push({ ...f, ...(f.data && { data: f.data.slice() }) }),
    )
    assert.deepEqual(got, [f])
  }
  const most = new Uint8Array((64 << 10) - 12)
  assert.ok(encode({ data: most }).byteLength <= 64 << 10)
  const skipped = [0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4, 0xf8, 0x06, 1, 0x2a, 1, 9, 0x08, 1]
  new Frames(new Uint8Array()).feed(new Uint8Array([skipped.length, ...skipped]), (f) =>
    assert.deepEqual(f, { flag: STOP_SENDING }, 'fields that nobody knows are skipped'),
  )
})

test('frames are read the same however they are cut, and garbage throws', () => {
  const wire: number[] = []
  const want: Frame[] = []
  for (let i = 0; i < 40; i++) {
    const f: Frame = i % 3 === 0 ? { credit: i * 1000 } : { data: crypto.getRandomValues(new Uint8Array(i * 37)) }
    want.push(f)
    wire.push(...encode(f))
  }
  for (let round = 0; round < 50; round++) {
    const got: Frame[] = []
    const frames = new Frames(new Uint8Array())
    for (let at = 0; at < wire.length;) {
      const to = at + 1 + Math.floor(Math.random() * 200)
      frames.feed(new Uint8Array(wire.slice(at, to)), (f) =>
        got.push({ ...f, ...(f.data && { data: f.data.slice() }) }),
      )
      at = to
    }
    assert.deepEqual(got, want)
  }
  for (const bad of [
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    [0x81, 0x80, 0x10],
    [2, 0x12, 5],
    [1, 0x08],
    [2, 0x00, 1],
    [1, 0x0b],
    [3, 0x09, 1, 2],
  ]) {
    const frames = new Frames(new Uint8Array())
    assert.throws(() => frames.feed(new Uint8Array(bad), () => {}), RangeError, String(bad))
  }
})

test('bytes go both ways, whole and in order, and the end of both halves closes the channel', async () => {
  const [a, b] = ends()
  const sizes = [1, 8 << 10, 100_000, 3 * MIB]
  const total = sizes.reduce((x, y) => x + y)
  const write = async ({ writable }: typeof a) => {
    const writer = writable.getWriter()
    let at = 0
    for (const size of sizes) await writer.write(Uint8Array.from({ length: size }, () => at++ % 251))
    await writer.close()
  }
  const read = async ({ readable }: typeof a) => {
    let got = 0
    for await (const chunk of readable) for (const byte of chunk) if (byte !== got++ % 251) assert.fail(`byte ${got}`)
    assert.equal(got, total)
  }
  await Promise.all([write(a), write(b), read(a), read(b)])
  await until(() => a.log.length > 0 && b.log.length > 0)
  assert.deepEqual([a.log, b.log, a.seen, b.seen], [['over'], ['over'], [], []])
  assert.ok(Math.max(...a.channel.sizes) <= 64 << 10)
  await until(() => a.channel.readyState === 'closed' && b.channel.readyState === 'closed')
})

test('a reader that stands still holds the writer back after a window', async () => {
  const [a, b] = ends()
  const writer = a.writable.getWriter()
  let written = 0
  void (async () => {
    for (;;) {
      await writer.write(new Uint8Array(50_000))
      written += 50_000
    }
  })().catch(() => {})
  await until(() => written > WINDOW - 100_000)
  for (let i = 0; i < 100; i++) await turn()
  assert.ok(written <= WINDOW, `${written}`)
  const reader = b.readable.getReader()
  for (let got = 0; got < 3 * WINDOW;) got += (await reader.read()).value!.byteLength
  assert.deepEqual(b.seen, [])
  b.reset()
})

test('half of a stream may end before the other begins', async () => {
  const [a, b] = ends()
  await a.writable.getWriter().close()
  assert.equal((await b.readable.getReader().read()).done, true)
  const writer = b.writable.getWriter()
  await writer.write(new Uint8Array([7]))
  await writer.close()
  assert.deepEqual([...(await new Response(a.readable).bytes())], [7])
  await until(() => a.log.length > 0 && b.log.length > 0)
})

test('a reset ends both halves at both ends, and the program says why', async () => {
  const [a, b] = ends()
  const reading = a.readable.getReader().read()
  const far = b.readable.getReader().read()
  await turn()
  a.reset()
  await assert.rejects(reading, (error) => reasonOf(error) === 'closed by hand')
  await assert.rejects(far, (error) => reasonOf(error) === 'target failed')
  await assert.rejects(b.writable.getWriter().write(new Uint8Array(1)), (error) => reasonOf(error) === 'target failed')
  await until(() => a.log.length > 1 && b.log.length > 0)
  assert.deepEqual([a.log, b.log, a.seen, b.seen[0]!.code], [['reset', 'over'], ['over'], [], 0])
})

test('the code of a reset reaches the program', async () => {
  const [a, far] = played()
  far.send(frame({ flag: RESET, code: 77 }))
  await assert.rejects(a.readable.getReader().read())
  assert.equal(a.seen[0]!.code, 77)
  assert.deepEqual(a.channel.flags, [], 'a reset is not answered with one')
  await until(() => a.log.length > 0)
})

test('cancelling the reading half leaves the writing half, and tells the peer', async () => {
  const [a, b] = ends()
  await a.readable.cancel()
  const writer = b.writable.getWriter()
  await until(() => a.channel.flags.includes(STOP_SENDING))
  for (let i = 0; i < 5; i++) await turn()
  await assert.rejects(writer.write(new Uint8Array(1)), (error) => reasonOf(error) === 'reset by the peer')
  const back = a.writable.getWriter()
  await back.write(new Uint8Array(5))
  await back.close()
  assert.equal((await new Response(b.readable).bytes()).length, 5)
  await until(() => a.log.length > 0 && b.log.length > 0)
  assert.deepEqual([a.seen, b.seen], [[], []])
})

test('closing after the peer has stopped reading is no error', async () => {
  const [a, b] = ends()
  await a.readable.cancel()
  await a.writable.getWriter().close()
  assert.equal((await b.readable.getReader().read()).done, true)
  await b.writable.getWriter().close()
  await until(() => a.log.length > 0 && b.log.length > 0)
  assert.deepEqual([a.seen, b.seen], [[], []])
})

test('an abort reaches the peer while a chunk waits for it', async () => {
  const [a, b] = ends()
  const writer = a.writable.getWriter()
  writer.write(new Uint8Array(2 * WINDOW)).catch(() => {})
  await until(() => a.channel.sent.length > 10)
  const cause = new Error('enough')
  await writer.abort(cause)
  await assert.rejects(writer.closed, (error) => error === cause)
  await until(() => b.seen.length > 0)
})

test('a channel that closes before its time fails the stream', async () => {
  const [a, b] = ends()
  const reading = b.readable.getReader().read()
  a.channel.close()
  await assert.rejects(reading, (error) => reasonOf(error) === 'target failed')
  assert.match(b.seen[0]!.why, /closed/)
  const [c, d] = channels()
  c.readyState = d.readyState = 'closed'
  const late = end(c)
  await assert.rejects(late.readable.getReader().read())
  await until(() => late.log.length > 0)
})

test('what the program ends is reset at the peer', async () => {
  const [a, b] = ends()
  a.setEnded(new TomboloError('stream', 'shut down', { reason: 'shutdown' }))
  await assert.rejects(a.readable.getReader().read(), (error) => reasonOf(error) === 'shutdown')
  await until(() => b.seen.length > 0)
  assert.deepEqual(a.channel.flags, [RESET])
})

test('what the program ends with its connection is over at once', async () => {
  const [a] = ends()
  a.channel.readyState = 'closed' // without an event, as when a connection is closed at this end
  a.setEnded(new TomboloError('stream', 'the peer is gone', { reason: 'peer lost' }))
  await assert.rejects(a.readable.getReader().read(), (error) => reasonOf(error) === 'peer lost')
  await until(() => a.log.length > 0)
  assert.deepEqual(a.log, ['over'])
})

for (const [what, send] of Object.entries<(far: Channel) => void>({
  'bytes that are no frame': (far) => far.other.onmessage?.({ data: new Uint8Array([3, 9, 9, 9]).buffer }),
  'more than may be unread': (far) => {
    for (let i = 0; i < 20; i++) far.send(frame({ data: new Uint8Array(60_000) }))
  },
  'text, which has no bytes': (far) => far.other.onmessage?.({ data: 'text' }),
})) {
  test(`${what} ends the stream, and nothing more is kept of it`, async () => {
    const [a, far] = played()
    send(far)
    await until(() => a.seen.length > 0 && a.log.length > 0)
    await assert.rejects(a.readable.getReader().read(), (error) => reasonOf(error) === 'target failed')
    assert.deepEqual(a.channel.flags, [RESET])
    assert.deepEqual(a.log, ['over'])
  })
}

test('a peer without credit gets none, and is not held back', async () => {
  const [a, far] = played({ credit: false, message: 16 << 10 })
  for (let i = 0; i < 60; i++) far.send(frame({ data: new Uint8Array(60_000) }))
  far.send(frame({ flag: FIN }))
  assert.equal((await new Response(a.readable).bytes()).length, 60 * 60_000)
  const writer = a.writable.getWriter()
  await writer.write(new Uint8Array(2 * WINDOW))
  assert.ok(Math.max(...a.channel.sizes) <= 16 << 10)
  assert.ok(a.channel.sent.every(({ credit }) => credit === undefined))
  const [b, flood] = played({ credit: false })
  for (let i = 0; i < 100; i++) flood.send(frame({ data: new Uint8Array(60_000) }))
  await until(() => b.seen.length > 0)
})

test('a stream begins with what the program had of it', async () => {
  const [first, second] = [frame({ data: new Uint8Array([3]) }), frame({ data: new Uint8Array([4]) })]
  const [a, far] = played({ unread: new Uint8Array([1, 2]), rest: first.subarray(0, 2), maySend: 10, mayReceive: 100 })
  for (const { buffer } of [first.slice(2), second]) a.channel.onmessage!({ data: buffer })
  const reader = a.readable.getReader()
  const got: number[] = []
  while (got.length < 4) got.push(...(await reader.read()).value!)
  assert.deepEqual(got, [1, 2, 3, 4])
  await until(() => a.channel.sent.length > 0)
  assert.ok(a.channel.sent[0]!.credit! > WINDOW / 2, 'the peer may send a window again')
  const writer = a.writable.getWriter()
  void writer.write(new Uint8Array(25)).catch(() => {})
  const sent = () => a.channel.sent.reduce((sum, { data }) => sum + (data?.byteLength ?? 0), 0)
  await until(() => sent() === 10)
  far.send(frame({ credit: 15 }))
  await until(() => sent() === 25)
  const [ended] = played({ ended: true })
  assert.equal((await ended.readable.getReader().read()).done, true)
})

test('the length of a large frame goes apart to a peer that wants it so', async () => {
  const [a] = played({ lengthApart: true, credit: false })
  const writer = a.writable.getWriter()
  await writer.write(new Uint8Array(4000))
  await writer.write(new Uint8Array(5000))
  assert.deepEqual(a.channel.sizes, [4005, 2, 5003])
})

test('a channel whose peer says nothing is closed in the end', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const [a, far] = played()
    await a.writable.getWriter().close()
    far.send(frame({ flag: FIN }))
    await until(() => a.channel.flags.includes(FIN_ACK))
    assert.deepEqual(a.log, [])
    mock.timers.tick(10_000)
    assert.deepEqual(a.log, ['over'])
  } finally {
    mock.timers.reset()
  }
})
