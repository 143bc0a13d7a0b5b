/** TCP connections in the form of peers' streams, so that tests can use real servers and clients. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { fetchFrom } from '../../../src/http/client.js'
import { serveOn, type HttpHandler } from '../../../src/http/server.js'
import type { PeerStream } from '../../../src/types.js'
import { binary, bytes } from './bytes.js'

export const PEER = '12D3KooWDU78xikYC3tf4vMyprye3XW1DH2X3tPrry89EsBNcaDp'

/** Makes a peer's stream of a TCP connection. Its halves end, and it fails, when the connection does. */
export function tcpStream(socket: Socket): PeerStream {
  let over = false
  let failed: Error | undefined
  const readable = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      start(controller) {
        socket.on('data', (data) => {
          if (over) return
          controller.enqueue(new Uint8Array(data as Buffer))
          if ((controller.desiredSize ?? 0) <= 0) socket.pause()
        })
        socket.on('end', () => {
          if (!over) controller.close()
          over = true
        })
        socket.on('error', (error) => (failed = error))
        socket.on('close', () => {
          if (!over) controller.error(failed ?? new Error('the connection was reset'))
          over = true
        })
      },
      pull: () => void socket.resume(),
      cancel: () => void (over = true),
    },
    { highWaterMark: 1 },
  )
  const done = (resolve: () => void, reject: (error: Error) => void) => (error?: Error | null) =>
    error ? reject(error) : resolve()
  const writable = new WritableStream<Uint8Array>({
    start: (controller) =>
      void socket.on('close', () => controller.error(failed ?? new Error('the connection was reset'))),
    write: (chunk) => new Promise<void>((resolve, reject) => void socket.write(chunk, done(resolve, reject))),
    close: () => new Promise<void>((resolve) => void socket.end(resolve)),
  })
  return { readable, writable, peer: PEER, protocol: '/x/test/http', reset: () => void socket.resetAndDestroy() }
}

/** Listens on a free port. Closes the server and its connections at the end of the test. */
export async function listen(server: Server, t: { after(f: () => void): void }): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

export interface Served {
  port: number
  /** What `serveOn` reported. */
  told: unknown[]
}

/** Answers HTTP on a port with `serveOn`. */
export async function serve(t: { after(f: () => void): void }, handler: HttpHandler): Promise<Served> {
  const told: unknown[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.setNoDelay()
    void serveOn(tcpStream(socket), handler, (error) => told.push(error))
  })
  return { port: await listen(server, t), told }
}

/** Works like `node.fetch`, to a server on a port. */
export function fetchPort(port: number, path: string, init?: RequestInit | null): Promise<Response> {
  const open = async () => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    await once(socket, 'connect')
    return tcpStream(socket)
  }
  return fetchFrom(open, PEER, path, init)
}

/** Sends bytes, ends the sending half, and resolves to everything that comes back until the end or a reset. */
export async function exchange(port: number, sent: string): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let all = ''
  socket.on('data', (data) => (all += binary(data as Buffer)))
  socket.on('error', () => {}) // the socket then closes
  socket.end(bytes(sent))
  await new Promise<void>((resolve) => socket.on('close', () => resolve())) // once() would reject on an error
  return all
}

/** Answers every connection with the same bytes once it has received a whole head, and ends it. */
export async function answerWith(t: { after(f: () => void): void }, answer: string): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let got = ''
    socket.on('error', () => {})
    socket.on('data', (data) => {
      got += binary(data as Buffer)
      if (got.includes('\r\n\r\n')) socket.end(bytes(answer))
    })
  })
  return listen(server, t)
}
