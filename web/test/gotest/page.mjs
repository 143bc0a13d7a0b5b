// Runs a test in a page of a browser, or in a worker of that page. The page reports to a server here; nothing drives it.
import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { launch } from '../chromium.mjs'
import { launchFirefox } from '../firefox.mjs'
import { withoutFiles } from './flags.mjs'
import { atEnd } from '../lifetime.mjs'
import { libWasm } from './toolchain.mjs'

const startLimit = 60_000

export const runInChromium = (job, where) => runInPage(job, where, 'Chromium', launch)
export const runInFirefox = (job) => runInPage(job, 'window', 'Firefox', (page) => launchFirefox(page, loopback))

/** Preferences for WebRTC to 127.0.0.1. A page without leave to use a microphone connects from the interface of the default route only. */
const loopback = { 'media.peerconnection.ice.loopback': true, 'permissions.default.microphone': 1 }

/** Resolves to the exit code of the test. */
async function runInPage({ binary, args, env }, where, name, launch) {
  const config = { argv: [binary, ...withoutFiles(args)], env, where }
  const report = new Report()
  const server = createServer((req, res) => serve(req, res, { config, binary, report }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })

  const browser = await launch(`http://127.0.0.1:${server.address().port}/`)
  atEnd(() => browser.close())
  const late = setTimeout(() => {
    report.fail(`${name} did not load the page within ${startLimit / 1000} s\n${browser.log()}`.trim())
  }, startLimit)
  report.alive.then(() => clearTimeout(late))
  browser.exited.then((how) => report.fail(`${name} died: ${how}\n${browser.log()}`.trim()))
  try {
    return await report.code
  } finally {
    clearTimeout(late)
  }
}

/** The state of the test in the page. */
class Report {
  constructor() {
    this.alive = new Promise((resolve) => (this.begin = resolve))
    this.code = new Promise((resolve, reject) => {
      this.exit = resolve
      this.fail = (why) => reject(new Error(why))
    })
    this.code.catch(() => {})
  }
}

const html = '<!doctype html><meta charset="utf-8"><title>go test</title><script src="/browser.js"></script>'

function serve(req, res, { config, binary, report }) {
  const url = new URL(req.url, 'http://localhost')
  res.setHeader('Cache-Control', 'no-store')
  // In a page that is isolated from other origins, the clock has a resolution of 5 µs instead of 100.
  res.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
  res.setHeader('Cross-Origin-Embedder-Policy', 'require-corp')
  switch (`${req.method} ${url.pathname}`) {
    case 'GET /':
      return send(res, 'text/html', html)
    case 'GET /config':
      return send(res, 'application/json', JSON.stringify(config))
    case 'GET /browser.js':
      return sendFile(res, 'text/javascript', fileURLToPath(new URL('browser.js', import.meta.url)))
    case 'GET /wasm_exec.js':
      return sendFile(res, 'text/javascript', libWasm('wasm_exec.js'))
    case 'GET /test.wasm':
      return sendFile(res, 'application/wasm', binary)
    case 'GET /alive': // never answered: the connection breaks if the page dies, which the browser itself survives
      report.begin()
      return res.on('close', () => {
        const why = 'the page died: out of memory, or it crashed'
        setTimeout(() => report.fail(why), 500).unref() // unless all of the browser died, which will be known in a moment
      })
    case 'POST /out':
      return req
        .on('data', (chunk) => (url.searchParams.get('fd') === '1' ? process.stdout : process.stderr).write(chunk))
        .on('end', () => res.end())
    case 'POST /exit':
      res.end()
      return report.exit(Number(url.searchParams.get('code')))
    default:
      res.writeHead(404).end()
  }
}

function send(res, type, text) {
  res.setHeader('Content-Type', type)
  res.end(text)
}

function sendFile(res, type, path) {
  res.setHeader('Content-Type', type)
  res.setHeader('Content-Length', statSync(path).size)
  createReadStream(path).pipe(res)
}
