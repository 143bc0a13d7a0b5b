import type { Message, TomboloNode } from '@tombolo/node'
import { codeFailure, pairFailure, type Failure } from '../failures.js'
import { anyOf } from '../signals.js'
import { Store } from '../source.js'
import { meeting, newCode, PROOF_BYTES, prove, proves, readCode, type Meeting } from './code.js'
import type { Offers } from './offers.js'
import { hashOf, isName } from './share-link.js'

/** So long a code holds, unless it is used before. */
export const CODE_MS = 10 * 60_000
/** How long somebody who shows a code is looked for. */
const SEEK_MS = 20_000
/** Anybody may be on a type, and only who has the code can prove it: of so many it is asked. */
const MAX_ASKED = 16

export interface PairingState {
  /** The code that this tab shows. */
  code: string | undefined
  seeking: boolean
  /** The peer that was met last, and whether it shares something. */
  met: { peer: string; shares: boolean } | undefined
  failure: Failure | undefined
}

/** Two tabs meet by a code that one shows and the other types. */
export class Pairing {
  readonly view = new Store<PairingState>({ code: undefined, seeking: false, met: undefined, failure: undefined })
  #node: TomboloNode | undefined
  #over = new AbortController()
  #shown: AbortController | undefined

  constructor(readonly offers: Offers) {}

  start(node: TomboloNode, signal: AbortSignal): void {
    this.#node = node
    signal.addEventListener('abort', () => {
      this.#node = undefined
      this.#over.abort()
      this.hide()
    })
  }

  /** Shows a code until it is used, or ten minutes have passed. */
  async show(): Promise<void> {
    const node = this.#node
    if (node === undefined) return
    this.hide()
    const { signal } = (this.#shown = new AbortController())
    const code = newCode()
    this.view.change({ met: undefined, failure: undefined })
    try {
      const place = await meeting(code, node.network)
      const registration = await node.respond(place.type, (request) => this.#answer(node, place, request, signal))
      signal.addEventListener('abort', () => void registration.close().catch(() => {}))
      await node.subscribe(place.type, { signal, buffer: 1 }) // by this, others see that this tab is there
      signal.throwIfAborted()
      this.view.change({ code })
      const timer = setTimeout(() => this.hide(), CODE_MS)
      signal.addEventListener('abort', () => clearTimeout(timer))
    } catch (error) {
      if (!signal.aborted) this.view.change({ failure: pairFailure(error) })
    }
  }

  /** The code holds no more. */
  hide(): void {
    this.#shown?.abort()
    this.#shown = undefined
    this.view.change({ code: undefined })
  }

  /** Looks for the tab that shows a code. If that shares something, this page's address leads to it then. */
  async seek(typed: string): Promise<boolean> {
    const node = this.#node
    if (node === undefined || this.view.value.seeking) return false
    const code = readCode(typed)
    if (code === undefined) {
      this.view.change({ met: undefined, failure: codeFailure(typed) })
      return false
    }
    this.view.change({ seeking: true, met: undefined, failure: undefined })
    try {
      const place = await meeting(code, node.network)
      const { peer, name } = await this.#find(node, place)
      this.view.change({ seeking: false, met: { peer, shares: name !== '' } })
      if (name !== '') location.hash = hashOf({ peer, name })
      return true
    } catch (error) {
      this.view.change({ seeking: false, failure: pairFailure(error) })
      return false
    }
  }

  /** Answers a peer that has typed the code. Once it was right, it holds no more. */
  async #answer(
    node: TomboloNode,
    place: Meeting,
    { from, data }: Pick<Message, 'from' | 'data'>,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const right = data.length === PROOF_BYTES && (await proves(place, data, ['typed', from, node.id]))
    if (!right) throw new Error('the code is another one')
    if (signal.aborted) throw new Error('the code holds no more')
    this.hide()
    const name = this.offers.state.offers[0]?.name ?? ''
    this.view.change({ met: { peer: from, shares: false } })
    const proof = await prove(place, ['shown', from, node.id, name])
    return new Uint8Array([...proof, ...new TextEncoder().encode(name)])
  }

  /** Asks who is on the type, until one proves that it shows the code. */
  async #find(node: TomboloNode, place: Meeting): Promise<{ peer: string; name: string }> {
    const found = new AbortController()
    const signal = anyOf(found.signal, anyOf(this.#over.signal, AbortSignal.timeout(SEEK_MS)))
    const asked = new Set<string>()
    let result: { peer: string; name: string } | undefined
    let failure: unknown = new Error('nobody with this code was found')
    const ask = async (peer: string) => {
      try {
        result = await this.#ask(node, place, peer, signal)
        found.abort()
      } catch (error) {
        if (!signal.aborted) failure = error
      }
    }
    for await (const { peer, joined } of await node.presence(place.type, { signal })) {
      if (!joined || peer === node.id || asked.has(peer) || asked.size === MAX_ASKED) continue
      asked.add(peer)
      void ask(peer)
    }
    if (result === undefined) throw failure
    return result
  }

  async #ask(node: TomboloNode, place: Meeting, peer: string, signal: AbortSignal) {
    const proof = await prove(place, ['typed', node.id, peer])
    const answer = await node.request(peer, place.type, proof, { signal })
    const name = new TextDecoder().decode(answer.subarray(PROOF_BYTES))
    if (!(await proves(place, answer.subarray(0, PROOF_BYTES), ['shown', node.id, peer, name]))) {
      throw new Error(`${peer} does not know the code`)
    }
    return { peer, name: isName(name) ? name : '' }
  }
}
