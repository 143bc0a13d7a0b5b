// Measures a tab that runs Tombolo next to one that runs js-libp2p: the same Chromium, the same relay, the same far side.
//
//   node web/bench/run.mjs [--runs 3] [--side ours|none|shared|js-libp2p] [--transport webtransport|websocket] [--direct] [--far 20,100,300]
//   node web/bench/run.mjs --start [--runs 5] [--side ours|none|shared|js-libp2p] [--transport webtransport|websocket]
//   node web/bench/run.mjs --rooms 10,25,50 [--seats 1] [--runs 3] [--side ours|none|shared] [--transport webtransport|websocket]
//   node web/bench/run.mjs --tabs [--runs 3] [--side ours|js-libp2p|raw-channel|circuit] [--transport webtransport|websocket]
//   node web/bench/run.mjs --soak 60 [--runs 1] [--side ours|none|shared|js-libp2p] [--transport webtransport|websocket]
//   node web/bench/run.mjs --world 500 [--runs 3] [--side ours|none|shared] [--transport webtransport|websocket]
//
// "ours" has its node in a dedicated worker, which is the default; "none" and "shared" have it in the page and in a shared worker.
//
// Nothing drives the pages: they measure themselves, and report. Each run has a fresh Chromium.
//
//   --direct   leaves out transfers through the relay
//   --start    measures how long a page takes to connect, and how much memory it uses then; see start.mjs
//   --far      measures transfers only, with the far side this many milliseconds away
//   --rooms    measures rooms that a tab hosts for this many native players, with --seats seats behind each connection, up to the first
//              number that is too many; see rooms.mjs
//   --tabs     measures transfers between two tabs, each in its own browser: ours directly, js-libp2p's /webrtc, bare data channels (the
//              ceiling), and ours through the relay; --transport is the transport to the relay
//   --soak     measures the memory of a page that receives messages and opens streams for this many minutes; see soak.mjs
//   --world    measures how the page draws a world with this many things in sight; see world.mjs
//
// The lines that begin with "bench" are medians; a ratio above 1 means that ours is better.
import { parseArgs } from 'node:util'
import { finish, runToEnd } from '../test/lifetime.mjs'
import { bundle } from './bundle.mjs'
import { addressOf, startFarSide, startMessenger, startRelay } from './far.mjs'
import { Figures } from './figures.mjs'
import { Pages } from './page.mjs'
import { held, startRooms } from './rooms.mjs'
import { Memory, startSoak } from './soak.mjs'
import { measureStart, startStarts } from './start.mjs'
import { startWorld } from './world.mjs'

const MiB = 1 << 20
const sides = ['ours', 'none', 'shared', 'js-libp2p']
const transports = ['webtransport', 'websocket']

const figures = new Figures()
const failures = []
let busiest = 0

runToEnd('bench', async () => {
  const { values: flags } = parseArgs({
    options: {
      runs: { type: 'string', default: '3' },
      side: { type: 'string', multiple: true },
      transport: { type: 'string', multiple: true },
      start: { type: 'boolean', default: false },
      direct: { type: 'boolean', default: false },
      far: { type: 'string', default: '' },
      rooms: { type: 'string', default: '' },
      seats: { type: 'string', default: '1' },
      world: { type: 'string', default: '' },
      soak: { type: 'string', default: '' },
      tabs: { type: 'boolean', default: false },
    },
  })
  flags.side ??= flags.tabs ? ['ours', 'raw-channel', 'js-libp2p', 'circuit'] : flags.start || flags.soak ? ['ours', 'js-libp2p'] : sides
  flags.transport ??= flags.start || flags.tabs || flags.soak ? ['webtransport'] : transports
  if (flags.rooms || flags.world) flags.side = flags.side.filter((side) => side !== 'js-libp2p') // js-libp2p has no rooms
  const prepare = [
    [flags.start, starts],
    [flags.rooms, rooms],
    [flags.world, world],
    [flags.tabs, tabs],
    [flags.soak, soak],
    [true, transfers],
  ].find(([wanted]) => wanted)[1]
  const measure = await prepare(flags)
  for (let run = 1; run <= Number(flags.runs); run++) {
    for (const transport of flags.transport) {
      const order = run % 2 ? flags.side : flags.side.toReversed() // each side goes first equally often
      for (const side of order) await measure(run, side, transport)
    }
  }
  for (const line of figures.lines()) console.log(line)
  if (busiest > 0.1)
    console.log(`others took up to ${percent(busiest)} of the machine: these figures say less than on a quiet one`)
  await finish(failures.length ? 1 : 0, failures.join('\n'))
})

/** Prepares the measurements of bytes, streams and messages. Resolves to a function that measures one side over one transport. */
async function transfers(flags) {
  const messenger = await startMessenger()
  const flood = ({ peer, type, count, size }) => messenger.flood(peer, type, count, size)
  const tunnel = ({ peer, bytes }) => messenger.throughput(peer, bytes)
  const pages = new Pages(await bundle(flags.side), { flood, tunnel })
  await pages.listen()
  const trips = numbers(flags.far)
  const addresses = await startFarSide(trips)
  return async (run, side, transport) => {
    const plans = trips.length
      ? trips.map((trip) => farPlan(addresses, transport, trip, flags))
      : [nearPlan(addresses, messenger, transport, flags)]
    for (const plan of plans) {
      const what = `run ${run}, ${side} over ${transport}`
      const { error } = await take(pages, side, transport, plan, what)
      if (error) failures.push(`${what}: ${error}`)
    }
  }
}

/** Does the same for starts. */
async function starts(flags) {
  const pages = new Pages(await bundle(flags.side), {})
  await pages.listen()
  const addresses = await startStarts(pages)
  return async (run, side, transport) => {
    for await (const { load, values, others, error } of measureStart(pages, addresses, side, transport)) {
      const what = `run ${run}, ${side} over ${transport}, ${load}`
      for (const [name, value] of Object.entries(values)) figures.add(`start-${transport}-${load}/${name}`, side, value)
      busiest = Math.max(busiest, others ?? 0)
      note(what, error ?? values, others)
      if (error) failures.push(`${what}: ${error}`)
    }
  }
}

/** Does the same for rooms: more and more players, each number in a fresh page, until the room no longer runs as it should. */
async function rooms(flags) {
  const { bots, plans } = await startRooms(numbers(flags.rooms), Number(flags.seats))
  const pages = new Pages(await bundle(flags.side, 'rooms'), { bots })
  await pages.listen()
  return async (run, side, transport) => {
    let most = 0
    for (const plan of plans(transport)) {
      const what = `run ${run}, ${side} over ${transport}, ${plan.room.players} players`
      const outcome = await take(pages, side, transport, plan, what)
      await bots.leave()
      if (outcome.error && most === 0) failures.push(`${what}: ${outcome.error}`)
      if (outcome.error || !held(plan.room, outcome.figures)) break
      most = plan.room.players
    }
    figures.add(`${plans(transport)[0].room.ladder}/players`, side, most)
  }
}

/** Does the same for a world that the page draws. */
async function world(flags) {
  const plan = await startWorld(Number(flags.world))
  const pages = new Pages(await bundle(flags.side, 'world'), {})
  await pages.listen()
  return async (run, side, transport) => {
    const what = `run ${run}, ${side} over ${transport}, ${flags.world} in sight`
    const { error } = await take(pages, side, transport, plan(transport), what)
    if (error) failures.push(`${what}: ${error}`)
  }
}

/** Does the same for the memory of a page over a long time. */
async function soak(flags) {
  const { messenger, plan } = await startSoak(Number(flags.soak))
  const flood = ({ peer, type, count, size }) => messenger.flood(peer, type, count, size)
  const pages = new Pages(await bundle(flags.side), { flood })
  await pages.listen()
  return async (run, side, transport) => {
    const memory = new Memory(`soak-${transport}`)
    const what = `run ${run}, ${side} over ${transport}, ${flags.soak} minutes`
    const { error } = await take(pages, side, transport, plan(transport), what, memory)
    if (error) failures.push(`${what}: ${error}`)
  }
}

/** Does the same for two tabs. */
async function tabs(flags) {
  const pages = new Pages(await bundle(flags.side, 'tabs'), {})
  await pages.listen()
  const relay = await startRelay()
  return async (run, side, transport) => {
    const what = `run ${run}, ${side} between two tabs`
    const plan = { relay: addressOf(relay, transport), tabs: true, targets: [] }
    const { error } = await take(pages, side, transport, plan, what)
    if (error) failures.push(`${what}: ${error}`)
  }
}

/** Runs one page, and keeps its figures. */
async function take(pages, side, transport, plan, what, memory) {
  const outcome = await pages.run(side, transport, plan, { memory: (...args) => memory.measure(...args) })
  Object.assign(outcome.figures, memory?.figures())
  for (const [name, value] of Object.entries(outcome.figures)) {
    const [figure, contender = side] = name.split('@')
    figures.add(figure.includes('/') ? figure : `tab-${transport}/${figure}`, contender, value)
  }
  busiest = Math.max(busiest, outcome.others ?? 0)
  note(what, outcome.error ?? outcome.figures, outcome.others)
  return outcome
}

function nearPlan(addresses, messenger, transport, { direct: directOnly }) {
  const { relay, direct, circuit } = addresses[transport]
  const area = `tab-${transport}`
  const targets = [{ area, address: direct, bytes: 64 * MiB, rounds: 500, opens: 300 }]
  if (!directOnly) targets.push({ area: `${area}-relayed`, address: circuit, bytes: 16 * MiB, rounds: 500, opens: 100 })
  const messages = { area: `${area}-messages`, address: messenger.address, type: 'flood', count: 200_000, size: 128 }
  const tunnel = { area: `${area}-tunnel`, address: messenger.address, bytes: 64 * MiB }
  return { relay, targets, ...(transport === 'webtransport' && { messages, tunnel }) }
}

function farPlan(addresses, transport, trip, { direct: directOnly }) {
  const { relay, direct, circuit } = addresses[transport].far[trip]
  const of = (area, address) => ({ area: `${area}-${trip}ms`, address, bytes: 16 * MiB, rounds: 0, opens: 0 })
  const targets = [of(`far-tab-${transport}`, direct)]
  if (!directOnly) targets.push(of(`far-tab-${transport}-relayed`, circuit))
  return { relay, targets }
}

function note(who, what, others) {
  const busy = others === undefined ? '' : ` (others took ${percent(others)} of the machine)`
  const text =
    typeof what === 'string'
      ? what
      : Object.entries(what)
          .map(([k, v]) => `${k.split('/').at(-1)} ${v.toFixed(v < 10 ? 2 : 0)}`)
          .join(', ')
  console.error(`${who}${busy}: ${text}`)
}

function numbers(list) {
  return list.split(',').filter(Boolean).map(Number)
}

const percent = (share) => `${(share * 100).toFixed(0)} %`
