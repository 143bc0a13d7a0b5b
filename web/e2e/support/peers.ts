import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { binaries } from './binaries.js'
import { Program } from './process.js'

const ECHO = '/tombolo/echo/1.0.0'

/** A real relay with its own data folder. It can be killed and restarted on the same port. */
export class Relay {
  #program: Program
  #metrics = ''
  private constructor(
    program: Program,
    readonly dir: string,
    readonly port: number,
    readonly addrs: string[],
  ) {
    this.#program = program
  }

  static start(...flags: string[]): Promise<Relay> {
    return Relay.startIn([], ...flags)
  }

  /** Starts the relay by another command, such as one that runs a program on another machine. */
  static async startIn(words: string[], ...flags: string[]): Promise<Relay> {
    const dir = await mkdtemp(`${tmpdir()}/tombolo-relay-`)
    const [command, ...args] = [...words, binaries.relay, '--data-dir', dir, '--port', '0', ...flags]
    const program = new Program(command!, args)
    const [page] = await program.lines(/^page /)
    return new Relay(program, dir, Number(new URL(page!.slice(5)).port), await listening(program))
  }

  /** Starts a relay with metrics: see `counted`. */
  static async counting(): Promise<Relay> {
    const relay = await Relay.start('--metrics', '127.0.0.1:0')
    const [metrics] = await relay.#program.lines(/^metrics /)
    relay.#metrics = metrics!.slice('metrics '.length)
    return relay
  }

  /** Returns the value of one of its metrics, summed over all labels. */
  async counted(name: string): Promise<number> {
    const text = await (await fetch(this.#metrics)).text()
    const values = [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))]
    return values.reduce((sum, [, value]) => sum + Number(value), 0)
  }

  /** Its page is a secure context, because it is on localhost. */
  get url(): string {
    return `http://localhost:${this.port}/`
  }

  get id(): string {
    return this.addrs[0]!.split('/p2p/')[1]!
  }

  /** Returns its loopback address for a transport. */
  addr(transport: '/ws/' | '/webtransport/' | '/webrtc-direct/'): string {
    return onLoopback(this.addrs, transport)
  }

  kill(): Promise<void> {
    return this.#program.stop('SIGKILL')
  }

  /** For its peers, this is as if the network were gone: nothing is refused, and nothing arrives. */
  freeze(frozen: boolean): void {
    this.#program.freeze(frozen)
  }

  async restart(): Promise<void> {
    this.#program = new Program(binaries.relay, ['--data-dir', this.dir, '--port', String(this.port)])
    await this.#program.lines(/^page /)
  }

  async stop(): Promise<void> {
    await this.#program.stop()
    await rm(this.dir, { recursive: true, force: true })
  }
}

/** A real daemon with a reservation on a relay. */
export class Daemon {
  private constructor(
    readonly program: Program,
    readonly dir: string,
    readonly id: string,
    readonly addrs: string[],
  ) {}

  static start(relay: Relay, ...flags: string[]): Promise<Daemon> {
    return Daemon.startIn([], relay.url, ...flags)
  }

  /** Starts the daemon by another command, such as one that runs a program on another machine. */
  static async startIn(words: string[], relay: string, ...flags: string[]): Promise<Daemon> {
    const dir = await mkdtemp(`${tmpdir()}/tombolo-daemon-`)
    const up = ['up', '--data-dir', dir, '--relay', relay, '--no-map-ports', ...flags]
    const [command, ...args] = [...words, binaries.native, ...up]
    const program = new Program(command!, args)
    await program.lines(/^reserved on /)
    const [id] = await program.lines(/^id /)
    return new Daemon(program, dir, id!.slice(3), await listening(program))
  }

  addr(transport: '/ws/' | '/webtransport/' | '/webrtc-direct/'): string {
    return onLoopback(this.addrs, transport)
  }

  /** Runs a command of the shell for this daemon. */
  async run(...args: string[]): Promise<void> {
    await promisify(execFile)(binaries.native, [...args, '--data-dir', this.dir])
  }

  async stop(): Promise<void> {
    await this.program.stop()
    await rm(this.dir, { recursive: true, force: true })
  }
}

export interface TestPeerAnswer {
  ok: boolean
  error?: string
  relayed: boolean
  bytes?: number
  sha256?: string
  agent?: string
  protocols?: string[]
}

/** A stock go-libp2p host, controlled over HTTP: see native/internal/testpeer. */
export class TestPeer {
  private constructor(
    readonly program: Program,
    readonly control: string,
    readonly n: number,
    readonly id: string,
    readonly addrs: string[],
  ) {}

  static async start(): Promise<TestPeer> {
    const program = new Program(binaries.testpeer, [])
    const [line] = await program.lines(/^control /)
    const control = line!.slice('control '.length)
    const answer = await fetch(`${control}/peer?listen=ws,webtransport,webrtc-direct,tcp,quic`, { method: 'POST' })
    const { n, peerId, addrs } = (await answer.json()) as { n: number; peerId: string; addrs: string[] }
    return new TestPeer(program, control, n, peerId, addrs)
  }

  /** Returns its address that contains the given part, such as `/ws/`. */
  addr(part: string): string {
    return this.addrs.find((addr) => addr.includes(part))!
  }

  /** Sends random bytes to a peer's echo service, and compares them with what comes back. */
  echo(to: string, bytes: number, { protocol = ECHO, timeout = '60s' } = {}): Promise<TestPeerAnswer> {
    return this.#do('echo', { to, protocol, bytes: String(bytes), timeout })
  }

  /** Waits until the next stream of `/test/observe/1` ends, and returns how it ended. */
  async observed(): Promise<{ how: string; bytes: number }> {
    const answer = await fetch(`${this.control}/peer/${this.n}/observed`)
    return (await answer.json()) as { how: string; bytes: number }
  }

  disconnect(to: string): Promise<TestPeerAnswer> {
    return this.#do('disconnect', { to })
  }

  ping(to: string): Promise<TestPeerAnswer> {
    return this.#do('ping', { to, fresh: '1' })
  }

  identify(to: string): Promise<TestPeerAnswer> {
    return this.#do('identify', { to })
  }

  async #do(what: string, query: Record<string, string>): Promise<TestPeerAnswer> {
    const url = `${this.control}/peer/${this.n}/${what}?${new URLSearchParams(query).toString()}`
    const answer = await fetch(url, { method: 'POST' })
    return (await answer.json()) as TestPeerAnswer
  }

  stop(): Promise<void> {
    return this.program.stop()
  }
}

/** A program that takes commands line by line: see rpc.mjs. */
export class RpcProcess {
  readonly #program: Program
  readonly #patience: number | undefined
  #count = 0

  /** `patience` is how long to wait for an answer, in milliseconds; by default, as long as for a program to start. */
  constructor(command: string, args: string[], patience?: number) {
    this.#program = new Program(command, args)
    this.#patience = patience
  }

  async call<T>(method: string, ...args: unknown[]): Promise<T> {
    const n = ++this.#count
    this.#program.write(JSON.stringify({ n, method, args }))
    const [line] = await this.#program.lines(new RegExp(`^\\{"n":${n},`), this.#patience)
    const answer = JSON.parse(line!) as { result: T; error?: string }
    if (answer.error !== undefined) throw new Error(`${method}: ${answer.error}`)
    return answer.result
  }

  stop(signal?: 'SIGKILL'): Promise<void> {
    return this.#program.stop(signal)
  }
}

/** A program of this folder that runs a peer under Node.js. */
export class NodeProcess extends RpcProcess {
  /** `node` is the Node.js to run it, if not the one that runs this. */
  constructor(script: 'js-libp2p-peer.mjs' | 'node-tab.mjs', patience?: number, node?: string) {
    // WebSocket is behind a flag in Node.js 20; where it is on by default, the flag is unknown.
    const flags = node !== undefined || 'WebSocket' in globalThis ? [] : ['--experimental-websocket']
    super(node ?? process.execPath, [...flags, fileURLToPath(new URL(script, import.meta.url))], patience)
  }
}

async function listening(program: Program): Promise<string[]> {
  return (await program.lines(/^listening /)).map((line) => line.slice('listening '.length))
}

function onLoopback(addrs: string[], transport: string): string {
  const found = addrs.find(
    (a) => a.startsWith('/ip4/127.0.0.1/') && a.includes(transport) && !a.includes('p2p-circuit'),
  )
  if (found === undefined) throw new Error(`no ${transport} address on loopback among ${addrs.join(' ')}`)
  return found
}
