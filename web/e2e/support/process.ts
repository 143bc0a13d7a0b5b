import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const START_MS = 60_000
const STOP_MS = 10_000

const running = new Set<ChildProcessWithoutNullStreams>()
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')))

/** A program under test. Tests can wait for its output, which is shown if an expected line does not appear. */
export class Program {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: string[] = []
  readonly #errors: string[] = []
  readonly #news = new EventTarget()
  readonly #exited: Promise<unknown>

  constructor(command: string, args: string[]) {
    // Keep peers of different tests on one machine from finding each other.
    this.#child = spawn(command, args, { env: { ...process.env, TOMBOLO_NO_MDNS: 'true' } })
    running.add(this.#child)
    this.#exited = once(this.#child, 'exit').finally(() => {
      running.delete(this.#child)
      this.#news.dispatchEvent(new Event('news'))
    })
    createInterface(this.#child.stdout).on('line', (line) => {
      this.#lines.push(line)
      this.#news.dispatchEvent(new Event('news'))
    })
    createInterface(this.#child.stderr).on('line', (line) => this.#errors.push(line))
  }

  /** Returns all lines so far that match, and waits for one if there is none. */
  async lines(pattern: RegExp, ms = START_MS): Promise<string[]> {
    const limit = AbortSignal.timeout(ms)
    for (;;) {
      const found = this.#lines.filter((line) => pattern.test(line))
      if (found.length > 0) return found
      const ended = this.#child.exitCode !== null || this.#child.signalCode !== null
      if (ended || limit.aborted) throw new Error(`${this} ${ended ? 'ended' : 'did not print'} before ${pattern}`)
      await Promise.race([once(this.#news, 'news'), once(limit, 'abort')])
    }
  }

  write(line: string): void {
    this.#child.stdin.write(`${line}\n`)
  }

  /** Stops the program, so that it does not react to anything, or continues it. */
  freeze(frozen: boolean): void {
    this.#child.kill(frozen ? 'SIGSTOP' : 'SIGCONT')
  }

  /** Ends the program. All test programs end when their standard input does, or on SIGTERM. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.#child.kill(signal)
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS)
    await this.#exited
    clearTimeout(timer)
  }

  toString(): string {
    const printed = [...this.#lines.slice(-10), ...this.#errors.slice(-10)].join('\n  ')
    return `${this.#child.spawnargs.join(' ')}\n  ${printed}\n`
  }
}
