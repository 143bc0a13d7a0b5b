// A Tombolo tab that hosts a room in which native bots play through the relay. The game runs on the page's thread. The room runs in the
// node's worker, or also on that thread if the side is `none`.
import { createNode } from '../../dist/npm/index.js'
import { Harbour } from '../../page/src/world/harbour.ts'
import { VERSION } from '../../page/src/world/records.ts'
import { post, report, watchStalls } from './measure.js'

const { side, transport, plan } = globalThis.bench
const { area, name, players, links } = plan.room
const worker = side === 'ours' ? 'dedicated' : side
/** The same as in `tombolo room host --demo`. */
const harbour = { size: 256, sight: 40, sightEnd: 48, buoys: 50 }

try {
  const node = await join()
  const room = await node.world.host(new Harbour(harbour), { name, version: VERSION, radius: harbour.sight, players })
  await post('/bots', { peer: node.id, players, links })
  const stall = watchStalls()
  const tasks = watchLongTasks()
  const { seenP99 } = await (await post('/seen', {})).json()
  const stats = await room.stats()
  await report(`${area}/longest-stall`, stall())
  await report(`${area}/longest-task`, tasks())
  await report(`${area}/tick-p99`, stats.p99)
  await report(`${area}/input-to-seen-p99`, seenP99)
  await report(`${area}/seated`, stats.players - stats.away)
  await post('/done', {})
} catch (err) {
  await post('/failed', { error: String(err?.stack ?? err) })
}

/** Creates a node that others can reach through the relay. */
async function join() {
  const options = { relays: [plan.relay], identity: 'ephemeral', transports: [transport], wasm: '/tombolo.wasm' }
  const node = await createNode({ worker, ...options })
  if (node.worker !== worker) throw new Error(`the node runs in ${node.worker}, not in ${worker}`)
  if ((await node.relays()).length === 0) {
    await new Promise((resolve) => node.addEventListener('relay:reserved', resolve, { once: true }))
  }
  return node
}

/** Watches for the longest task of the page's thread, in milliseconds. Browsers report only tasks of 50 ms or more: without one it is 0. */
function watchLongTasks() {
  let longest = 0
  const note = (list) => {
    for (const { duration } of list) longest = Math.max(longest, duration)
  }
  const observer = new PerformanceObserver((list) => note(list.getEntries()))
  observer.observe({ type: 'longtask' })
  return () => {
    note(observer.takeRecords())
    observer.disconnect()
    return longest
  }
}
