// make demo: starts a relay and a native peer on this machine, and prints the address of a page that connects to them. Ctrl-C stops
// everything.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: { host: { type: 'string', default: '127.0.0.1' }, port: { type: 'string', default: '8080' } },
})
const listen = `${values.host}:${values.port}`
const loopback = values.host === '127.0.0.1'
const bin = new URL('../../bin/', import.meta.url).pathname
const data = mkdtempSync(join(tmpdir(), 'tombolo-demo-'))
const children = []
let ending = false

/** Starts a program and shows its output without its many addresses. Each promise resolves to the first line that matches its pattern. */
function start(name, args, ...patterns) {
  const child = spawn(join(bin, name), args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  children.push(child)
  const lines = createInterface({ input: child.stdout })
  lines.on('line', (line) => line.startsWith('listening ') || console.log(`${name}: ${line}`))
  const first = (pattern) =>
    new Promise((resolve, reject) => {
      lines.on('line', (line) => pattern.test(line) && resolve(line.match(pattern)[1]))
      child.on('error', reject)
      child.on('exit', (code) => reject(new Error(`${name} ended with ${code}`)))
    })
  child.on('exit', () => void end(1))
  return Promise.all(patterns.map(first))
}

// Each program has its own process group, so that Ctrl-C reaches it only once, from here and in order.
async function end(code) {
  if (ending) return
  ending = true
  for (const child of children.reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    await gone
  }
  rmSync(data, { recursive: true, force: true })
  process.exit(code)
}
process.on('SIGINT', () => void end(0))
process.on('SIGTERM', () => void end(0))

try {
  const relay = ['--data-dir', join(data, 'relay'), '--listen', listen, ...(loopback ? ['--no-map-ports'] : [])]
  const [page] = await start('tombolo-relay', relay, /^page (.*)$/)
  const up = [
    'up',
    '--data-dir',
    join(data, 'peer'),
    '--relay',
    page,
    '--listen',
    '/ip4/127.0.0.1/udp/0/quic-v1/webtransport',
    '--no-map-ports',
  ]
  const [peer] = await start('tombolo', up, /^id (.*)$/, /^reserved on (.*)$/)
  console.log(
    `\nOpen ${page}?peer=${peer}\n${loopback ? 'Only this machine can open it' : 'Anyone who can reach this machine can open it'}. Ctrl-C stops everything.\n`,
  )
} catch (error) {
  if (!ending) console.error(`demo: ${error.message}`)
  await end(1)
}
