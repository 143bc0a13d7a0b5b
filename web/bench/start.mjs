// Measures how long a page takes from the start of the navigation until its node is created and connected to a relay, and its memory then.
//
//   cold       a browser with a new profile, whose caches are all empty
//   second     the same page, loaded again; third: once more. V8 writes its code cache late, so the two differ
//   returning  a new browser with the profile of the two above
//   slow       a new profile again, over 40 ms and 10 Mbit/s; slow-second: loaded again
//   app        the same line, and the node that an app would create: with a relay's URL and a stored key, until it has a reservation on
//              the relay (js-libp2p: with the relay's address and a new key); app-second: loaded again
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { guard } from '../test/guard.mjs'
import { rendererMemory } from './cpu.mjs'
import { addressOf, startLine, startRelay, throughLine } from './far.mjs'

const TRIP_MS = 40
const BITS_PER_SECOND = 10_000_000
/** How long a page is left alone, in ms, before its memory is measured. */
const REST_MS = 6_000
/** How long it is left alone before it is loaded again, in ms: caches are written. */
const PAUSE_MS = 3_000
const MB = 1e6
const MiB = 1 << 20

/** Starts a relay, and lines to it and to the pages. Resolves to the addresses of each transport, and the origin beyond the line. */
export async function startStarts(pages) {
  const relay = await startRelay()
  const addresses = { origin: `http://127.0.0.1:${await startLine(new URL(pages.origin).port, TRIP_MS, BITS_PER_SECOND)}` }
  for (const transport of ['webtransport', 'websocket']) {
    const near = addressOf(relay, transport)
    addresses[transport] = { near, far: await throughLine(near, TRIP_MS, BITS_PER_SECOND) }
  }
  return addresses
}

/** Measures one side over one transport. Yields { load, values, others, error } for each load of its page. */
export async function* measureStart(pages, { origin, ...addresses }, side, transport) {
  const { near, far } = addresses[transport]
  const browsers = [
    [
      { relay: near, loads: ['cold', 'second', 'third'] },
      { relay: near, loads: ['returning'] },
    ],
    [{ relay: far, origin, loads: ['slow', 'slow-second'] }],
    [{ relay: far, origin, loads: ['app', 'app-second'], start: 'app' }],
  ]
  for (const lives of browsers) {
    const profile = mkdtempSync(join(tmpdir(), 'tombolo-bench-profile-'))
    const guarded = guard({ dir: profile })
    for (const life of lives) yield* live(pages, side, transport, { ...life, profile })
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    await guarded()
  }
}

/** Runs one browser, from its start to its end. */
async function* live(pages, side, transport, { relay, loads, start = 'node', profile, origin }) {
  const all = []
  const loaded = async ({ figures }, served, chromium) => {
    const load = loads[all.length]
    const values = { ...figures }
    all.push({ load, values })
    await sleep(load === 'cold' ? REST_MS : PAUSE_MS)
    if (load === 'cold') {
      values.fetched = served / MB
      values['renderer-memory'] = rendererMemory(chromium.process.pid)
    }
    return { again: all.length < loads.length }
  }
  const linear = (bytes) => {
    const { load, values } = all.at(-1)
    if (load === 'cold' && bytes > 0) values['linear-memory'] = bytes / MiB
  }
  const { others, error } = await pages.run(side, transport, { relay, start, targets: [] }, { profile, origin, loaded, linear })
  for (const { load, values } of all) yield { load, values, others }
  if (error) yield { load: loads[all.length] ?? 'end', values: {}, others, error }
}
