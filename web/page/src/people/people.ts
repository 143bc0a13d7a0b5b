import type { Message, TomboloNode } from '@tombolo/node'
import { Source } from '../source.js'
import { calmly } from '../timers.js'
import { plain } from '../ui/format.js'

/** Pages announce the names that people choose in broadcasts of this type. */
const TYPE = 'page/names'
const KEY = 'tombolo.name.1'
/** In characters. */
export const MAX_NAME = 32
/** The most peers whose names are remembered; the peer not heard from for longest makes room. */
const MAX_NAMES = 500
const MAX_BYTES = 1 << 10
/** The shortest time between two messages that are read, whoever sends them; of each peer, only the latest one waits. */
const HEAR_MS = 50
/** Answers to a question are spread over this time. */
const ANSWER_MS = 1_000
/** How long a name waits for a subscriber. */
const HEARER_MS = 10_000
/** The shortest time between two announcements of this tab's name. SHOW_MS: between two changes of the names that are shown. */
const TELL_MS = 5_000
const SHOW_MS = 250

/**
 * The names that people choose. Peers choose them freely, and two may choose the same, so the flag and the ID are shown beside each name.
 */
export class People {
  /** The name of the person at this tab; empty if they chose none. */
  readonly own = new Source<string>(kept())
  /** By peer ID. */
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

  /** Sets this person's name, in this browser and for all who see this tab. */
  call(name: string): void {
    const own = cleanName(name)
    if (own === this.own.value) return
    this.own.set(own)
    try {
      localStorage.setItem(KEY, own)
    } catch {
      // If this site may not store anything, only this page knows the name.
    }
    if (this.#node === undefined) return
    this.heard(this.#node.id, own)
    this.#tell()
  }

  /** Records the name that a peer announced. An empty one removes it. */
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
      // The node has ended. Without names, people are known by their flags.
    }
  }

  #hear(node: TomboloNode, { from, data, replayed }: Message): void {
    if (from === node.id || replayed || data.length > MAX_BYTES) return
    try {
      const { name, asks } = JSON.parse(new TextDecoder().decode(data)) as Record<string, unknown>
      if (typeof name === 'string') this.heard(from, name)
      if (asks === true && this.own.value !== '') setTimeout(this.#tell, Math.random() * ANSWER_MS)
    } catch {
      // The message is not a name.
    }
  }

  async #say(asks: boolean): Promise<void> {
    const name = this.own.value
    try {
      const data = new TextEncoder().encode(JSON.stringify({ name, asks }))
      await this.#node?.broadcast(TYPE, data, { wait: true, signal: AbortSignal.timeout(HEARER_MS) })
    } catch {
      // Nobody is subscribed. Newcomers ask for the name.
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
