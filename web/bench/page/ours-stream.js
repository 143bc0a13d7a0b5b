/** A stream of our node for measure.js. */
export class Stream {
  constructor(raw) {
    this.reader = raw.readable.getReader()
    this.writer = raw.writable.getWriter()
  }
  async send(bytes) {
    await this.writer.ready
    this.writer.write(bytes).catch(() => {}) // fails the writer, and so the next `ready`
  }
  async receive() {
    const { done, value } = await this.reader.read()
    return done ? null : value
  }
  end() {
    return this.writer.close()
  }
}
