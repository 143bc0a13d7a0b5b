import assert from 'node:assert/strict'
import { test } from 'node:test'
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

/** A channel kept by a page, and its stand-in in the worker. Requests reach the page when a test says so. */
function kept() {
  const channel = new Channel()
  const asked: ChannelAsked[] = []
  const remote = new RemoteChannel((what) => asked.push({ on: 1, channel: 1, ...what }))
  const channels = new KeptChannels((told) => remote.take({ on: 1, ...told } as ChannelTold))
  channels.keep(channel as unknown as RTCDataChannel)
  const deliver = () => asked.splice(0).forEach((what) => channels.take(what))
  return { channel, remote, deliver }
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
