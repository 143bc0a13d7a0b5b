// Two tabs with a bare RTCPeerConnection, which is the ceiling for all others: a channel for each stream, messages of 64 KiB, and an empty
// text message for the end.
import { put, run, take } from './tabs.js'

const BUFFERED = 1 << 20
const pc = new RTCPeerConnection()
const served = new Map()

class Stream {
  constructor(channel) {
    this.channel = channel
    this.queue = []
    channel.binaryType = 'arraybuffer'
    channel.bufferedAmountLowThreshold = BUFFERED / 2
    channel.onmessage = ({ data }) => {
      this.queue.push(data === '' ? null : new Uint8Array(data))
      this.wake?.()
    }
    this.open = channel.readyState === 'open' ? undefined : new Promise((resolve) => (channel.onopen = resolve))
  }
  async send(bytes) {
    await this.open
    while (this.channel.bufferedAmount >= BUFFERED) {
      await new Promise((resolve) => (this.channel.onbufferedamountlow = resolve))
    }
    this.channel.send(bytes)
  }
  async receive() {
    while (this.queue.length === 0) await new Promise((resolve) => (this.wake = resolve))
    const data = this.queue.shift()
    if (data === null && this.ended) this.channel.close()
    return data
  }
  async end() {
    await this.open
    this.ended = true
    this.channel.send('')
  }
}

/** The candidates are sent with the descriptions. */
async function described() {
  await pc.setLocalDescription()
  while (pc.iceGatheringState !== 'complete') {
    await new Promise((resolve) => pc.addEventListener('icegatheringstatechange', resolve, { once: true }))
  }
  return pc.localDescription.toJSON()
}

run({
  async start() {
    pc.ondatachannel = ({ channel }) => served.get(channel.label)?.(new Stream(channel))
  },
  async serve(name, f) {
    served.set(name, f)
  },
  async address() {
    void (async () => {
      await pc.setRemoteDescription(await take('offer'))
      await put('answer', await described())
    })()
    return ''
  },
  async meet() {
    const first = pc.createDataChannel('')
    const opened = new Promise((resolve) => (first.onopen = resolve))
    await put('offer', await described())
    await pc.setRemoteDescription(await take('answer'))
    await opened
    return undefined
  },
  open: async (name) => new Stream(pc.createDataChannel(name)),
})
