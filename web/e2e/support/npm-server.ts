import { createReadStream, existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { crashWasm } from './binaries.js'

const root = fileURLToPath(new URL('../../dist/npm', import.meta.url))
const TYPES: Record<string, string> = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' }

/** Serves the built package to an empty page, without a bundler and without the relay's page. */
export class NpmServer {
  readonly #server: Server
  /** What pages have posted to /told, since they may be gone by the time it is checked. */
  readonly told: string[] = []
  private constructor(
    server: Server,
    readonly url: string,
  ) {
    this.#server = server
  }

  static async start(): Promise<NpmServer> {
    const server = createServer((request, response) => {
      if (request.method === 'POST') {
        void text(request).then((told) => npm.told.push(told))
        response.writeHead(204).end()
        return
      }
      const { pathname } = new URL(request.url!, 'http://localhost')
      const path = pathname === '/crash.wasm' ? crashWasm : root + pathname
      if (pathname === '/') {
        response.setHeader('content-type', 'text/html').end('<!doctype html><title>empty</title>')
      } else if (existsSync(path)) {
        response.setHeader('content-type', TYPES[extname(path)] ?? 'text/plain')
        createReadStream(path).pipe(response)
      } else {
        response.writeHead(404).end()
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const npm = new NpmServer(server, `http://localhost:${(server.address() as AddressInfo).port}/`)
    return npm
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}
