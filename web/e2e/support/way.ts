import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** A path to a program on this machine that can fail as networks do: silently, and only for existing connections. */
export class Way {
  readonly #sockets = new Set<Socket>()
  readonly #flows = new Map<string, UdpSocket>()
  readonly #cut = new Set<string>()
  private constructor(
    /** The address of the program through this path. */
    readonly addr: string,
    readonly stop: () => void,
  ) {}

  static async to(addr: string): Promise<Way> {
    const [, kind, port] = addr.match(/\/(tcp|udp)\/(\d+)/)!
    return kind === 'tcp' ? Way.#tcp(addr, Number(port)) : Way.#udp(addr, Number(port))
  }

  /** Stops all traffic on existing connections without closing them. New connections work. */
  cut(): void {
    for (const socket of this.#sockets) socket.unpipe().pause()
    for (const flow of this.#flows.keys()) this.#cut.add(flow)
  }

  static async #tcp(addr: string, port: number): Promise<Way> {
    const server: Server = createServer((near) => {
      const far = connect(port, '127.0.0.1')
      for (const socket of [near, far]) {
        way.#sockets.add(socket)
        socket.on('error', () => {}).on('close', () => way.#sockets.delete(socket))
      }
      near.pipe(far).pipe(near)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const way = new Way(replacePort(addr, (server.address() as AddressInfo).port), () => {
      way.#sockets.forEach((socket) => socket.destroy())
      server.close()
    })
    return way
  }

  static async #udp(addr: string, port: number): Promise<Way> {
    const server = createSocket('udp4', (packet, from) => {
      const flow = `${from.address}:${from.port}`
      if (way.#cut.has(flow)) return
      let far = way.#flows.get(flow)
      if (far === undefined) {
        far = createSocket('udp4', (back) => {
          if (!way.#cut.has(flow)) server.send(back, from.port, from.address)
        })
        way.#flows.set(flow, far)
      }
      far.send(packet, port, '127.0.0.1')
    })
    server.bind(0, '127.0.0.1')
    await once(server, 'listening')
    const way = new Way(replacePort(addr, server.address().port), () => {
      way.#flows.forEach((far) => far.close())
      server.close()
    })
    return way
  }
}

function replacePort(addr: string, port: number): string {
  return addr.replace(/\/(tcp|udp)\/\d+/, `/$1/${port}`)
}
