import { createReadStream, existsSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'

const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
}

/** Serves a folder like any web server. */
export class StaticServer {
  private constructor(
    readonly server: Server,
    readonly url: string,
  ) {}

  static async start(root: string): Promise<StaticServer> {
    const server = createServer((request, response) => {
      let path = join(root, decodeURIComponent(new URL(request.url!, 'http://localhost').pathname))
      if (path.endsWith('/')) path += 'index.html'
      if (existsSync(path) && statSync(path).isFile()) {
        response.setHeader('content-type', TYPES[extname(path)] ?? 'text/plain')
        createReadStream(path).pipe(response)
      } else {
        response.writeHead(404).end()
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new StaticServer(server, `http://localhost:${(server.address() as AddressInfo).port}/`)
  }

  stop(): void {
    this.server.closeAllConnections()
    this.server.close()
  }
}
