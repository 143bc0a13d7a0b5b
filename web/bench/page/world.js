// The page's world, as the page draws it: how long a frame takes to draw, and how far apart frames are. The boat sails in circles.
import { createNode } from '../../dist/npm/index.js'
import { Bots } from '../../page/src/world/bots.ts'
import { Chart } from '../../page/src/world/chart.ts'
import { decodeAnswer, encodeInput, encodePapers, VERSION } from '../../page/src/world/records.ts'
import { Scene } from '../../page/src/world/scene.ts'
import tokens from '../../page/src/style/tokens.css'
import { post, report } from './measure.js'

const { side, transport, plan } = globalThis.bench
const { area, name, host } = plan.world
/** How long to measure, in ms, and how long to wait before that. */
const FOR = 20_000
const FIRST = 4_000
/** The most seats that one peer may have besides its own, by the host's default. */
const BOTS = 31

try {
  document.head.append(Object.assign(document.createElement('style'), { textContent: tokens }))
  const canvas = document.createElement('canvas')
  canvas.style.cssText = 'display:block;width:850px;height:576px' // the size in a wide window
  document.body.append(canvas)
  const options = { relays: [plan.relay], identity: 'ephemeral', transports: [transport], wasm: '/tombolo.wasm' }
  const node = await createNode({ worker: side === 'ours' ? 'dedicated' : side, ...options })
  const data = encodePapers({ name: 'Ann', hue: 0, blind: false, standsBy: false })
  const seat = await node.world.join(name, { host, version: VERSION, data })
  const scene = new Scene(decodeAnswer(seat.answer), seat.hz)
  void (async () => {
    for await (const tick of seat) scene.take(tick, tick.reset ? decodeAnswer(seat.answer) : scene.answer)
  })()
  await new Bots().start(node, name, BOTS)
  const chart = new Chart(canvas, new AbortController().signal)
  setInterval(() => sail(seat, scene), 1000 / seat.hz)
  await frames(scene, chart, FIRST)
  const { draws, gaps, seen } = await frames(scene, chart, FOR)
  await report(`${area}/in-sight`, at(seen, 0.5))
  await report(`${area}/draw-p50`, at(draws, 0.5))
  await report(`${area}/draw-p99`, at(draws, 0.99))
  await report(`${area}/frame-p50`, at(gaps, 0.5))
  await report(`${area}/frame-p99`, at(gaps, 0.99))
  await post('/done', {})
} catch (err) {
  await post('/failed', { error: String(err?.stack ?? err) })
}

function sail(seat, scene) {
  const angle = performance.now() / 700
  const speed = { vx: Math.round(12 * Math.cos(angle)), vy: Math.round(12 * Math.sin(angle)) }
  seat.input(encodeInput(speed.vx, speed.vy)).then((seq) => scene.steer(seq, speed))
}

/** Draws for `ms`. Resolves to how long each frame took to draw, and the time since the frame before it. */
function frames(scene, chart, ms) {
  const [draws, gaps, seen] = [[], [], []]
  const begin = performance.now()
  return new Promise((resolve) => {
    let last
    const frame = (at) => {
      if (last !== undefined) gaps.push(at - last)
      last = at
      const before = performance.now()
      const shown = chart.draw(scene, before, { circles: true, stepping: false }, undefined)
      draws.push(performance.now() - before)
      seen.push(shown.length)
      if (before - begin < ms) requestAnimationFrame(frame)
      else resolve({ draws, gaps, seen })
    }
    requestAnimationFrame(frame)
  })
}

function at(values, part) {
  return values.toSorted((a, b) => a - b)[Math.floor(part * (values.length - 1))]
}
