// A room of Colyseus with the game of core/world/demo: boats that sail in a square and
// bounce off its sides. A StateView decides what is sent to each client. It follows a
// grid: a boat comes into view at `radius` and leaves it at 1.2 times that. Each tick
// updates the views of a quarter of the players.
//
//	node server.mjs <players> <radius> <size> <input type>
//
// It prints its address and the URL of its statistics, and ends when its standard input
// does.
import { createServer } from 'node:http'

import { Room, Server } from '@colyseus/core'
import { MapSchema, StateView, schema, t } from '@colyseus/schema'
import { WebSocketTransport } from '@colyseus/ws-transport'

const [players, radius, size, inputType] = process.argv.slice(2).map(Number)

const TICK = 50 // ms
const UNITS = 16 // in 1 of the world's unit
const SIDE = size * UNITS - 1
const ENTER = (radius * UNITS) ** 2
const LEAVE = (1.2 * radius * UNITS) ** 2
const CELL = radius * UNITS
const CELLS = Math.floor(SIDE / CELL) + 1
const TURNS = 4 // ticks until every player's view has been updated

const Boat = schema({ x: t.uint16(), y: t.uint16(), hue: t.uint8() }, 'Boat')
const State = schema({ boats: t.map(Boat).view() }, 'State')

// took lists how long each tick took since the last request, in ms.
let took = []

class Harbour extends Room {
  autoDispose = false
  maxClients = players
  patchRate = null // each tick ends with a patch
  state = new State()
  sailors = new Map() // by session
  grid = Array.from({ length: CELLS * CELLS }, () => [])
  ticks = 0

  onCreate() {
    this.state.boats = new MapSchema()
    this.onMessageBytes(inputType, (client, input) => {
      const s = this.sailors.get(client.sessionId)
      s.vx = (input[0] << 24) >> 24
      s.vy = (input[1] << 24) >> 24
    })
    this.setTimestep(() => {
      const from = performance.now()
      this.tick()
      took.push(performance.now() - from)
    }, TICK)
  }

  onJoin(client) {
    const boat = new Boat()
    boat.x = Math.floor(Math.random() * (SIDE + 1))
    boat.y = Math.floor(Math.random() * (SIDE + 1))
    boat.hue = Math.floor(Math.random() * 256)
    this.state.boats.set(client.sessionId, boat)
    client.view = new StateView()
    client.view.add(boat)
    this.sailors.set(client.sessionId, { boat, x: boat.x, y: boat.y, vx: 0, vy: 0, view: client.view, sees: new Set() })
  }

  onLeave(client) {
    const gone = this.sailors.get(client.sessionId)
    this.sailors.delete(client.sessionId)
    for (const s of this.sailors.values()) s.sees.delete(gone)
    this.state.boats.delete(client.sessionId)
  }

  tick() {
    for (const cell of this.grid) cell.length = 0
    for (const s of this.sailors.values()) {
      sail(s)
      this.grid[cellOf(s.x, s.y)].push(s)
    }
    let turn = this.ticks++
    for (const s of this.sailors.values()) {
      if (turn++ % TURNS === 0) this.look(s)
    }
    this.broadcastPatch()
  }

  // look adds near boats to the player's view and removes far ones.
  look(s) {
    for (const other of s.sees) {
      if (distance(s, other) > LEAVE) {
        s.sees.delete(other)
        s.view.remove(other.boat)
      }
    }
    const column = Math.floor(s.x / CELL)
    const row = Math.floor(s.y / CELL)
    for (let r = Math.max(row - 1, 0); r <= Math.min(row + 1, CELLS - 1); r++) {
      for (let c = Math.max(column - 1, 0); c <= Math.min(column + 1, CELLS - 1); c++) {
        for (const other of this.grid[r * CELLS + c]) {
          if (other !== s && !s.sees.has(other) && distance(s, other) <= ENTER) {
            s.sees.add(other)
            s.view.add(other.boat)
          }
        }
      }
    }
  }
}

function cellOf(x, y) {
  return Math.floor(y / CELL) * CELLS + Math.floor(x / CELL)
}

function distance(a, b) {
  return (a.x - b.x) ** 2 + (a.y - b.y) ** 2
}

function sail(s) {
  if (s.vx === 0 && s.vy === 0) return
  ;[s.x, s.vx] = bounce(s.x + s.vx, s.vx)
  ;[s.y, s.vy] = bounce(s.y + s.vy, s.vy)
  s.boat.x = s.x
  s.boat.y = s.y
}

function bounce(at, v) {
  return at < 0 || at > SIDE ? [Math.min(Math.max(at, 0), SIDE), -v] : [at, v]
}

// tell answers with the statistics for the bench: durations in ns, memory in bytes.
function tell(_, response) {
  const { user, system } = process.cpuUsage()
  took.sort((a, b) => a - b)
  const p99 = took[Math.floor(0.99 * took.length)] ?? 0
  took = []
  response.end(
    JSON.stringify({ P99: Math.round(p99 * 1e6), CPU: (user + system) * 1000, Memory: process.memoryUsage.rss() }),
  )
}

function listen(server) {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`127.0.0.1:${server.address().port}`)))
}

const game = createServer()
const server = new Server({
  greet: false,
  gracefullyShutdown: false,
  transport: new WebSocketTransport({ server: game }),
})
server.define('harbour', Harbour)
await server.listen(0, '127.0.0.1')
const control = await listen(createServer(tell))
console.log(`127.0.0.1:${game.address().port} http://${control}/`)
process.stdin.on('end', () => process.exit(0)).resume()
