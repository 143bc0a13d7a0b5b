import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const START_MS = 10_000

function script(name: string): string {
  return readFileSync(fileURLToPath(new URL(`../../../native/internal/namespace/${name}`, import.meta.url)), 'utf8')
}

/** Starts a process that keeps its own network until it is killed. */
async function hold(): Promise<ChildProcess> {
  const child = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' })
  await once(child, 'spawn')
  const network = (pid: number | 'self') => readlinkSync(`/proc/${pid}/ns/net`)
  for (const until = Date.now() + START_MS; network(child.pid!) === network('self');) {
    if (child.exitCode !== null || Date.now() > until) throw new Error('unshare made no network')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return child
}

/** Returns the command that runs a program in the network of a process. */
function within(holder: ChildProcess): string[] {
  return ['nsenter', '--target', String(holder.pid), '--net']
}

/** A network of public addresses, with 5.0.0.1 and machines behind routers: see native/internal/namespace. */
export class Internet {
  readonly #holders: ChildProcess[]
  readonly #dir = mkdtempSync(`${tmpdir()}/tombolo-internet-`)
  #machines = 1
  private constructor(
    internet: ChildProcess,
    /** The command that runs a program at 5.0.0.1. */
    readonly within: string[],
  ) {
    this.#holders = [internet]
  }

  /** Throws if it is not possible: it needs root, network namespaces and iptables. */
  static async make(): Promise<Internet> {
    const holder = await hold()
    const internet = new Internet(holder, within(holder))
    try {
      internet.#run('internet.sh')
    } catch (error) {
      internet.end()
      throw error
    }
    return internet
  }

  /** Adds a machine behind its own router. All of its peers see the same port (`kept`), or each sees another one (`random`). */
  async behindRouter(ports: 'kept' | 'random'): Promise<string[]> {
    const [router, machine] = [await hold(), await hold()]
    this.#holders.push(router, machine)
    this.#machines += 1
    this.#run('router.sh', `N=${this.#machines} ROUTER=${router.pid} MACHINE=${machine.pid} PORTS=${ports}\n`)
    return within(machine)
  }

  /** Returns the path of a program that runs another program on a machine. */
  program(machine: string[], path: string): string {
    const at = join(this.#dir, `program-${machine.join('-')}`)
    writeFileSync(at, `#!/bin/sh\nexec ${[...machine, path].join(' ')} "$@"\n`)
    chmodSync(at, 0o755)
    return at
  }

  end(): void {
    this.#holders.forEach((holder) => holder.kill('SIGKILL'))
    rmSync(this.#dir, { recursive: true, force: true })
  }

  #run(name: string, variables = ''): void {
    const [enter, ...words] = this.within
    execFileSync(enter!, [...words, 'sh', '-c', variables + script(name)], { stdio: ['ignore', 'ignore', 'pipe'] })
  }
}
