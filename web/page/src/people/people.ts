import type { Message, TomboloNode } from '@tombolo/node'
import { Source } from '../source.js'
import { calmly } from '../timers.js'
import { plain } from '../ui/format.js'

/** Pages tell each other the names that people give themselves by broadcasts of this type. */
const TYPE = 'page/names'
const KEY = 'tombolo.name.1'
/** In characters. */
export const MAX_NAME = 32
/** Of so many peers a name is remembered at most; who was heard longest ago makes room. */
const MAX_NAMES = 500
const MAX_BYTES = 1 << 10
/** Between two messages that are read lies so much, whoever sends them; of each peer, only the last waits. */
const HEAR_MS = 50
/** Not all answer a question at once. */
const ANSWER_MS = 1_000
/** How long a name waits for somebody to hear it. */
const HEARER_MS = 10_000
/** How often this tab tells its name at most, and how often the names that are shown change. */
const TELL_MS = 5_000
const SHOW_MS = 250

/** What people call themselves. A name is what a peer says of itself: two may say the same, and so the flag and the id stand by it. */
export class People {
  /** The name of who sits at this tab; empty if they gave none. */
  readonly own = new Source<string>(kept())
  /** By peer id. */
  readonly names = new Source<ReadonlyMap<string, string>>(new Map())
  readonly #names = new Map<string, string>()
  readonly #show = calmly(SHOW_MS, () => this.names.set(new Map(this.#names)))
  #node: TomboloNode | undefined
  readonly #tell = calmly(TELL_MS, () => void this.#say(false))

  start(node: TomboloNode, signal: AbortSignal): void {
    this.#node = node
    signal.addEventListener('abort', () => (this.#node = undefined))
    this.heard(node.id, this.own.value)
    node.addEventListener('relay:reserved', () => void this.#say(true))
    void this.#listen(node, signal)
  }

  /** Takes a name, for this browser and all who see this tab. */
  call(name: string): void {
    const own = cleanName(name)
    if (own === this.own.value) return
    this.own.set(own)
    try {
      localStorage.setItem(KEY, own)
    } catch {
      // Where sites may keep nothing, the name is this page's alone.
    }
    if (this.#node === undefined) return
    this.heard(this.#node.id, own)
    this.#tell()
  }

  /** A peer has said its name. An empty one takes it back. */
  heard(peer: string, said: string): void {
    const name = cleanName(said)
    if ((this.#names.get(peer) ?? '') === name) return
    this.#names.delete(peer)
    if (name !== '') this.#names.set(peer, name)
    if (this.#names.size > MAX_NAMES) this.#names.delete(this.#names.keys().next().value!)
    this.#show()
  }

  async #listen(node: TomboloNode, signal: AbortSignal): Promise<void> {
    try {
      const said = await node.subscribe(TYPE, { buffer: MAX_NAMES, policy: 'latest-per-sender', signal })
      void this.#say(true)
      for await (const message of said) {
        this.#hear(node, message)
        await new Promise((resolve) => setTimeout(resolve, HEAR_MS))
      }
    } catch {
      // The node has ended; without names, people are known by their flags.
    }
  }

  #hear(node: TomboloNode, { from, data, replayed }: Message): void {
    if (from === node.id || replayed || data.length > MAX_BYTES) return
    try {
      const { name, asks } = JSON.parse(new TextDecoder().decode(data)) as Record<string, unknown>
      if (typeof name === 'string') this.heard(from, name)
      if (asks === true && this.own.value !== '') setTimeout(this.#tell, Math.random() * ANSWER_MS)
    } catch {
      // It is no name.
    }
  }

  async #say(asks: boolean): Promise<void> {
    const name = this.own.value
    try {
      const data = new TextEncoder().encode(JSON.stringify({ name, asks }))
      await this.#node?.broadcast(TYPE, data, { wait: true, signal: AbortSignal.timeout(HEARER_MS) })
    } catch {
      // Nobody is there to hear it: who comes asks.
    }
  }
}

export function cleanName(name: string): string {
  return plain(name, MAX_NAME).replace(/\s+/g, ' ').trim()
}

function kept(): string {
  try {
    return cleanName(localStorage.getItem(KEY) ?? '')
  } catch {
    return ''
  }
}
