// A world that a native peer holds, as the page draws it, with hundreds of things in sight.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { atEnd } from '../test/lifetime.mjs'
import { startRelay } from './far.mjs'
import { binary, Daemon, relayAddress } from './rooms.mjs'

const NAME = 'harbour'
const RADIUS = 40
/** The side of the harbour, whose middle is farther than the radius from the walls. */
const SIZE = 128

/** Holds a world in which one sees about so many things from the middle. Resolves to the plan of a transport. */
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
