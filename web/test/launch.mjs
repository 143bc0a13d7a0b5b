// Finds programs, and starts each in its own process group and folder, which are gone when this process is.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { endGroup, guard } from './guard.mjs'

/** How long a program that was asked to end may take, in milliseconds. */
const QUIT_MS = 10_000

export function executable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Returns the path of a program: the one that an environment variable names, or else the first of `names` that is installed. A name
 * may be a path. If there is none, throws an error that says what to do.
 *
 * @param {{ what: string, variable: string, names: string[] }} program
 */
export function find({ what, variable, names }) {
  const named = process.env[variable]
  if (named) {
    if (executable(named)) return named
    throw new Error(`${variable} names ${named}, which is not an executable file`)
  }
  const places = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  const paths = names.flatMap((name) => (name.startsWith('/') ? [name] : places.map((place) => join(place, name))))
  const found = paths.find(executable)
  if (found) return found
  throw new Error(`no ${what}: none of ${names.join(', ')} is on PATH. Install one, or set ${variable}=/path/to/it`)
}

/** Creates a folder for one run of a program. */
export function freshFolder(name) {
  return mkdtempSync(join(tmpdir(), `tombolo-${name}-`))
}

/**
 * Starts a program that keeps its files in `dir`, which is removed with it.
 *
 * @param {{ path: string, args: string[], dir: string, env?: Record<string, string>, stdio?: import('node:child_process').StdioOptions }} program
 * @returns {{
 *   process: import('node:child_process').ChildProcess,
 *   exited: Promise<string>,     how it ended, by itself or by close
 *   log: () => string,           the end of its standard error
 *   quit: () => Promise<void>,   asks it to end, and waits: it may have to write something
 *   close: () => Promise<void>,  ends all of its processes and removes its folder; may be called again
 * }}
 */
export function launchProgram({ path, args, dir, env = {}, stdio = ['ignore', 'ignore', 'pipe'] }) {
  const child = spawn(path, args, {
    stdio,
    // For sockets and the crash database, and for what Chromium caches of a profile below XDG_CONFIG_HOME.
    env: { ...process.env, TMPDIR: dir, XDG_CONFIG_HOME: dir, XDG_CACHE_HOME: dir, ...env },
    detached: true, // its own process group, which can be ended as one
  })
  let tail = ''
  child.stderr?.setEncoding('utf8').on('data', (text) => (tail = (tail + text).slice(-8192)))
  const exited = once(child, 'exit').then(
    ([code, signal]) => (signal ? `killed by ${signal}` : `exit code ${code}`),
    (err) => `did not start: ${err.message}`,
  )
  const guarded = guard({ pid: child.pid ?? '', dir })

  let closing
  async function end() {
    if (child.pid) {
      await endGroup(child.pid, 0) // nothing in its folder is worth saving
      await exited
    }
    rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    await guarded()
  }
  async function quit() {
    child.kill('SIGTERM')
    await Promise.race([exited, sleep(QUIT_MS, undefined, { ref: false })])
  }
  return { process: child, exited, log: () => tail, quit, close: () => (closing ??= end()) }
}
