import { hue, join } from '../shared/join.js'

const SEND_MS = 50 // 20 times a second
const STEP = 0.02 // of the board, for an arrow key
const GONE_MS = 5_000 // who says nothing for so long has left: a tab that is closed cannot always say so

interface Player {
  /** Where it is drawn, and where it said it is: from 0 to 1. */
  x: number
  y: number
  toX: number
  toY: number
  /** When it was last heard. */
  at: number
}

const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const board = $<HTMLCanvasElement>('board')
const room = decodeURIComponent(location.hash.slice(1)) || 'lobby'
const type = `examples/game/${room}`
const still = matchMedia('(prefers-reduced-motion: reduce)')
const dark = matchMedia('(prefers-color-scheme: dark)')
const others = new Map<string, Player>()
const me: Player = { x: 0.5, y: 0.5, toX: 0.5, toY: 0.5, at: 0 }
let heard = 0

$('room').textContent = room
addEventListener('hashchange', () => location.reload())

// The board is drawn from the first moment on, whether or not the node is there.
board.addEventListener('pointermove', ({ offsetX, offsetY }) =>
  move(offsetX / board.clientWidth, offsetY / board.clientHeight),
)
board.addEventListener('keydown', ({ key }) => {
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key] ?? [0, 0]
  move(me.toX + dx! * STEP, me.toY + dy! * STEP)
})
requestAnimationFrame(draw)

const node = await join((state) => ($('status').textContent = state))

// A position is worth nothing once there is a newer one, so no more than the newest of each player waits to be read.
const positions = await node.subscribe(type, { policy: 'latest-per-sender' })
void hear()
setInterval(send, SEND_MS)
setInterval(tell, 1_000)

function move(x: number, y: number) {
  me.toX = Math.min(Math.max(x, 0), 1)
  me.toY = Math.min(Math.max(y, 0), 1)
}

/** Eight bytes: two numbers. */
function send() {
  const bytes = new Uint8Array(Float32Array.of(me.toX, me.toY).buffer)
  node.broadcast(type, bytes).catch(() => {}) // nobody is there
}

async function hear() {
  for await (const { from, data } of positions) {
    if (from === node.id || data.byteLength !== 8) continue
    heard++
    const [x, y] = new Float32Array(data.buffer, data.byteOffset, 2) as unknown as [number, number]
    const player = others.get(from)
    const at = performance.now()
    if (player === undefined) others.set(from, { x, y, toX: x, toY: y, at })
    else Object.assign(player, { toX: x, toY: y, at })
  }
}

/** For those who do not see the board. */
function tell() {
  $('rate').textContent = String(heard)
  heard = 0
  for (const [peer, { at }] of others) if (performance.now() - at > GONE_MS) others.delete(peer)
  const percent = (n: number) => `${Math.round(n * 100)} %`
  const lines = [...others].map(([peer, { toX, toY }]) => {
    const line = document.createElement('li')
    line.textContent = `${peer.slice(-6)} is at ${percent(toX)}, ${percent(toY)}`
    return line
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
  const ink = getComputedStyle(board).color
  for (const [peer, player] of others)
    cursor(player, `hsl(${hue(peer)} 70% ${dark.matches ? 70 : 35}%)`, peer.slice(-6), 0.25)
  cursor(me, ink, 'you', 1)
  requestAnimationFrame(draw)

  /** What came 20 times a second is drawn 60 times: each frame goes a part of the way. */
  function cursor(player: Player, colour: string, name: string, part: number) {
    const speed = still.matches ? 1 : part
    player.x += (player.toX - player.x) * speed
    player.y += (player.toY - player.y) * speed
    const [x, y] = [player.x * width, player.y * height]
    context.fillStyle = colour
    context.beginPath()
    context.moveTo(x, y)
    context.lineTo(x + 5, y + 16)
    context.lineTo(x + 9, y + 9)
    context.lineTo(x + 16, y + 5)
    context.fill()
    context.font = '12px system-ui, sans-serif'
    context.fillText(name, x + 14, y + 20)
  }
}
