import {
  createNode,
  type LoadProgress,
  type LogLevel,
  type NodeStats,
  type PeerInfo,
  TomboloError,
  type TomboloNode,
} from '@tombolo/node'
import wasmSizes from 'virtual:wasm-sizes'
import { describeRelay, type PageConfig, type RelayDescription } from './config.js'
import { Instruments } from './instruments.js'
import { Mesh } from './mesh.js'
import { NodeLog } from './node-log.js'
import { insecureContext, relaySilent, relayUnknown, startProblem, type Problem } from './problems.js'
import { seek } from './seek.js'
import { Sites } from './sites.js'
import { initialState, type LogKind, type State, Store } from './state.js'

const REFRESH_MS = 2_000
const PING_MS = 5_000
const SERVICES_MS = 10_000
/** After so long without a reservation a person should know that something is wrong. */
const RELAY_PATIENCE_MS = 10_000
const MAX_LOG = 200
const MAX_ECHOES = 6

/** One node, from its loading to its end: what the page shows is this session's state. */
export class Session {
  readonly mesh = new Mesh()
  readonly instruments = new Instruments()
  readonly nodeLog = new NodeLog()
  readonly #store: Store<State>
  readonly #config: PageConfig
  readonly #onNode: (node: TomboloNode) => void
  readonly #over = new AbortController()
  #node: TomboloNode | undefined
  #relay: RelayDescription | undefined
  #patience: ReturnType<typeof setTimeout> | undefined
  /** Why the last attempt at the relay failed. */
  #refused: string | undefined
  #pinging = false
  #asking = false
  #sites: Sites | undefined
  #count = 0

  constructor(config: PageConfig, onChange: (state: State) => void, onNode: (node: TomboloNode) => void) {
    this.#config = config
    this.#store = new Store(initialState, onChange)
    this.#onNode = onNode
  }

  get state(): State {
    return this.#store.state
  }

  /** Makes the node and joins the relay. Does not reject: what goes wrong is in the state. */
  async start(): Promise<void> {
    if (!isSecureContext) this.#notice(insecureContext(location.origin))
    try {
      this.#relay = await describeRelay(this.#config, this.#over.signal)
    } catch (error) {
      this.#notice(relayUnknown(error))
    }
    try {
      const { transport, identity, worker, log } = this.#config
      const node = await createNode({
        relays: this.#relay?.addrs ?? [],
        identity,
        worker,
        log,
        histories: identity === 'persistent' ? 'persistent' : 'memory',
        ...(this.#relay?.network !== undefined && { network: this.#relay.network }),
        ...(transport !== undefined && { transports: [transport] }),
        onProgress: (progress) => this.#loaded(progress),
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

  /** Sends text to a peer's echo service and checks what comes back. */
  async echo(peer: string, text: string): Promise<void> {
    if (this.#node === undefined) return
    const sent = new TextEncoder().encode(text)
    const n = ++this.#count
    const result = { n, peer, text, bytes: sent.length, ms: undefined, error: undefined }
    this.#store.set({ echoes: [result, ...this.state.echoes].slice(0, MAX_ECHOES) })
    const finish = (change: { ms: number } | { error: string }) =>
      this.#store.set({ echoes: this.state.echoes.map((echo) => (echo.n === n ? { ...echo, ...change } : echo)) })
    const begin = performance.now()
    try {
      const back = await this.#node.echo(peer, sent, { signal: AbortSignal.timeout(20_000) })
      const ms = performance.now() - begin
      const same = back.length === sent.length && back.every((byte, i) => byte === sent[i])
      finish(same ? { ms } : { error: 'other bytes came back' })
    } catch (error) {
      finish({ error: message(error) })
    }
  }

  /** Shows a site of a peer in the gateway's frame. */
  async openSite(peer: string, protocol: string): Promise<void> {
    if (this.#node === undefined) return
    const site = { peer, protocol, shown: undefined, error: undefined }
    this.#store.set({ site })
    const finish = (change: Partial<NonNullable<State['site']>>) => {
      if (this.state.site === site) this.#store.set({ site: { ...site, ...change } })
    }
    try {
      this.#sites ??= new Sites(this.#node)
      finish({ shown: await this.#sites.show(peer, protocol) })
    } catch (error) {
      finish({ error: message(error) })
    }
  }

  closeSite(): void {
    this.#store.set({ site: undefined })
  }

  get logLevel(): LogLevel {
    return this.#config.log
  }

  /** What the node has counted; of no node, nothing. */
  stats(): Promise<NodeStats> | undefined {
    return this.#node?.stats()
  }

  async #run(node: TomboloNode): Promise<void> {
    this.#node = node
    window.tombolo = node
    this.#listen(node)
    this.nodeLog.start(node)
    this.instruments.start(node, this.#over.signal)
    void this.mesh.start(node, this.#over.signal)
    this.#store.set({
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
    this.#onNode(node)
    if (this.#relay !== undefined) this.#expectRelay()
    setInterval(() => void this.#refresh(), REFRESH_MS)
    setInterval(() => void this.#ping(), PING_MS)
    setInterval(() => void this.#ask(), SERVICES_MS)
    for (const peer of this.#config.peers) this.#seek(node, peer)
    await this.#refresh()
    await this.#reservations(node)
  }

  async #reservations(node: TomboloNode): Promise<void> {
    for (const { id, expires } of await node.relays()) this.#reserved(id, expires)
  }

  #listen(node: TomboloNode): void {
    node.addEventListener('peer:connect', ({ detail }) => {
      this.#log('connect', detail.direction === 'inbound' ? 'called us' : 'connected', detail.peer)
      void this.#refresh().then(() => this.#ping())
      void this.#ask()
    })
    node.addEventListener('peer:disconnect', ({ detail }) => {
      this.#log('disconnect', 'disconnected', detail.peer)
      void this.#refresh()
    })
    node.addEventListener('relay:reserved', ({ detail }) => {
      if (this.state.phase !== 'joined') this.#log('reserved', 'holds a reservation for this tab', detail.relay)
      this.#reserved(detail.relay, detail.expires)
      void this.#refresh()
    })
    node.addEventListener('relay:lost', ({ detail }) => {
      this.#log('lost', `reservation lost: ${detail.reason}`, detail.relay)
      this.#store.set({ phase: 'adrift', relay: { id: detail.relay, expires: undefined } })
      this.#expectRelay(detail.reason)
      void this.#refresh()
    })
    node.addEventListener('relay:failed', ({ detail }) => {
      this.#refused = detail.reason
    })
    node.addEventListener('echo', ({ detail }) => {
      this.#log('echo', `had ${detail.bytes.toLocaleString()} bytes echoed`, detail.peer)
    })
    node.addEventListener('restart', ({ detail }) => {
      this.#log('error', `the node was started again: ${detail.reason}`)
      if (this.#relay !== undefined) {
        this.#store.set({ phase: 'adrift', relay: { id: this.#relay.id, expires: undefined } })
        this.#expectRelay()
      }
      void this.#refresh()
      void this.#reservations(node).catch(() => {}) // made before this event
    })
    node.addEventListener('error', ({ detail }) => {
      this.#log('error', detail.message)
      if (detail.fatal) this.#fail(startProblem(new TomboloError('crashed', detail.message)))
    })
  }

  #reserved(id: string, expires: number): void {
    clearTimeout(this.#patience)
    this.#refused = undefined
    this.#dismiss('relay-silent')
    this.#store.set({ phase: 'joined', relay: { id, expires } })
  }

  /** Gives the relay a while; then says that it does not answer. */
  #expectRelay(reason?: string): void {
    clearTimeout(this.#patience)
    this.#patience = setTimeout(() => {
      this.#notice(relaySilent(this.#relay?.addrs ?? [], this.#refused ?? reason))
    }, RELAY_PATIENCE_MS)
  }

  /** Connects to a peer that the page's address names. */
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
      peers.sort((a, b) => Number(b.id === this.#relay?.id) - Number(a.id === this.#relay?.id) || a.since - b.since)
      this.#store.set({ peers, self: { ...self, addrs } })
    } catch (error) {
      this.#log('error', message(error))
    }
  }

  /** Keeps the round trip times fresh while somebody looks at them. */
  async #ping(): Promise<void> {
    const node = this.#node
    if (node === undefined || document.hidden || this.#pinging || this.state.phase === 'failed') return
    this.#pinging = true
    const ping = ({ id }: PeerInfo) =>
      node.ping(id, { signal: AbortSignal.timeout(PING_MS) }).then(
        (ms) => this.instruments.addRtt(id, ms),
        () => this.instruments.addRtt(id, undefined),
      )
    await Promise.all(this.state.peers.map(ping))
    this.#pinging = false
    await this.#refresh()
  }

  /** Asks the connected peers what they offer. */
  async #ask(): Promise<void> {
    const node = this.#node
    if (node === undefined || document.hidden || this.#asking || this.state.phase === 'failed') return
    this.#asking = true
    try {
      this.#store.set({ services: await node.services({ signal: AbortSignal.timeout(SERVICES_MS) }) })
    } catch (error) {
      this.#log('error', `asking for services: ${message(error)}`)
    }
    this.#asking = false
  }

  #loaded({ loaded, encoding }: LoadProgress): void {
    const total = encoding === 'br' ? wasmSizes.br : encoding === 'gzip' ? wasmSizes.gzip : wasmSizes.raw
    this.#store.set({ load: { done: Math.min(total, Math.round((loaded / wasmSizes.raw) * total)), total } })
  }

  #fail(failure: Problem): void {
    this.#over.abort()
    clearTimeout(this.#patience)
    this.#store.set({ phase: 'failed', failure, peers: [], services: [], site: undefined })
  }

  #notice(problem: Problem): void {
    this.#dismiss(problem.kind)
    this.#store.set({ notices: [...this.state.notices, problem] })
  }

  #dismiss(kind: string): void {
    this.#store.set({ notices: this.state.notices.filter((notice) => notice.kind !== kind) })
  }

  #log(kind: LogKind, text: string, peer?: string): void {
    const entry = { n: ++this.#count, at: Date.now(), kind, text, peer }
    this.#store.set({ log: [entry, ...this.state.log].slice(0, MAX_LOG) })
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

declare global {
  interface Window {
    /** The page's node, for whoever opens the console. */
    tombolo?: TomboloNode
  }
}
