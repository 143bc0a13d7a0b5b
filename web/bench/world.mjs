// A world that a native peer hosts, drawn by the page with hundreds of things in sight.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { atEnd } from '../test/lifetime.mjs'
import { startRelay } from './far.mjs'
import { binary, Daemon, relayAddress } from './rooms.mjs'

const NAME = 'harbour'
const RADIUS = 40
/** The length of each side of the harbour. Its middle is further from the walls than the radius. */
const SIZE = 128

/** Hosts a world in which a player in the middle sees about `inSight` things. Resolves to the plan of a transport. */
export async function startWorld(inSight) {
  const addrs = await startRelay()
  const daemon = new Daemon(relayAddress(addrs, /\/tcp\/\d+\/p2p\//))
  await daemon.start()
  const buoys = Math.round((inSight * SIZE ** 2) / (Math.PI * RADIUS ** 2))
  const flags = { size: SIZE, buoys, radius: RADIUS, visible: 2 * inSight }
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`])
  const host = spawn(binary, ['room', 'host', '--data-dir', daemon.dir, '--demo', ...args, NAME], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(host, 'close')
  atEnd(async () => {
    host.kill('SIGTERM')
    await ended
  })
  const [said] = await once(createInterface(host.stdout), 'line')
  host.stdout.resume()
  return (transport) => ({
    relay: relayAddress(addrs, transport === 'websocket' ? /\/tcp\/\d+\/ws\/p2p\// : /\/webtransport\//),
    targets: [],
    world: { area: `page-world-${transport}/${inSight}-in-sight`, name: NAME, host: said.split(' ').at(-1) },
  })
}
