// The far side: the relay, and a stock go-libp2p host with a reservation on it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { guard } from '../test/guard.mjs'
import { startTestPeer } from '../test/gotest/testpeer.mjs'
import { atEnd, finish } from '../test/lifetime.mjs'

const benchBinary = fileURLToPath(new URL('../../bin/bench', import.meta.url))
const relayBinary = fileURLToPath(new URL('../../bin/tombolo-relay', import.meta.url))

/** The form of the addresses that a tab can dial, by transport. */
const inTab = { websocket: /\/tcp\/\d+\/ws\/p2p\//, webtransport: /\/webtransport\// }

/**
 * Starts both. Resolves, for each transport, to the addresses of the relay, of the host, and of another host through the relay. Under
 * `far`, by round trip, it has the same at the far end of a long line, with the relay halfway to the other host.
 */
export async function startFarSide(trips = []) {
  const relay = await startRelay()
  const control = await startTestPeer()
  const host = await post(`${control}/peer?listen=ws,webtransport&process=1`)
  const behind = await post(`${control}/peer?process=1`)
  const addresses = {}
  for (const transport of Object.keys(inTab)) {
    const relayAddr = addressOf(relay, transport)
    addresses[transport] = {
      relay: relayAddr,
      direct: addressOf(host.addrs, transport),
      circuit: `${relayAddr}/p2p-circuit/p2p/${behind.peerId}`,
    }
  }
  const reserve = async ({ n }, to) => {
    const reserved = await post(`${control}/peer/${n}/reserve?to=${encodeURIComponent(to)}`)
    if (!reserved.ok) throw new Error(`reserve a slot on the relay: ${reserved.error}`)
  }
  await reserve(behind, addresses.websocket.relay)
  for (const trip of trips) {
    const beyond = await post(`${control}/peer?process=1`)
    await reserve(beyond, await throughLine(addresses.websocket.relay, trip / 2))
    for (const of of Object.values(addresses)) {
      const relay = await throughLine(of.relay, trip / 2)
      const direct = await throughLine(of.direct, trip)
      ;(of.far ??= {})[trip] = { relay, direct, circuit: `${relay}/p2p-circuit/p2p/${beyond.peerId}` }
    }
  }
  return addresses
}

/** Returns the first of a peer's addresses that a tab on this machine can dial over the transport. */
export function addressOf(addrs, transport) {
  const found = addrs.find((addr) => addr.startsWith('/ip4/127.0.0.1/') && inTab[transport].test(addr))
  if (!found) throw new Error(`there is no ${transport} address on 127.0.0.1 among ${addrs.join(' ')}`)
  return found
}

/** Resolves to the address of the same peer through such a line. */
export async function throughLine(addr, trip, rate) {
  const [, port] = /\/(?:tcp|udp)\/(\d+)\//.exec(addr)
  return addr.replace(`/${port}/`, `/${await startLine(port, trip, rate)}/`)
}

/**
 * Starts a line with a round trip of `trip` ms and, if given, a rate of `rate` bits a second; see native/bench/line.go. Resolves to the
 * local port that leads through the line to `port`.
 */
export async function startLine(port, trip, rate) {
  if (!existsSync(benchBinary)) throw new Error('bin/bench is missing: make bin/bench')
  const args = ['tunnel', 'line', `${trip}ms`, `127.0.0.1:${port}`, ...(rate ? [`${rate}`] : [])]
  const line = spawn(benchBinary, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(line, 'exit').catch((err) => [err.message])
  atEnd(async () => {
    line.stdin.destroy() // this ends the line
    await ended
  })
  const [at] = await once(createInterface(line.stdout), 'line')
  return at.split(':')[1]
}

/**
 * Starts a native Tombolo node that takes commands line by line. Resolves to its WebTransport address, and to functions that make it send
 * many messages to a peer, and pull from a peer's services and push to them through forwards.
 */
export async function startMessenger() {
  const binary = fileURLToPath(new URL('../../bin/messenger', import.meta.url))
  if (!existsSync(binary)) throw new Error('bin/messenger is missing: make bin/messenger')
  const child = spawn(binary, { stdio: ['pipe', 'pipe', 'inherit'], detached: true })
  const guarded = guard({ pid: child.pid ?? '' })
  const ended = once(child, 'exit').catch((err) => [err.message])
  atEnd(async () => {
    child.kill('SIGKILL')
    await ended
    await guarded()
  })
  const waiting = new Map()
  createInterface(child.stdout).on('line', (line) => {
    const { n, result, error } = JSON.parse(line)
    const { resolve, reject } = waiting.get(n)
    waiting.delete(n)
    if (error === undefined) resolve(result)
    else reject(new Error(error))
  })
  let count = 0
  const call = (method, ...args) =>
    new Promise((resolve, reject) => {
      const n = ++count
      waiting.set(n, { resolve, reject })
      child.stdin.write(`${JSON.stringify({ n, method, args })}\n`)
    })
  await call('start', { relays: [] })
  const address = (await call('addrs')).find((addr) => addr.includes('/webtransport/'))
  if (!address) throw new Error('the messenger has no WebTransport address')
  return {
    address,
    flood: (peer, type, messages, size) => call('flood', peer, type, messages, size),
    throughput: (peer, bytes) => call('throughput', peer, bytes),
  }
}

async function post(url) {
  const answer = await (await fetch(url, { method: 'POST' })).json()
  if (answer.error) throw new Error(`${url}: ${answer.error}`)
  return answer
}

/** Starts a relay. Resolves to its addresses. */
export async function startRelay() {
  if (!existsSync(relayBinary)) throw new Error('bin/tombolo-relay is missing: make build')
  const dir = mkdtempSync(join(tmpdir(), 'tombolo-bench-relay-'))
  const args = ['--data-dir', dir, '--listen', '127.0.0.1:0', '--no-map-ports']
  const relay = spawn(relayBinary, args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  keep('the relay', relay, dir)
  return listening(relay.stdout)
}

/**
 * Keeps a program until the end of the run, when it is ended and its folder removed. It is an error if it ends earlier. It must lead a
 * process group.
 */
export function keep(name, child, dir) {
  const guarded = guard({ pid: child.pid ?? '', dir })
  const ended = once(child, 'exit').catch((err) => [err.message])
  let wanted = true
  atEnd(async () => {
    wanted = false
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), 5000)
    await ended
    clearTimeout(late)
    rmSync(dir, { recursive: true, force: true })
    await guarded()
  })
  ended.then(([code, signal]) => wanted && finish(1, `${name} ended: ${signal ?? code}`))
}

/** Reads the "listening" lines, which come in one piece, and the line after them. */
async function listening(stdout) {
  const addrs = []
  const late = setTimeout(() => finish(1, 'the relay did not say where it listens within 30 s'), 30_000)
  stdout.setEncoding('utf8')
  const [text] = await once(stdout, 'data')
  clearTimeout(late)
  stdout.resume()
  for (const line of text.split('\n')) {
    const [, addr] = /^listening (\S+)/.exec(line) ?? []
    if (addr) addrs.push(addr)
  }
  return addrs
}
