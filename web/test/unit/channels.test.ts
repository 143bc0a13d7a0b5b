import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { KeptChannels } from '../../src/page/channels.js'
import type { Asked, ChannelAsked, ChannelTold } from '../../src/wire/connections.js'
import { RemoteChannel } from '../../src/worker/channels.js'
import { Connections } from '../../src/worker/connections.js'

/** Stands in for a data channel, since Node.js has no WebRTC: only what a page needs of it. Sent bytes leave when a test says so. */
class Channel {
  label = 'x'
  binaryType = ''
  readyState = 'open'
  bufferedAmount = 0
  bufferedAmountLowThreshold = 0
  onopen: unknown = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onerror: unknown = null
  onclose: (() => void) | null = null
  onbufferedamountlow: (() => void) | null = null
  send(bytes: Uint8Array) {
    this.bufferedAmount += bytes.byteLength
  }
  leave(bytes: number) {
    const was = this.bufferedAmount
    this.bufferedAmount -= bytes
    const low = this.bufferedAmountLowThreshold
    if (was > low && this.bufferedAmount <= low) this.onbufferedamountlow?.()
  }
  close() {
    this.readyState = 'closed'
    this.onclose?.()
  }
}

const { port1: port } = new MessageChannel()

/** A channel kept by a page, and its stand-in in the worker. Requests reach the page when a test says so. */
function kept() {
  const channel = new Channel()
  const asked: ChannelAsked[] = []
  const remote = new RemoteChannel((what) => asked.push({ on: 1, channel: 1, ...what }), port, { on: 1, kept: 1 })
  remote.readyState = 'open'
  const told: ChannelTold[] = []
  const channels = new KeptChannels((what) => {
    told.push({ on: 1, ...what } as ChannelTold)
    if (!slow) hear()
  })
  let slow = false
  const hear = () => told.splice(0).forEach((what) => remote.take(what))
  channels.keep(channel as unknown as RTCDataChannel)
  const deliver = () => asked.splice(0).forEach((what) => channels.ask(what))
  return { channel, remote, channels, deliver, hear, slowDown: () => (slow = true) }
}

test('what is on its way to the page counts as buffered, and falls as it leaves', () => {
  const { channel, remote, deliver } = kept()
  assert.equal(remote.readyState, 'open')
  let low = 0
  remote.onbufferedamountlow = () => low++
  remote.bufferedAmountLowThreshold = 100
  remote.send(new Uint8Array(300))
  assert.equal(remote.bufferedAmount, 300)
  deliver()
  assert.equal(remote.bufferedAmount, 300, 'the page has it, and it has not left')
  channel.leave(150)
  assert.deepEqual([remote.bufferedAmount, low], [300, 0])
  channel.leave(100)
  assert.deepEqual([remote.bufferedAmount, low], [50, 1])

  // The page has less than the threshold buffered each time, so the channel itself fires no event.
  for (let i = 0; i < 3; i++) remote.send(new Uint8Array(40))
  assert.equal(remote.bufferedAmount, 170)
  channel.leave(50)
  deliver()
  channel.leave(120)
  remote.send(new Uint8Array(10))
  deliver()
  assert.ok(low >= 2, `${low}`)
  assert.ok(remote.bufferedAmount <= 100, `${remote.bufferedAmount}`)
})

test('a few bytes that have left are reported a little later', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const { channel, remote, deliver } = kept()
    channel.send = () => {} // they leave at once
    const handed = kept()
    handed.channel.send = () => {}
    for (const each of [remote, handed.remote]) each.send(new Uint8Array(100))
    deliver()
    handed.deliver()
    assert.equal(remote.bufferedAmount, 100)
    handed.channels.take(handed.remote.handOver())
    mock.timers.tick(20)
    assert.deepEqual(
      [remote.bufferedAmount, handed.remote.bufferedAmount],
      [0, 100],
      'what is handed over is not reported',
    )
    remote.send(new Uint8Array(17 << 10))
    deliver()
    assert.equal(remote.bufferedAmount, 0)
  } finally {
    mock.timers.reset()
  }
})

test('what comes before somebody listens is kept, and close comes after what was sent', () => {
  const { channel, remote, deliver } = kept()
  channel.onmessage!({ data: new ArrayBuffer(3) })
  const got: unknown[] = []
  remote.onmessage = ({ data }) => got.push((data as ArrayBuffer).byteLength)
  channel.onmessage!({ data: new ArrayBuffer(4) })
  assert.deepEqual(got, [3, 4])
  let closed = 0
  remote.onclose = () => closed++
  remote.send(new Uint8Array(5))
  remote.close()
  assert.throws(() => remote.send(new Uint8Array(1)), /not open/)
  assert.equal(closed, 0)
  deliver()
  assert.deepEqual([channel.bufferedAmount, closed, remote.readyState], [5, 1, 'closed'])
})

const letter = (text: string) => ({ data: new TextEncoder().encode(text).buffer })
const textOf = (data: unknown) => new TextDecoder().decode(data as ArrayBuffer)

// Messages are on their way to the worker while it hands the channel over, and it has some that the program has not received.
test('a page takes a channel, and gets every message that the program did not, in order', () => {
  for (const first of ['page', 'worker']) {
    const { channel, remote, channels, deliver, hear, slowDown } = kept()
    channel.onmessage!(letter('negotiated'))
    const program: string[] = []
    remote.onmessage = ({ data }) => program.push(textOf(data))
    remote.onmessage = null
    channel.onmessage!(letter('1'))
    slowDown()
    channel.onmessage!(letter('2'))
    const place = remote.handOver()
    if (first === 'worker') hear()
    if (first === 'worker') deliver()
    const { channel: taken } = channels.take(place)
    const got: string[] = []
    taken.onmessage = ({ data }) => got.push(textOf(data))
    channel.onmessage!(letter('3'))
    for (let i = 0; i < 3; i++) [hear, deliver].forEach((f) => f())
    channel.onmessage!(letter('4'))
    assert.deepEqual([program, got], [['negotiated'], ['1', '2', '3', '4']], first)

    let closed = 0
    taken.onclose = () => closed++
    taken.send(new Uint8Array(9))
    assert.equal(taken.bufferedAmount, 9)
    channel.close()
    assert.deepEqual([closed, taken.readyState], [1, 'closed'])
    assert.equal(channels.take(place).channel.readyState, 'closed', 'it is gone')
  }
})

test('what a page sends on a channel that it takes follows what the worker has sent', () => {
  const { channel, remote, channels, deliver } = kept()
  const sent: number[] = []
  channel.send = (bytes) => void sent.push(bytes[0]!)
  remote.send(new Uint8Array([1]))
  remote.send(new Uint8Array([2]))
  const { channel: taken } = channels.take(remote.handOver())
  taken.send(new Uint8Array([3]))
  taken.close()
  assert.deepEqual([sent, taken.bufferedAmount, channel.readyState], [[], 1, 'open'])
  deliver()
  assert.deepEqual([sent, taken.bufferedAmount, channel.readyState], [[1, 2, 3], 0, 'closed'])
})

test('a channel that closes while it is handed over ends after what came before', () => {
  const { channel, remote, channels, deliver, hear, slowDown } = kept()
  slowDown()
  channel.onmessage!(letter('1'))
  const { channel: taken } = channels.take(remote.handOver())
  const log: string[] = []
  taken.onmessage = ({ data }) => log.push(textOf(data))
  taken.onclose = () => log.push('closed')
  channel.onmessage!(letter('2'))
  channel.close()
  assert.deepEqual(log, [])
  for (let i = 0; i < 3; i++) [hear, deliver].forEach((f) => f())
  assert.deepEqual(log, ['1', '2', 'closed'])
})

test('a channel that the worker opens takes what is sent before it is open, and closes after that', () => {
  const channel = new Channel()
  channel.readyState = 'connecting'
  const asked: ChannelAsked[] = []
  const remote = new RemoteChannel((what) => asked.push({ on: 1, channel: -1, ...what }), port, { on: 1, kept: -1 }, [
    '',
    {},
  ])
  const channels = new KeptChannels((told) => remote.take({ on: 1, ...told } as ChannelTold))
  assert.deepEqual([remote.readyState, asked], ['open', [{ on: 1, channel: -1, open: ['', {}] }]])
  channels.open(-1, () => channel as unknown as RTCDataChannel)
  remote.send(new Uint8Array(7))
  remote.close()
  asked.slice(1).forEach((what) => channels.ask(what))
  assert.deepEqual([channel.bufferedAmount, channel.readyState], [0, 'connecting'])
  channel.readyState = 'open'
  ;(channel.onopen as () => void)()
  assert.deepEqual([channel.bufferedAmount, channel.readyState, remote.readyState], [7, 'closed', 'closed'])

  const late = new RemoteChannel((what) => asked.push({ on: 1, channel: -2, ...what }), port, { on: 1, kept: -2 }, [
    '',
    {},
  ])
  let closed = 0
  late.onclose = () => closed++
  new KeptChannels((told) => late.take({ on: 1, ...told } as ChannelTold)).open(-2, () => {
    throw new Error('the connection is closed')
  })
  assert.deepEqual([closed, late.readyState], [1, 'closed'])
})

interface Connection {
  connectionState: string
  createOffer(): Promise<unknown>
}

test('connections are those of the first page that is awake, and end with it', async () => {
  const had = Object.getOwnPropertyDescriptor(globalThis, 'RTCPeerConnection')
  const pages = new Connections()
  const ports = [new MessageChannel(), new MessageChannel()]
  const awake = [true, true]
  ports.forEach(({ port1 }, i) => pages.take(i, { port: port1, awake: () => awake[i]! }))
  const { RTCPeerConnection } = globalThis as unknown as { RTCPeerConnection: new (config: object) => Connection }
  try {
    const asked = (i: number) =>
      new Promise((resolve) => {
        ports[i]!.port2.onmessage = ({ data }: MessageEvent<Asked>) => resolve(data.method)
      })
    const first = new RTCPeerConnection({})
    assert.equal(await asked(0), 'new')
    const offer = first.createOffer()
    awake[0] = false
    new RTCPeerConnection({})
    assert.equal(await asked(1), 'new')
    pages.lose(0)
    await assert.rejects(offer, /closed/)
    assert.equal(first.connectionState, 'failed')
    awake[1] = false
    assert.throws(() => new RTCPeerConnection({}), /no page of this node is awake/)
  } finally {
    for (const { port1, port2 } of ports) [port1, port2].forEach((port) => port.close())
    if (had === undefined) delete (globalThis as { RTCPeerConnection?: unknown }).RTCPeerConnection
  }
})
