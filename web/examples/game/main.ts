import { BEHIND, Clock, Path, View, type Room, type Seat } from '@tombolo/node'
import { hue, join } from '../shared/join.js'
import { apply, course, decode, Harbour, SIZE, type Thing, VERSION } from './harbour.js'

const STEP = 2 // in units of the water, for each press of an arrow key
/** How long to look for the room's host, in milliseconds, before this tab hosts the room. */
const LOOK_MS = 1_500

const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const board = $<HTMLCanvasElement>('board')
const name = decodeURIComponent(location.hash.slice(1)) || 'lobby'
const roomName = `examples/game/${name}`
const dark = matchMedia('(prefers-color-scheme: dark)')
const between = (a: Thing, b: Thing, share: number): Thing => ({
  ...b,
  x: a.x + (b.x - a.x) * share,
  y: a.y + (b.y - a.y) * share,
})

let clock = new Clock(20)
let seat: Seat | undefined
let own = -1
let heard = 0
const view = new View<Thing>(decode, apply)
const paths = new Map<number, Path<Thing>>()
const heading = { x: SIZE / 2, y: SIZE / 2, changed: false }

$('room').textContent = name
addEventListener('hashchange', () => location.reload())

board.addEventListener('pointermove', ({ offsetX, offsetY }) =>
  head((offsetX / board.clientWidth) * SIZE, (offsetY / board.clientHeight) * SIZE),
)
board.addEventListener('keydown', ({ key }) => {
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key] ?? [0, 0]
  head(heading.x + dx! * STEP, heading.y + dy! * STEP)
})
requestAnimationFrame(draw)

const node = await join((state) => ($('status').textContent = state))
setInterval(send, 50)
setInterval(tell, 1_000)
for (;;) await play() // until the page is closed

function head(x: number, y: number) {
  heading.x = Math.min(Math.max(x, 0), SIZE)
  heading.y = Math.min(Math.max(y, 0), SIZE)
  heading.changed = true
}

function send() {
  if (seat === undefined || !heading.changed) return
  heading.changed = false
  seat.input(course(heading.x, heading.y)).catch(() => (heading.changed = true)) // the connection is being restored
}

/** Joins the room, or hosts it if nobody does, and plays until it ends. */
async function play() {
  const room = await find()
  try {
    seat = await node.world.join(roomName, { version: VERSION, reconnect: 3_000 })
    own = new DataView(seat.answer.buffer, seat.answer.byteOffset).getUint32(0, true)
    clock = new Clock(seat.hz)
    $('host').textContent = seat.host === node.id ? 'this tab' : `…${seat.host.slice(-6)}`
    for await (const tick of seat) {
      heard += tick.updates.length
      clock.tick(tick.number)
      view.take(tick)
      if (tick.reset) paths.clear()
      for (const entity of tick.left) paths.delete(entity)
      for (const { entity } of tick.updates) follow(entity).add(tick.number, view.get(entity)!)
    }
  } catch (error) {
    $('host').textContent = `nobody: ${(error as Error).message}`
  }
  seat = undefined
  view.clear()
  paths.clear()
  await room?.close()
}

/** Looks for the room's host. If there is none, this tab hosts the room, and gives way to another tab that began at the same time. */
async function find(): Promise<Room | undefined> {
  const rooms = await node.world.list({ name: roomName, wait: LOOK_MS })
  if (rooms.length > 0) return undefined
  return node.world.host(new Harbour(), { name: roomName, version: VERSION, giveWay: true })
}

function follow(entity: number): Path<Thing> {
  let path = paths.get(entity)
  if (path === undefined) paths.set(entity, (path = new Path(between)))
  return path
}

/** Describes the board for people who do not see it. */
function tell() {
  $('rate').textContent = String(heard)
  heard = 0
  const percent = (n: number) => `${Math.round((n / SIZE) * 100)} %`
  const lines = [...view].flatMap(([entity, { x, y, sailor, score }]) => {
    if (sailor === '' || entity === own) return []
    const line = document.createElement('li')
    line.textContent = `${sailor} is at ${percent(x)}, ${percent(y)}, with ${score} buoys`
    return [line]
  })
  $('others').replaceChildren(...lines)
}

function draw() {
  const scale = devicePixelRatio
  const [width, height] = [board.clientWidth, board.clientHeight]
  if (board.width !== Math.round(width * scale) || board.height !== Math.round(height * scale)) {
    board.width = Math.round(width * scale)
    board.height = Math.round(height * scale)
  }
  const context = board.getContext('2d')!
  context.setTransform(scale, 0, 0, scale, 0, 0)
  context.clearRect(0, 0, width, height)
  context.font = '12px system-ui, sans-serif'
  const ink = getComputedStyle(board).color
  const tick = clock.at() - BEHIND
  for (const [entity, path] of paths) {
    const thing = path.at(tick)
    if (thing === undefined) continue
    const [x, y] = [(thing.x / SIZE) * width, (thing.y / SIZE) * height]
    context.beginPath()
    if (thing.sailor === '') {
      context.strokeStyle = ink
      context.arc(x, y, 4, 0, 2 * Math.PI)
      context.stroke()
      continue
    }
    context.fillStyle = entity === own ? ink : `hsl(${hue(thing.sailor)} 70% ${dark.matches ? 70 : 35}%)`
    context.moveTo(x, y - 9)
    context.lineTo(x + 7, y + 7)
    context.lineTo(x - 7, y + 7)
    context.fill()
    context.fillText(`${entity === own ? 'you' : thing.sailor} ${thing.score}`, x + 10, y + 4)
  }
  requestAnimationFrame(draw)
}
