import type { Message, TomboloNode } from '@tombolo/node'
import { codeFailure, pairFailure, triedFailure, type Failure } from '../failures.js'
import { anyOf } from '../signals.js'
import { Store } from '../source.js'
import { meeting, newCode, readCode, type Meeting } from './code.js'
import type { Proofs } from './cpace.js'
import type { Offers } from './offers.js'
import { hashOf, isName } from './share-link.js'

/** How long a code is valid, unless it is used earlier. */
export const CODE_MS = 10 * 60_000
/** How long to look for a tab that shows the code. */
const SEEK_MS = 20_000
/** How many peers are asked: anybody may subscribe to a type, and only a peer with the code can prove that it has it. */
const MAX_ASKED = 16
/** How often peers may try a code before it expires. Each try is one guess of its 30 secret bits. */
const MAX_TRIES = 100

export interface PairingState {
  /** The code that this tab shows. */
  code: string | undefined
  seeking: boolean
  /** The last peer that was met, and whether it shares something. */
  met: { peer: string; shares: boolean } | undefined
  failure: Failure | undefined
}

type Request = Pick<Message, 'from' | 'data'>

/** The key exchange. It is a fifth of the page's code, so it is fetched when the first code is shown or typed. */
type Suite = typeof import('./cpace.js')
const loadSuite = (): Promise<Suite> => import('./cpace.js')

/** The runs that peers have begun with a code that is shown. */
interface Begun {
  suite: Suite
  tries: number
  /** Holds at most as many as `tries`. */
  runs: Map<string, Proofs>
}

/** Connects two tabs by a code that one shows and the other types. */
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

  /** Shows a code until it is used, or for ten minutes. */
  async show(): Promise<void> {
    const node = this.#node
    if (node === undefined) return
    this.hide()
    const { signal } = (this.#shown = new AbortController())
    const code = newCode()
    this.view.change({ met: undefined, failure: undefined })
    try {
      const place = meeting(code, node.network)
      const begun: Begun = { suite: await loadSuite(), tries: 0, runs: new Map() }
      const answer = (request: Request) => this.#answer(node, place, begun, request, signal)
      const registration = await node.respond(place.type, answer)
      const close = () => void registration.close().catch(() => {})
      signal.addEventListener('abort', close)
      if (signal.aborted) close() // withdrawn in the meantime
      await node.subscribe(place.type, { signal, buffer: 1 }) // the subscription lets others find this tab
      signal.throwIfAborted()
      this.view.change({ code })
      const timer = setTimeout(() => this.hide(), CODE_MS)
      signal.addEventListener('abort', () => clearTimeout(timer))
    } catch (error) {
      if (!signal.aborted) this.view.change({ failure: pairFailure(error) })
    }
  }

  /** Ends the code. */
  hide(): void {
    this.#shown?.abort()
    this.#shown = undefined
    this.view.change({ code: undefined })
  }

  /**
   * Looks for the tab that shows a code. If that tab shares something, the page's address then links to it. Resolves to whether a tab was
   * found.
   */
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
      const place = meeting(code, node.network)
      const { peer, name } = await this.#find(node, place)
      this.view.change({ seeking: false, met: { peer, shares: name !== '' } })
      if (name !== '') location.hash = hashOf({ peer, name })
      return true
    } catch (error) {
      this.view.change({ seeking: false, failure: pairFailure(error) })
      return false
    }
  }

  /**
   * Answers a peer that has typed the code. The peer sends its share of an exchange and gets this tab's; then it sends its proof and gets
   * this tab's, with the name of what the tab shares. A correct proof uses up the code. A wrong proof only ends that attempt.
   */
  #answer(node: TomboloNode, place: Meeting, begun: Begun, { from, data }: Request, signal: AbortSignal): Uint8Array {
    if (signal.aborted) throw new Error('the code is no longer valid')
    if (data.length === begun.suite.SHARE_BYTES) return this.#begin(node, place, begun, from, data)
    const run = begun.runs.get(from)
    begun.runs.delete(from)
    if (run === undefined) throw new Error('a proof comes after a share of an exchange of keys, once')
    if (!begun.suite.same(data, run.ofTyper())) throw new Error('the code is another one')
    this.hide()
    const name = this.offers.state.offers[0]?.name ?? ''
    this.view.change({ met: { peer: from, shares: false } })
    return new Uint8Array([...run.ofShower(name), ...new TextEncoder().encode(name)])
  }

  /** Answers a share. Each share counts as a try, because it holds one guess of the secret. */
  #begin(node: TomboloNode, place: Meeting, begun: Begun, from: string, share: Uint8Array): Uint8Array {
    if (begun.tries === MAX_TRIES) {
      this.hide()
      this.view.change({ failure: triedFailure(MAX_TRIES) })
      throw new Error('the code is no longer valid')
    }
    begun.tries++
    const { suite } = begun
    const exchange = suite.begin(place, from, node.id)
    const point = suite.pointOf(exchange, share)
    begun.runs.set(from, new suite.Proofs(point, share, exchange.share))
    return exchange.share
  }

  /** Asks the peers that are on the type until one proves that it shows the code. */
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
    const { begin, pointOf, Proofs, PROOF_BYTES, same } = await loadSuite()
    const exchange = begin(place, node.id, peer)
    const share = await node.request(peer, place.type, exchange.share, { signal })
    const run = new Proofs(pointOf(exchange, share), exchange.share, share)
    const answer = await node.request(peer, place.type, run.ofTyper(), { signal })
    const name = new TextDecoder().decode(answer.subarray(PROOF_BYTES))
    if (!same(answer.subarray(0, PROOF_BYTES), run.ofShower(name))) throw new Error(`${peer} does not know the code`)
    return { peer, name: isName(name) ? name : '' }
  }
}
