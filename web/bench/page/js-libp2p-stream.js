/** A stream of js-libp2p for measure.js. It takes messages from their event, which is the shortest way. */
export class Stream {
  constructor(raw) {
    this.raw = raw
    this.queue = []
    this.ended = false
    raw.addEventListener('message', ({ data }) => {
      this.queue.push(data)
      this.wake?.()
    })
    const over = () => {
      this.ended = true
      this.wake?.()
    }
    raw.addEventListener('end', over)
    raw.addEventListener('close', ({ error }) => {
      this.error = error
      over()
    })
  }
  async send(bytes) {
    if (!this.raw.send(bytes)) await this.raw.onDrain()
  }
  async receive() {
    while (this.queue.length === 0) {
      if (this.error) throw this.error
      if (this.ended) return null
      await new Promise((resolve) => (this.wake = resolve))
    }
    return this.queue.shift()
  }
  end() {
    return this.raw.close()
  }
}
