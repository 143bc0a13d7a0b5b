import type { TomboloNode } from '@tombolo/node'
import { message } from '../failures.js'
import { Source } from '../source.js'

const ECHO_MS = 20_000
const MAX_ECHOES = 6

export interface EchoResult {
  n: number
  peer: string
  text: string
  bytes: number
  /** The round trip in milliseconds; undefined until the bytes are back. */
  ms: number | undefined
  error: string | undefined
}

/** Texts that this tab sent to peers to be echoed. */
export class Echoes {
  readonly results = new Source<readonly EchoResult[]>([])
  #node: TomboloNode | undefined
  #count = 0

  start(node: TomboloNode): void {
    this.#node = node
  }

  /** Sends text to a peer's echo service and checks what comes back. */
  async echo(peer: string, text: string): Promise<void> {
    if (this.#node === undefined) return
    const sent = new TextEncoder().encode(text)
    const n = ++this.#count
    const result = { n, peer, text, bytes: sent.length, ms: undefined, error: undefined }
    this.results.set([result, ...this.results.value].slice(0, MAX_ECHOES))
    const finish = (change: { ms: number } | { error: string }) =>
      this.results.set(this.results.value.map((echo) => (echo.n === n ? { ...echo, ...change } : echo)))
    const begin = performance.now()
    try {
      const back = await this.#node.echo(peer, sent, { signal: AbortSignal.timeout(ECHO_MS) })
      const ms = performance.now() - begin
      const same = back.length === sent.length && back.every((byte, i) => byte === sent[i])
      finish(same ? { ms } : { error: 'other bytes came back' })
    } catch (error) {
      finish({ error: message(error) })
    }
  }
}
