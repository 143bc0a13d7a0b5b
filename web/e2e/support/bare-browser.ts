import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { findChromium, flags } from '../../test/chromium.mjs'
import { endGroup, guard } from '../../test/guard.mjs'

const START_MS = 20_000

interface Answer {
  id?: number
  method?: string
  sessionId?: string
  result?: unknown
  error?: { message: string }
}

/**
 * A test's own browser, as people use it: under Playwright no page is ever hidden, throttled, or put in the back/forward cache. The test
 * may freeze and kill its processes.
 */
export class BareBrowser {
  readonly #calls = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  readonly #events = new EventTarget()
  #count = 0
  private constructor(
    readonly child: ChildProcess,
    readonly close: () => Promise<void>,
  ) {
    let rest = ''
    const { 4: from } = child.stdio as unknown as Record<4, Readable>
    from.setEncoding('utf8').on('data', (text: string) => {
      const messages = (rest + text).split('\0')
      rest = messages.pop()!
      for (const message of messages) this.#receive(JSON.parse(message) as Answer)
    })
  }

  static async start({ without = [], args = [] }: { without?: string[]; args?: string[] } = {}): Promise<BareBrowser> {
    const dir = await mkdtemp(`${tmpdir()}/tombolo-chromium-`)
    const common = flags.filter((flag) => !without.includes(flag))
    const child = spawn(
      findChromium(),
      [...common, `--user-data-dir=${dir}`, '--remote-debugging-pipe', ...args, 'about:blank'],
      {
        stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
        // for sockets, a crash database and caches
        env: { ...process.env, TMPDIR: dir, XDG_CONFIG_HOME: dir, XDG_CACHE_HOME: dir },
        detached: true, // its own process group, which can be ended as one
      },
    )
    const guarded = guard({ pid: String(child.pid), dir })
    const browser = new BareBrowser(child, async () => {
      await endGroup(child.pid!, 0)
      await rm(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
      await guarded()
    })
    await browser.send('Browser.getVersion')
    return browser
  }

  send<T>(method: string, params: object = {}, sessionId?: string): Promise<T> {
    const id = ++this.#count
    const to = (this.child.stdio as unknown as Record<3, Writable>)[3]
    to.write(`${JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) })}\0`)
    return new Promise<T>((resolve, reject) => {
      this.#calls.set(id, { resolve: resolve as (result: unknown) => void, reject })
    })
  }

  /** Waits for an event of a session. Call it before what causes the event. */
  async event(method: string, sessionId: string): Promise<void> {
    await once(this.#events, `${sessionId} ${method}`, { signal: AbortSignal.timeout(START_MS) })
  }

  async newPage(): Promise<BarePage> {
    const { targetId } = await this.send<{ targetId: string }>('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await this.send<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true })
    await this.send('Page.enable', {}, sessionId)
    return new BarePage(this, targetId, sessionId)
  }

  /** Stops all processes, as a sleeping machine does. Returns a function that continues them. */
  async freeze(): Promise<() => void> {
    return stopped(await this.#processes(() => true))
  }

  /** Stops only the pages: the browser keeps their connections alive. */
  async freezePages(): Promise<() => void> {
    return stopped(await this.#processes((type) => type === 'renderer'))
  }

  async killPages(): Promise<void> {
    signal(await this.#processes((type) => type === 'renderer'), 'SIGKILL')
  }

  async #processes(which: (type: string) => boolean): Promise<number[]> {
    const info = await this.send<{ processInfo: { type: string; id: number }[] }>('SystemInfo.getProcessInfo')
    return info.processInfo.filter(({ type }) => which(type)).map(({ id }) => id)
  }

  #receive({ id, method, sessionId, result, error }: Answer): void {
    if (id === undefined) {
      this.#events.dispatchEvent(new Event(`${sessionId} ${method}`))
      return
    }
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    if (error === undefined) call?.resolve(result)
    else call?.reject(new Error(error.message))
  }
}

/** A tab of the browser, with the methods of Playwright's pages that the tests need. */
export class BarePage {
  constructor(
    readonly browser: BareBrowser,
    readonly target: string,
    readonly session: string,
  ) {}

  send<T>(method: string, params: object = {}): Promise<T> {
    return this.browser.send<T>(method, params, this.session)
  }

  async goto(url: string): Promise<void> {
    const loaded = this.browser.event('Page.loadEventFired', this.session)
    await this.send('Page.navigate', { url })
    await loaded
  }

  async evaluate<Result, Arg = void>(f: (arg: Arg) => Result, arg?: Arg): Promise<Awaited<Result>> {
    interface Evaluated {
      result: { value: Awaited<Result> }
      exceptionDetails?: { text: string; exception?: { description?: string } }
    }
    const { result, exceptionDetails: failed } = await this.send<Evaluated>('Runtime.evaluate', {
      expression: `(${f.toString()})(${JSON.stringify(arg) ?? ''})`,
      awaitPromise: true,
      returnByValue: true,
    })
    if (failed) throw new Error(failed.exception?.description ?? failed.text)
    return result.value
  }

  /** Brings the tab to the front of its window. */
  async show(): Promise<void> {
    await this.browser.send('Target.activateTarget', { targetId: this.target })
  }

  async close(): Promise<void> {
    await this.browser.send('Target.closeTarget', { targetId: this.target })
  }
}

function stopped(pids: number[]): () => void {
  signal(pids, 'SIGSTOP')
  return () => signal(pids, 'SIGCONT')
}

function signal(pids: number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch {
      // It has already ended.
    }
  }
}
