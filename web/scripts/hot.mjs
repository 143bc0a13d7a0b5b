// Finds the functions that a tab's program needs first, and writes their names to wasm/cmd/tombolo/hot.txt: those that run until a node is
// connected over each transport, in Chromium and under Node.js, with what a page registers at once. The others are in the second file of
// the program, which loads later: see wasm/internal/link. Run this if a tab needs that file before it is connected. Names already in the
// list stay if the functions still exist, because no run covers every case; without the file, the list is made from scratch.
//   make hot
import { chromium } from '@playwright/test'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { findChromium, flags } from '../test/chromium.mjs'
import { npmDir, webDir } from './paths.mjs'

const list = fileURLToPath(new URL('../../wasm/cmd/tombolo/hot.txt', import.meta.url))
const bin = fileURLToPath(new URL('../../bin/', import.meta.url))
/** Where a traced program records which functions have run: see link.Trace. */
const TRACE = { from: 16, to: 4096 }

const dir = mkdtempSync(join(tmpdir(), 'tombolo-hot-'))
cpSync(npmDir, dir, { recursive: true })
const traced = join(dir, 'tombolo.wasm')
// The worker of a node reports what has run in it.
const tells = `{
  const { instantiate } = WebAssembly
  const channel = new BroadcastChannel('hot')
  let memory
  WebAssembly.instantiate = async (...args) => {
    const instance = await instantiate.apply(WebAssembly, args)
    memory = instance.exports.mem
    return instance
  }
  channel.onmessage = ({ data: { from, to } }) => channel.postMessage([...new Uint8Array(memory.buffer, from, to - from)])
}
`
writeFileSync(join(dir, 'worker.js'), tells + readFileSync(join(dir, 'worker.js'), 'utf8'))
const lean = ['run', './wasm/lean', '-snapshot', '-simd', '-trace', '-o', traced, './wasm/cmd/tombolo']
execFileSync('go', lean, { cwd: `${webDir}/..`, stdio: 'inherit' })

const relay = spawn(join(bin, 'tombolo-relay'), ['--data-dir', join(dir, 'relay'), '--port', '0'], {
  stdio: ['ignore', 'pipe', 'inherit'],
})
const server = createServer(serve)
let browser, context
try {
  const page = await url()
  const addrs = await addresses(page)
  const ran = new Set()
  const take = (bits) =>
    bits.forEach((byte, i) => [...Array(8).keys()].forEach((bit) => byte & (1 << bit) && ran.add(8 * i + bit)))
  const lost = 'http://127.0.0.1:9/' // a relay that does not exist, beside one that does
  for (const options of [{ transports: ['websocket'] }, {}]) {
    for (const relays of [[page], [lost, page]]) take(await underNode({ relays, ...options }))
    for (const addr of addrs('websocket')) take(await underNode({ relays: [], ...options }, addr))
  }
  browser = await chromium.launch({ executablePath: findChromium(), args: flags })
  context = await browser.newContext()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  for (const transports of [['webtransport'], ['websocket'], undefined]) {
    for (const relays of [[page], [lost, page]]) {
      for (const identity of ['persistent', 'ephemeral']) take(await inChromium({ relays, transports, identity }))
    }
    for (const addr of addrs(...(transports ?? []))) take(await inChromium({ relays: [], transports }, session, addr))
  }
  for (const identity of ['persistent', 'persistent', 'ephemeral']) {
    for (const relays of [[page], []]) {
      for (const histories of ['memory', identity === 'persistent' ? 'persistent' : 'memory']) {
        take(await inChromium({ relays, identity, histories }, inWorker))
      }
    }
  }
  const names = functionNames(readFileSync(traced))
  const known = new Set(names)
  const before = existsSync(list) ? readFileSync(list, 'utf8').split('\n') : []
  const hot = new Set(
    [...before, ...[...ran].map((i) => names[i])].filter((name) => name?.includes('.') && known.has(name)),
  )
  writeFileSync(list, [...hot].sort().join('\n') + '\n')
  console.log(`${hot.size} of ${names.length} functions`)
} finally {
  await browser?.close()
  server.close()
  relay.kill()
  rmSync(dir, { recursive: true, force: true })
}

/** Returns the address of the relay's page. */
function url() {
  return new Promise((resolve, reject) => {
    createInterface({ input: relay.stdout }).on(
      'line',
      (line) => /^page /.test(line) && resolve(line.slice('page '.length)),
    )
    relay.on('exit', () => reject(new Error('the relay ended')))
  })
}

/**
 * Resolves to a function that returns addresses of the relay: one for each of the named transports, or for all transports if none is named.
 */
async function addresses(page) {
  const { addrs } = await (await fetch(new URL('.well-known/tombolo', page))).json()
  const kinds = { websocket: /\/ws\//, webtransport: /\/webtransport\// }
  return (...transports) =>
    (transports.length > 0 ? transports : Object.keys(kinds)).map((name) =>
      addrs.find((addr) => kinds[name].test(addr)),
    )
}

function serve(request, response) {
  const { pathname } = new URL(request.url, 'http://localhost')
  const path = join(dir, pathname)
  const type = { '.js': 'text/javascript', '.wasm': 'application/wasm' }[extname(path)] ?? 'text/html'
  const body = pathname === '/' ? '<!doctype html>' : existsSync(path) && readFileSync(path)
  response.writeHead(body === false ? 404 : 200, { 'content-type': type }).end(body || undefined)
}

/** Does everything with a node that must be fast, in a browser and under Node.js alike. Returns the functions that have run. */
async function session({ index, options, addr, from, to }) {
  let memory
  const instantiate = WebAssembly.instantiate
  WebAssembly.instantiate = async (...args) => {
    const instance = await instantiate.apply(WebAssembly, args)
    memory = instance.exports.mem
    return instance
  }
  const { createNode } = await import(index)
  const made = await Promise.all([
    createNode({ ...options, worker: 'none' }),
    createNode({ ...options, identity: 'ephemeral', worker: 'none' }),
  ])
  if (addr !== undefined)
    await Promise.all(made.map((node) => node.connect(addr, { signal: AbortSignal.timeout(60_000) })))
  for (const node of made) {
    await node.subscribe('hot')
    await node.respond('hot', async (request) => request.data)
    await node.listen('/x/hot', () => {})
    await node.presence('hot')
  }
  for (const node of made) {
    while (options.relays.length > 0 && (await node.relays()).length === 0)
      await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const bits = [...new Uint8Array(memory.buffer, from, to - from)]
  await Promise.all(made.map((node) => node.close()))
  return bits
}

/** Runs a session in a new tab of a browser that keeps the storage of the earlier ones. */
async function inChromium(options, does = session, addr = undefined) {
  const page = await context.newPage()
  await page.goto(`http://localhost:${server.address().port}/`)
  const given = { index: '/index.js', options: JSON.parse(JSON.stringify(options)), addr, ...TRACE }
  const bits = await page.evaluate(`(${does})(${JSON.stringify(given)})`)
  await page.close()
  return bits
}

/** Runs a session in a worker, in which a node does a little more. */
async function inWorker({ index, options, addr, from, to }) {
  const { createNode } = await import(index)
  const node = await createNode(options)
  if (addr !== undefined) await node.connect(addr, { signal: AbortSignal.timeout(60_000) })
  await node.subscribe('hot')
  await node.respond('hot', async (request) => request.data)
  await node.listen('/x/hot', () => {})
  await node.presence('hot')
  while (options.relays.length > 0 && (await node.relays()).length === 0)
    await new Promise((resolve) => setTimeout(resolve, 20))
  const channel = new BroadcastChannel('hot')
  const bits = new Promise((resolve) => (channel.onmessage = ({ data }) => resolve(data)))
  channel.postMessage({ from, to })
  return bits
}

/** Runs a session in a new process, because a program starts only once. */
async function underNode(options, addr = undefined) {
  const given = { index: pathToFileURL(join(dir, 'index.node.js')).href, options, addr, ...TRACE }
  const script = `(${session})(${JSON.stringify(given)}).then((bits) => { console.log(JSON.stringify(bits)); process.exit(0) })`
  const out = execFileSync(process.execPath, ['--experimental-websocket', '-e', script], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return JSON.parse(out.trim().split('\n').pop())
}

/** Returns the names of the functions that a module defines, by their index among these. */
function functionNames(program) {
  const module = new WebAssembly.Module(program)
  const bytes = new Uint8Array(WebAssembly.Module.customSections(module, 'name')[0])
  const imported = WebAssembly.Module.imports(module).length
  let at = 1
  const number = () => {
    for (let n = 0, shift = 0; ; shift += 7) {
      const byte = bytes[at++]
      n |= (byte & 0x7f) << shift
      if (byte < 0x80) return n
    }
  }
  number()
  const names = []
  for (let left = number(); left > 0; left--) {
    const i = number()
    const length = number()
    names[i - imported] = new TextDecoder().decode(bytes.subarray(at, (at += length)))
  }
  return names
}
