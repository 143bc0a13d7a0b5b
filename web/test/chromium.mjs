// Starts a headless Chromium on a page, without devtools: a page that devtools drive is several times slower.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { endGroup, guard } from './guard.mjs'

const names = ['chromium', 'chromium-browser', 'google-chrome']

/** Flags for a browser that does what the page asks and nothing else, at full speed though nobody looks at it. */
export const flags = [
  '--headless=new',
  '--disable-gpu',
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-default-apps',
  '--disable-extensions',
  '--disable-breakpad',
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  '--password-store=basic',
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), // Chromium's sandbox refuses to run as root
]

/** The path of a Chromium: the one CHROMIUM names, else the first that is installed. Throws where there is none. */
export function findChromium() {
  const named = process.env.CHROMIUM
  if (named) {
    if (executable(named)) return named
    throw new Error(`CHROMIUM names ${named}, which is not an executable file`)
  }
  const places = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  const paths = ['/usr/bin/chromium', ...names.flatMap((name) => places.map((place) => join(place, name)))]
  const found = paths.find(executable)
  if (found) return found
  throw new Error(`no Chromium: none of ${names.join(', ')} is on PATH. Install one, or set CHROMIUM=/path/to/it`)
}

/**
 * The path of a headless shell: the same engine without the browser's own windows, of which each page costs a second or two of the
 * processor's time. Where there is none, or CHROMIUM names a browser, that of a Chromium.
 */
export function findShell() {
  const places = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  const shells = places.map((place) => join(place, 'chromium-headless-shell'))
  return (process.env.CHROMIUM ? undefined : shells.find(executable)) ?? findChromium()
}

function executable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Opens `url` in a fresh Chromium with a profile of its own.
 *
 * @param {string} url
 * @param {{ extraArgs?: string[] }} [options]
 * @returns {{
 *   process: import('node:child_process').ChildProcess,
 *   exited: Promise<string>,     how it ended, by itself or by close
 *   log: () => string,           the end of what it wrote on standard error
 *   close: () => Promise<void>,  ends every process of it and removes its profile; may be called again
 * }}
 */
export function launch(url, { extraArgs = [] } = {}) {
  const path = findChromium()
  const dir = mkdtempSync(join(tmpdir(), 'tombolo-chromium-'))
  const child = spawn(path, [...flags, `--user-data-dir=${dir}`, ...extraArgs, url], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, TMPDIR: dir, XDG_CONFIG_HOME: dir }, // where it leaves sockets and a crash database
    detached: true, // a process group of its own, to be ended as one
  })
  let tail = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (tail = (tail + text).slice(-8192)))
  const exited = once(child, 'exit').then(
    ([code, signal]) => (signal ? `killed by ${signal}` : `exit code ${code}`),
    (err) => `did not start: ${err.message}`,
  )
  const guarded = guard({ pid: child.pid ?? '', dir })

  let closing
  async function end() {
    if (child.pid) {
      await endGroup(child.pid, 0) // there is nothing in the profile that it should save
      await exited
    }
    rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    await guarded()
  }
  return { process: child, exited, log: () => tail, close: () => (closing ??= end()) }
}
