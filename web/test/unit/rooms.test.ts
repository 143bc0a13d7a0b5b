import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Reader, Writer } from '../../src/binary.js'
import { RoomBoard } from '../../src/world/board.js'
import { Do, Event } from '../../src/world/exchange.js'
import { playing, type Game, type World } from '../../src/world/game.js'
import { decodeTicks, View } from '../../src/world/seat.js'
import { Clock, Path, Prediction } from '../../src/world/smooth.js'

/** A game that records its calls. */
function scribe(told: string[]) {
  let world: World
  const game: Game = {
    start(w) {
      world = w
      world.spawn(1, 2)
    },
    join(player, data) {
      if (data[0] === 0) throw new Error('not you')
      told.push(`join ${player.peer} ${player.number} ${player.spectator}`)
      player.follow(world.spawn(3, 4))
      return new Uint8Array([9])
    },
    input: (player, data) => void told.push(`input ${player.slot} ${data}`),
    tick: (tick) => void told.push(`tick ${tick}`),
    leave: (player, why) => void told.push(`leave ${player.slot} ${why}`),
    whole: (entity) => new Uint8Array([entity, 7]),
    change: (entity) => new Uint8Array([entity]),
  }
  return { game, world: () => world }
}

const text = (s: string) => new TextEncoder().encode(s)
const joining = (events: Writer, slot: number, data: number[], kept = new Uint8Array()) =>
  events
    .byte(Event.join)
    .number(slot)
    .number(5)
    .byte(0)
    .bytes(text('alice'))
    .bytes(new Uint8Array(data))
    .bytes(kept)
    .byte(0)

test('a game is told what happens, in order, and what it does comes back in order', () => {
  const told: string[] = []
  const step = playing(scribe(told).game)
  const events = new Writer().byte(Event.start).byte(0).number(0)
  joining(events, 2, [1])
  events
    .byte(Event.input)
    .number(2)
    .bytes(new Uint8Array([4, 5]))
  events
    .byte(Event.input)
    .number(3)
    .bytes(new Uint8Array([6])) // from an unknown player
  events.byte(Event.tick).number(40).byte(0)
  events.byte(Event.tick).number(40).byte(1)
  events.byte(Event.leave).number(2).bytes(text('lost'))
  const did = new Reader(step(events.take()))
  assert.deepEqual(told, ['join alice 5 false', 'input 2 4,5', 'tick 40', 'tick 40', 'leave 2 lost'])
  const spawned = (entity: number) => {
    assert.equal(did.byte(), Do.spawn)
    assert.equal(did.number(), entity)
    did.number()
    did.number()
  }
  spawned(0)
  spawned(1)
  assert.deepEqual([did.byte(), did.number(), did.number()], [Do.follow, 2, 1])
  assert.deepEqual([did.byte(), did.number(), ...did.bytes()], [Do.seat, 2, 9])
  for (const entity of [0, 1]) {
    assert.deepEqual(
      [did.byte(), did.number(), [...did.bytes()], [...did.bytes()]],
      [Do.record, entity, [entity], [entity, 7]],
    )
  }
  assert.equal(did.more, false)
})

test('a player that the game refuses is told why, and is none', () => {
  const told: string[] = []
  const step = playing(scribe(told).game)
  step(new Writer().byte(Event.start).byte(0).number(0).take())
  const events = joining(new Writer(), 0, [0])
  events.byte(Event.leave).number(0).bytes(text('left'))
  const did = new Reader(step(events.take()))
  assert.deepEqual([did.byte(), did.number(), new TextDecoder().decode(did.bytes())], [Do.refuse, 0, 'not you'])
  assert.deepEqual(told, [])
})

test('a program that begins the room again gets its world, and the game hears that nobody is there', () => {
  const told: string[] = []
  const { game, world } = scribe(told)
  const step = playing(game)
  const events = new Writer().byte(Event.start).byte(0).number(0)
  step(joining(events, 0, [1]).take())
  world().move(0, 8, 9)
  const did = new Reader(step(new Writer().byte(Event.start).byte(0).number(0).take()))
  assert.deepEqual(told.slice(1), ['leave 0 lost'])
  const places = []
  assert.equal(did.byte(), Do.anew)
  while (did.more) {
    assert.equal(did.byte(), Do.spawn)
    places.push(did.number())
    did.number()
    did.number()
  }
  assert.deepEqual(places, [0, 1])
})

/** A game that saves its islands, and for each player the number of visits. */
function atlas() {
  let world!: World
  const islands = new Map<number, number>()
  const visits = new Map<number, number>()
  const game: Game = {
    start(w) {
      world = w
      if (!world.restored) islands.set(world.spawn(1, 2), 7)
      world.keep('round', new Uint8Array([(world.kept('round')?.[0] ?? 0) + 1]))
    },
    join: (player) => void visits.set(player.slot, (player.kept[0] ?? 0) + 1),
    whole: (entity) => new Uint8Array([islands.get(entity)!]),
    change: (entity) => new Uint8Array([islands.get(entity)!]),
    save: (entity) => (islands.has(entity) ? new Uint8Array([islands.get(entity)!]) : undefined),
    restore: (entity, [height]) => void islands.set(entity, height!),
    savePlayer: ({ slot }) => new Uint8Array([visits.get(slot)!]),
  }
  return { game, world: () => world, islands }
}

test('what a game keeps is asked for at once, and nothing that it does is lost by that', () => {
  const { game, world, islands } = atlas()
  const step = playing(game)
  const begun = new Reader(
    step(joining(new Writer().byte(Event.start).byte(0).number(0), 4, [], new Uint8Array([8])).take()),
  )
  assert.deepEqual([begun.byte(), begun.number(), begun.float(), begun.float()], [Do.spawn, 0, 1, 2])
  assert.deepEqual([begun.byte(), new TextDecoder().decode(begun.bytes()), ...begun.bytes()], [Do.keep, 'round', 1])
  islands.set(world().spawn(3, 4), 9)
  const boat = world().spawn(5, 6)
  world().remove(boat)
  const asked = new Writer().byte(Event.save).number(4)
  for (const entity of [0, 1, boat, 77]) asked.number(entity)
  const did = new Reader(step(asked.number(2).number(4).number(5).take()))
  assert.deepEqual([did.byte(), did.number(), ...did.bytes()], [Do.save, 0, 7])
  assert.deepEqual([did.byte(), did.number(), ...did.bytes()], [Do.save, 1, 9])
  assert.deepEqual([did.byte(), did.number(), ...did.bytes()], [Do.savePlayer, 4, 9])
  assert.equal(did.more, false, 'of what is gone, or nobody, nothing is kept')
  const next = new Reader(step(new Writer().byte(Event.tick).number(1).byte(1).take()))
  assert.deepEqual([next.byte(), next.number()], [Do.spawn, 1])
})

test('a world begins with what was kept of it', () => {
  const { game, world, islands } = atlas()
  const step = playing(game)
  const events = new Writer()
    .byte(Event.start)
    .byte(1)
    .number(1)
    .bytes(text('round'))
    .bytes(new Uint8Array([5]))
  for (const [entity, height] of [
    [3, 30],
    [1, 10],
  ]) {
    events
      .byte(Event.restore)
      .number(entity!)
      .float(entity!)
      .float(2)
      .bytes(new Uint8Array([height!]))
  }
  const did = new Reader(step(events.byte(Event.tick).number(1).byte(1).take()))
  assert.deepEqual([did.byte(), new TextDecoder().decode(did.bytes()), ...did.bytes()], [Do.keep, 'round', 6])
  for (const [entity, height] of [
    [3, 30],
    [1, 10],
  ]) {
    const record = [did.byte(), did.number(), ...did.bytes(), ...did.bytes()]
    assert.deepEqual(record, [Do.record, entity, height, height])
  }
  assert.equal(did.more, false)
  assert.equal(world().restored, true)
  assert.deepEqual(world().at(3), { x: 3, y: 2 })
  assert.deepEqual([...islands.keys()], [3, 1])
  assert.deepEqual([world().spawn(0, 0), world().spawn(0, 0), world().spawn(0, 0)].sort(), [0, 2, 4])
})

test('a world has its entities where they were put, and says what cannot be', () => {
  const { game, world } = scribe([])
  playing(game)(new Writer().byte(Event.start).byte(0).number(0).take())
  const entity = world().spawn(5, 6)
  assert.deepEqual(world().at(entity), { x: 5, y: 6 })
  assert.equal(world().size, 2)
  world().remove(entity)
  assert.equal(world().has(entity), false)
  assert.throws(() => world().move(entity, 1, 1), /there is no entity 1/)
  assert.throws(() => world().spawn(NaN, 0), /cannot be at \(NaN, 0\)/)
  assert.throws(() => world().spawn(0, 2 ** 25), RangeError)
  assert.equal(world().spawn(1, 1), entity, 'its number is used again')
})

test('a view is what the ticks have told', () => {
  const writer = new Writer()
  const tick = (
    number: number,
    reset: number,
    left: number[],
    updates: [entity: number, flags: number, data: number[]][],
  ) => {
    for (const n of [number, reset, 3, 12, left.length, ...left, updates.length]) writer.number(n)
    for (const [entity, flags, data] of updates) writer.number(entity).number(flags).bytes(new Uint8Array(data))
    writer.number(1).bytes(new Uint8Array([number]))
  }
  tick(1, 1, [], [[4, 3, [10]], [9, 3, [20]]]) // prettier-ignore
  tick(2, 0, [9], [[4, 0, [5]]])
  const [first, second] = decodeTicks(writer.take())
  assert.deepEqual(first!.updates[0], { entity: 4, isNew: true, whole: true, data: new Uint8Array([10]) })
  assert.deepEqual([second!.number, second!.applied, second!.waited, second!.left], [2, 3, 12, [9]])
  assert.deepEqual(second!.notes, [new Uint8Array([2])])
  const view = new View<number>(
    (data) => data[0]!,
    (was, data) => was + data[0]!,
  )
  view.take(first!)
  assert.deepEqual([...view], [[4, 10], [9, 20]]) // prettier-ignore
  view.take(second!)
  assert.deepEqual([...view], [[4, 15]])
})

test('what is drawn lies between the ticks, and follows those that come early', () => {
  const clock = new Clock(20)
  assert.equal(clock.at(0), 0)
  for (let i = 0; i < 100; i++) clock.tick(1000 + i, i * 50 + (i % 5) * 10)
  assert.ok(Math.abs(clock.at(5000) - 1100) < 0.02)
  const path = new Path<number>((a, b, share) => a + (b - a) * share)
  assert.equal(path.at(1), undefined)
  for (let tick = 0; tick < 20; tick += 2) path.add(tick, 10 * tick)
  assert.deepEqual([17.5, 16, 30, 0].map((at) => path.at(at)), [175, 160, 180, 40]) // prettier-ignore
})

test('a prediction is what the room will tell', () => {
  const prediction = new Prediction<number, number>(0, (at, by) => at + by)
  for (let seq = 1; seq <= 5; seq++) prediction.do(seq, 10)
  prediction.told(20, 2)
  assert.equal(prediction.state, 50)
  prediction.told(25, 3)
  assert.equal(prediction.state, 45)
})

/** Formats what a game does about boards. */
function boardsIn(did: Reader): string[] {
  const all: string[] = []
  const words = () => new TextDecoder().decode(did.bytes())
  while (did.more) {
    const op = did.byte()
    if (op === Do.anew) all.push('anew')
    else if (op === Do.board) all.push(`open ${words()} ${did.byte()} ${did.byte()} ${did.number()}`)
    else if (op === Do.score) all.push(`${did.number()} ${did.byte()} ${words()} ${BigInt.asIntN(64, did.long())}`)
    else assert.fail(`instruction ${op}`)
    if (op === Do.score) assert.ok(Math.abs(Number(did.long()) - Date.now()) < 60_000, 'the moment of the call')
  }
  return all
}

test('a game opens boards, which a new program opens again, and changes them', () => {
  let world!: World
  const game: Game = {
    start(w) {
      world = w
      world.board('today', { period: 'daily', keep: 7 }).add('alice', 5)
      const times = world.board('times', { lowest: true })
      times.improve('bob', -(2 ** 53) + 1)
      times.set('bob', 3)
      times.remove('bob')
    },
    join: () => {},
    whole: () => new Uint8Array(),
    change: () => new Uint8Array(),
  }
  const step = playing(game)
  const start = () => new Reader(step(new Writer().byte(Event.start).byte(0).number(0).take()))
  const open = ['open today 1 0 7', 'open times 0 1 0']
  const scores = ['0 1 alice 5', '1 2 bob -9007199254740991', '1 0 bob 3', '1 3 bob 0']
  assert.deepEqual(boardsIn(start()), [open[0], scores[0], open[1], ...scores.slice(1)])
  assert.equal(world.board('today'), world.board('today'))
  assert.throws(() => world.board('today').add('alice', 0.5), /safe integer/)
  assert.throws(() => world.board('x', { period: 'hourly' as 'daily' }), RangeError)
  assert.deepEqual(boardsIn(start()), ['anew', ...open])
})

test('a board is watched: its lines are yielded when they change, at whoever holds the room', async () => {
  let host = 'h1'
  const asked: unknown[] = []
  const scores = [1, 1, 2, 3]
  const told = (async function* () {
    yield { from: 'h1' }
    yield { from: 'somebody' } // does not host a room
    yield { from: 'h1' }
    host = 'h2'
    yield { from: 'h1' }
    yield { from: 'h2' }
  })()
  let closed = false
  const subscription = Object.assign(told, { close: async () => void (closed = true) })
  const asking = {
    ask: async (...args: unknown[]) => {
      asked.push(args.slice(0, 3))
      return { end: 0, players: 1, lines: [{ rank: 1, peer: 'alice', score: scores.shift()! }] }
    },
    subscribe: async (type: string) => {
      assert.equal(type, 'boards/quay/best')
      return subscription as never
    },
  }
  const board = new RoomBoard(asking, () => host, 'quay', 'best')
  const seen: number[] = []
  for await (const { end, lines } of board.watch({ around: 'alice', each: 1 })) {
    assert.equal(end, null)
    seen.push(lines[0]!.score)
  }
  assert.deepEqual(seen, [1, 2, 3])
  assert.deepEqual(asked[0], ['h1', 'quay', { around: 'alice', each: 1, most: 10, board: 'best' }])
  assert.equal((asked[3] as string[])[0], 'h2')
  assert.ok(closed)
})

test('a game sends a player to another room once, and hears that it stays, or what it brings', (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const east = { room: 'east', host: 'bob' }
  const told: unknown[] = []
  const { game } = scribe([])
  const step = playing({
    ...game,
    join(player) {
      player.walk(east, new Uint8Array()) // the player has no seat yet
      told.push(player.arrived)
    },
    input(player, data) {
      player.ready(east)
      player.walk(east, data)
      told.push(player.walking)
    },
    stays: (player, to, why) => void told.push(player.walking, to, why),
  })
  const area = (events: Writer) => events.bytes(text('east')).bytes(text('bob'))
  const events = new Writer().byte(Event.start).byte(0).number(0)
  step(joining(events, 0, [1]).take())
  const does = (change: (events: Writer) => Writer) => {
    const read = new Reader(step(change(new Writer()).take()))
    const done: unknown[] = []
    while (read.more) {
      const op = read.byte() as Do
      const to = [read.number(), ...[1, 2].map(() => new TextDecoder().decode(read.bytes()))]
      done.push(op === Do.walk ? [op, ...to, ...read.bytes()] : [op, ...to])
    }
    return done
  }
  const input = (events: Writer) =>
    events
      .byte(Event.input)
      .number(0)
      .bytes(new Uint8Array([7]))
  const both = [
    [Do.ready, 0, 'east', 'bob'],
    [Do.walk, 0, 'east', 'bob', 7],
  ]
  assert.deepEqual(does(input), both)
  assert.deepEqual(does(input), [], 'it is on its way')
  const stays = (events: Writer) => area(events.byte(Event.stays).number(0)).bytes(text('full'))
  assert.deepEqual(does(stays), [])
  assert.deepEqual(does(input), both.slice(0, 1), 'not at once')
  now = 2000
  assert.deepEqual(does(input), both)
  assert.deepEqual(told, [undefined, true, true, false, east, 'full', false, true])

  told.length = 0
  const arrived = joining(new Writer(), 1, [1]).take().slice(0, -1)
  const more = area(new Writer().byte(1))
    .bytes(new Uint8Array([5]))
    .take()
  step(new Uint8Array([...arrived, ...more]))
  assert.deepEqual(told, [{ ...east, state: new Uint8Array([5]) }])
})

test('a clock begins anew in the room that the player walked to', () => {
  const clock = new Clock(20)
  for (let number = 1000; number < 1010; number++) clock.tick(number, (number - 1000) * 50)
  clock.tick(7, 500)
  assert.ok(Math.abs(clock.at(500) - 7) < 0.01)
  clock.tick(5000, 550)
  assert.ok(Math.abs(clock.at(550) - 5000) < 0.01)
})
