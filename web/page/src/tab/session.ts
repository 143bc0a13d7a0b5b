import {
  createNode,
  type LoadProgress,
  type LogLevel,
  type NodeStats,
  TomboloError,
  type TomboloNode,
} from '@tombolo/node'
import wasmSizes from 'virtual:wasm-sizes'
import { describeRelay, type PageConfig, type RelayDescription } from '../config.js'
import { message, siteFailure } from '../failures.js'
import { insecureContext, relaySilent, relayUnknown, startProblem, type Problem } from '../problems.js'
import { seek } from './seek.js'
import { Sites } from './sites.js'
import { Store } from '../source.js'
import { initialState, type LogKind, type State } from './state.js'
import { calmly, every } from '../timers.js'
import { count, transportName } from '../ui/format.js'

const REFRESH_MS = 2_000
const SERVICES_MS = 10_000
/** How long to wait for a reservation before the page says that something is wrong. */
const RELAY_PATIENCE_MS = 10_000
const MAX_LOG = 200
/** The shortest time between two updates for what strangers can cause, by connecting or by echoes. */
const CALM_MS = 500
const ECHOES_MS = 1_000

/** If the program takes longer than this to load, the page shows progress; in ms. */
const WATCHED_MS = 1_000

/**
 * Whether the program will take long enough to load that the page should show progress, judging by how fast this script loaded. Counting
 * the bytes takes a fifth of the processor time of a start, so a fast start does without it.
 */
function takesLong(): boolean {
  const [script] = performance.getEntriesByName(import.meta.url) as PerformanceResourceTiming[]
  if (script === undefined || script.transferSize === 0) return false // the script was cached, and so is the program
  return (wasmSizes.br * script.duration) / script.encodedBodySize > WATCHED_MS
}

/** One node, from loading to its end. The page shows this session's state. */
export class Session {
  readonly view = new Store<State>(initialState)
  readonly #config: PageConfig
  readonly #onNode: (node: TomboloNode, signal: AbortSignal) => void
  readonly #over = new AbortController()
  #node: TomboloNode | undefined
  #relay: RelayDescription | undefined
  #patience: ReturnType<typeof setTimeout> | undefined
  /** Why the last attempt to reach the relay failed. */
  #refused: string | undefined
  readonly #echoes = new Map<string, { times: number; bytes: number }>()
  #asking = false
  #sites: Sites | undefined
  #count = 0

  constructor(config: PageConfig, onNode: (node: TomboloNode, signal: AbortSignal) => void) {
    this.#config = config
    this.#onNode = onNode
  }

  get state(): State {
    return this.view.value
  }

  /** Creates the node and connects to the relay. Never rejects: failures are in the state. */
  async start(): Promise<void> {
    if (!isSecureContext) this.#notice(insecureContext(location.origin))
    try {
      this.#relay = await describeRelay(this.#config, this.#over.signal)
    } catch (error) {
      this.#notice(relayUnknown(error))
    }
    try {
      const { transport, direct, identity, worker, log } = this.#config
      const node = await createNode({
        relays: this.#relay?.addrs ?? [],
        direct,
        identity,
        worker,
        log,
        histories: identity === 'persistent' ? 'persistent' : 'memory',
        ...(this.#relay?.network !== undefined && { network: this.#relay.network }),
        ...(transport !== undefined && { transports: [transport] }),
        ...(takesLong() && { onProgress: (progress: LoadProgress) => this.#loaded(progress) }),
        signal: this.#over.signal,
      })
      await this.#run(node)
    } catch (error) {
      this.#fail(startProblem(error))
    }
  }

  async connect(addrOrPeer: string): Promise<void> {
    await this.#node?.connect(addrOrPeer.trim(), { signal: AbortSignal.timeout(20_000) })
    await this.#refresh()
  }

  async disconnect(peer: string): Promise<void> {
    await this.#node?.disconnect(peer)
    await this.#refresh()
  }

  /** Opens a peer's site in the gateway's frame. */
  async openSite(peer: string, protocol: string): Promise<void> {
    if (this.#node === undefined) return
    const site = { peer, protocol, shown: undefined, failure: undefined }
    this.view.change({ site })
    const finish = (change: Partial<NonNullable<State['site']>>) => {
      if (this.state.site === site) this.view.change({ site: { ...site, ...change } })
    }
    try {
      this.#sites ??= new Sites(this.#node)
      finish({ shown: await this.#sites.show(peer, protocol) })
    } catch (error) {
      finish({ failure: siteFailure(error) })
    }
  }

  closeSite(): void {
    this.view.change({ site: undefined })
  }

  get logLevel(): LogLevel {
    return this.#config.log
  }

  /** Returns the node's counters; undefined if there is no node. */
  stats(): Promise<NodeStats> | undefined {
    return this.#node?.stats()
  }

  async #run(node: TomboloNode): Promise<void> {
    this.#node = node
    window.tombolo = node
    this.#listen(node)
    this.view.change({
      phase: 'joining',
      self: {
        id: node.id,
        network: node.network,
        version: node.version,
        identity: this.#config.identity,
        addrs: [],
      },
      relay: this.#relay && { id: this.#relay.id, expires: undefined },
    })
    this.#log('note', 'the node is running')
    this.#onNode(node, this.#over.signal)
    if (this.#relay !== undefined) this.#expectRelay()
    every(REFRESH_MS, () => void this.#refresh(), this.#over.signal)
    every(SERVICES_MS, () => void this.#ask(), this.#over.signal)
    for (const peer of this.#config.peers) this.#seek(node, peer)
    await this.#refresh()
    await this.#reservations(node)
  }

  async #reservations(node: TomboloNode): Promise<void> {
    for (const { id, expires } of await node.relays()) this.#reserved(id, expires)
  }

  #listen(node: TomboloNode): void {
    const refresh = calmly(CALM_MS, () => void this.#refresh())
    const ask = calmly(CALM_MS, () => void this.#ask())
    node.addEventListener('peer:connect', ({ detail }) => {
      this.#log('connect', detail.direction === 'inbound' ? 'connected to this tab' : 'connected', detail.peer)
      refresh()
      ask()
    })
    node.addEventListener('peer:disconnect', ({ detail }) => {
      this.#log('disconnect', 'disconnected', detail.peer)
      refresh()
    })
    node.addEventListener('peer:direct', ({ detail }) => {
      this.#log('connect', `reached without the relay, by ${transportName(detail.transport)}`, detail.peer)
      refresh()
    })
    node.addEventListener('peer:relayed', ({ detail }) => {
      this.#log('note', 'the direct connection ended; it is reached through a relay', detail.peer)
      refresh()
    })
    node.addEventListener('relay:reserved', ({ detail }) => {
      if (this.state.phase !== 'joined') this.#log('reserved', 'holds a reservation for this tab', detail.relay)
      this.#reserved(detail.relay, detail.expires)
      void this.#refresh()
    })
    node.addEventListener('relay:lost', ({ detail }) => {
      this.#log('lost', `reservation lost: ${detail.reason}`, detail.relay)
      this.view.change({ phase: 'adrift', relay: { id: detail.relay, expires: undefined } })
      this.#expectRelay(detail.reason)
      void this.#refresh()
    })
    node.addEventListener('relay:failed', ({ detail }) => {
      this.#refused = detail.reason
    })
    node.addEventListener('echo', ({ detail }) => {
      this.#echoed(detail.peer, detail.bytes)
    })
    node.addEventListener('restart', ({ detail }) => {
      this.#log('error', `the node was started again: ${detail.reason}`)
      if (this.#relay !== undefined) {
        this.view.change({ phase: 'adrift', relay: { id: this.#relay.id, expires: undefined } })
        this.#expectRelay()
      }
      void this.#refresh()
      void this.#reservations(node).catch(() => {}) // reservations from before this listener was added
    })
    node.addEventListener('error', ({ detail }) => {
      this.#log('error', detail.message)
      if (detail.fatal) this.#fail(startProblem(new TomboloError('crashed', detail.message)))
    })
  }

  /** Adds up what is echoed for each peer in one entry of the log. */
  #echoed(peer: string, bytes: number): void {
    if (this.#echoes.size === 0) {
      setTimeout(() => {
        for (const [peer, { times, bytes }] of this.#echoes) {
          const often = times === 1 ? '' : `, in ${count(times, 'message')}`
          this.#log('echo', `had ${bytes.toLocaleString()} bytes echoed${often}`, peer)
        }
        this.#echoes.clear()
      }, ECHOES_MS)
    }
    const before = this.#echoes.get(peer) ?? { times: 0, bytes: 0 }
    this.#echoes.set(peer, { times: before.times + 1, bytes: before.bytes + bytes })
  }

  #reserved(id: string, expires: number): void {
    clearTimeout(this.#patience)
    this.#refused = undefined
    this.#dismiss('relay-silent')
    this.view.change({ phase: 'joined', relay: { id, expires } })
  }

  /** Reports that the relay does not answer, unless it does within a while. */
  #expectRelay(reason?: string): void {
    clearTimeout(this.#patience)
    this.#patience = setTimeout(() => {
      this.#notice(relaySilent(this.#relay?.addrs ?? [], this.#refused ?? reason))
    }, RELAY_PATIENCE_MS)
  }

  /** Connects to a peer named in the page's address. */
  #seek(node: TomboloNode, peer: string): void {
    seek(node, peer, this.#over.signal).catch((error: unknown) => {
      this.#log('error', `could not connect to ${peer}: ${message(error)}`)
    })
  }

  async #refresh(): Promise<void> {
    const node = this.#node
    const self = this.state.self
    if (node === undefined || self === undefined || this.state.phase === 'failed') return
    try {
      const [peers, addrs] = await Promise.all([node.peers(), node.addrs()])
      if (this.#over.signal.aborted) return
      peers.sort((a, b) => Number(b.id === this.#relay?.id) - Number(a.id === this.#relay?.id) || a.since - b.since)
      this.view.change({ peers, self: { ...self, addrs } })
    } catch (error) {
      this.#log('error', message(error))
    }
  }

  /** Asks the connected peers for their services. */
  async #ask(): Promise<void> {
    const node = this.#node
    if (node === undefined || document.hidden || this.#asking || this.state.phase === 'failed') return
    this.#asking = true
    try {
      const services = await node.services({ signal: AbortSignal.timeout(SERVICES_MS) })
      if (!this.#over.signal.aborted) this.view.change({ services })
    } catch (error) {
      this.#log('error', `asking for services: ${message(error)}`)
    }
    this.#asking = false
  }

  #loaded({ loaded, encoding }: LoadProgress): void {
    const total = encoding === 'br' ? wasmSizes.br : encoding === 'gzip' ? wasmSizes.gzip : wasmSizes.raw
    this.view.change({ load: { done: Math.min(total, Math.round((loaded / wasmSizes.raw) * total)), total } })
  }

  #fail(failure: Problem): void {
    this.#over.abort()
    clearTimeout(this.#patience)
    this.view.change({ phase: 'failed', failure, peers: [], services: [], site: undefined })
  }

  #notice(problem: Problem): void {
    this.#dismiss(problem.kind)
    this.view.change({ notices: [...this.state.notices, problem] })
  }

  #dismiss(kind: string): void {
    this.view.change({ notices: this.state.notices.filter((notice) => notice.kind !== kind) })
  }

  #log(kind: LogKind, text: string, peer?: string): void {
    const entry = { n: ++this.#count, at: Date.now(), kind, text, peer }
    this.view.change({ log: [entry, ...this.state.log].slice(0, MAX_LOG) })
  }
}

declare global {
  interface Window {
    /** The page's node, for use in the browser's console. */
    tombolo?: TomboloNode
  }
}
