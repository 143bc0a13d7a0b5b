/** The script of a node's worker, dedicated or shared. Its counterpart in the pages is `page/remote.ts`. */
import { importGo } from './go.js'
import type { Packet } from './wire/wire.js'
import { Connections } from './worker/connections.js'
import { Host } from './worker/host.js'
import { Page } from './worker/page.js'

interface Scope extends Pick<Worker, 'postMessage' | 'onmessage'> {
  readonly name: string
  onconnect?: ((event: MessageEvent) => void) | null
}

/** The port to the WebRTC connections of a page. */
interface Offered {
  readonly connections: MessagePort
}

const scope = globalThis as unknown as Scope
const shared = 'onconnect' in scope
const connections = new Connections()
const host = new Host(shared, (guest) => connections.lose(guest))
importGo().catch(() => {}) // so that it is loaded when the program is; a failure is reported when that starts

if (shared) {
  scope.onconnect = ({ ports }) => {
    const port = ports[0]!
    const page = new Page(port, host, connections)
    port.onmessage = ({ data }: MessageEvent<Packet | Offered>) => {
      if ('connections' in data) connections.take(page, { port: data.connections, awake: () => host.isAwake(page) })
      else page.receive(data)
    }
  }
  // Unlike with a dedicated worker, no page receives these errors.
  addEventListener('error', ({ message }) => host.crashed(`the worker of the node failed: ${message}`))
  takePlace()
} else {
  const page = new Page(scope, host, connections)
  scope.onmessage = ({ data }: MessageEvent<Packet | Offered>) => {
    if ('connections' in data) connections.take(page, { port: data.connections, awake: () => true })
    else page.receive(data)
  }
}

/** Announces this worker as the current one of its name: see `SharedPlace`. A stuck worker ends when it recovers and receives this. */
function takePlace(): void {
  void navigator.locks.request(scope.name, () => new Promise(() => {}))
  const [, name, generation] = /^(.*)#(\d+)$/.exec(scope.name)!
  const mine = Number(generation)
  const channel = new BroadcastChannel(name!)
  channel.onmessage = ({ data }) => {
    if (data > mine) host.replaced()
    else if (data < mine) channel.postMessage(mine) // the sender has started anew and does not know of this worker
  }
  channel.postMessage(mine)
}
