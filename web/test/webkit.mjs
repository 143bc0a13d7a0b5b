// Starts WebKitGTK's MiniBrowser, driven by WebDriver, on a virtual display.
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { find, freshFolder, launchProgram } from './launch.mjs'

const startLimit = 60_000

/** Where distributions install the browser, which is not on the PATH. */
const folders = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/libexec', '/usr/lib64', '/usr/lib']

/** Returns the paths of the programs that are needed. Throws if one is missing. */
export function findWebKit() {
  const browsers = folders.map((folder) => `${folder}/webkit2gtk-4.1/MiniBrowser`)
  return {
    driver: find({ what: 'WebKitWebDriver', variable: 'WEBKIT_DRIVER', names: ['WebKitWebDriver'] }),
    browser: find({ what: "MiniBrowser of WebKitGTK", variable: 'WEBKIT_BROWSER', names: [...browsers, 'MiniBrowser'] }),
    display: find({ what: 'Xvfb', variable: 'XVFB', names: ['Xvfb'] }),
  }
}

/** Resolves to a driver, its URL, and the browser that it should start. */
export async function launchWebKit() {
  const { driver, browser, display } = findWebKit()
  const screen = launchProgram({
    path: display,
    args: ['-displayfd', '3', '-screen', '0', '1280x800x24', '-nolisten', 'tcp'],
    dir: freshFolder('display'),
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  })
  const opened = [once(screen.process.stdio[3], 'data').then(String), screen.exited.then(() => '')]
  const number = (await Promise.race(opened)).trim()
  if (number === '') {
    await screen.close()
    throw new Error(`${display} did not start: ${await screen.exited}\n${screen.log()}`)
  }
  const dir = freshFolder('webkit')
  const program = launchProgram({
    path: driver,
    args: ['--port=0'],
    dir,
    env: { DISPLAY: `:${number}`, HOME: dir, XDG_DATA_HOME: dir, XDG_CACHE_HOME: dir, LIBGL_ALWAYS_SOFTWARE: '1' },
  })
  const close = async () => {
    await program.close()
    await screen.close()
  }
  for (const start = Date.now(); ; await sleep(20)) {
    const port = listeningPort(program.process.pid)
    if (port !== undefined) return { ...program, close, url: `http://127.0.0.1:${port}`, browser }
    if (program.process.exitCode === null && program.process.signalCode === null && Date.now() - start < startLimit) continue
    await close()
    throw new Error(`${driver} does not listen: ${await program.exited}\n${program.log()}`)
  }
}

/** Returns the TCP port that a process listens on: the driver picks one, and does not report it. */
function listeningPort(pid) {
  const sockets = new Set()
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? []
      if (inode) sockets.add(inode)
    }
  } catch {
    return undefined // it has just closed one, or it has ended
  }
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
    if (state === '0A' && sockets.has(inode)) return Number.parseInt(local.split(':')[1], 16)
  }
  return undefined
}
