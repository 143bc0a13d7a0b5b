import assert from 'node:assert/strict'
import { test } from 'node:test'
import { creator, TomboloNode } from '../../src/node.js'
import { callWhile } from '../../src/program.js'

const reason = new Error('the reason')
const aborted = { signal: AbortSignal.abort(reason) }
const coded = (code: string, message: RegExp) => ({ name: 'TomboloError', code, message })

/** A node of a program that does everything at once, and the names of the calls that the program got. */
function node() {
  const got: string[] = []
  const raw = new Proxy(new EventTarget(), {
    get(target, name) {
      if (name === 'addEventListener') return target.addEventListener.bind(target)
      const answer = { type: 'chat', next: async () => null, close: async () => {}, about: async () => ({}) }
      return (...args: unknown[]) => (got.push([name, ...args.slice(0, 1)].join(' ')), Promise.resolve(answer))
    },
  })
  const { signal: ended } = new AbortController()
  const program = { ended, call: (f: () => Promise<unknown>, signal?: AbortSignal) => callWhile(ended, f, signal) }
  return { node: new TomboloNode(raw as never, program as never, new AbortController()), got }
}

/** The calls whose options are looked at before the program gets them. */
const calls = (node: TomboloNode) => ({
  subscribe: (options: never) => node.subscribe('chat', options),
  presence: (options: never) => node.presence('chat', options),
  join: (options: never) => node.world.join('room', options),
  watch: (options: never) => node.world.watch(options),
  board: (options: never) => node.world.board('peer', 'room', 'board').watch({}, options).next(),
})

test('options and signals of the wrong kind are refused with a code', async () => {
  const { node: one, got } = node()
  for (const call of Object.values(calls(one))) {
    await assert.rejects(call(null as never), coded('argument', /options must be an object, not null/))
    await assert.rejects(call({ signal: 5 } as never), coded('argument', /option signal must be an AbortSignal/))
  }
  for (const name of ['presence', 'board'] as const) {
    await assert.rejects(calls(one)[name]({ signl: 1 } as never), coded('argument', /unknown option "signl"/))
  }
  assert.deepEqual(got, [])
  const createNode = creator({ program: 'https://a.example/a.wasm', rest: 'https://a.example/a.wasm' }, {} as never)
  await assert.rejects(createNode(null as never), coded('option', /options must be an object/))
  await assert.rejects(createNode({ signal: 5 } as never), coded('option', /option signal must be/))
  await assert.rejects(createNode({ signal: null, worker: 'x' } as never), coded('option', /^worker:/))
  await assert.rejects(createNode(aborted), reason)
})

test('a signal is known by its members', async () => {
  const signal = { aborted: false, reason, addEventListener() {}, removeEventListener() {} } as never
  for (const call of Object.values(calls(node().node))) await call({ signal } as never)
  const createNode = creator({ program: 'https://a.example/a.wasm', rest: 'https://a.example/a.wasm' }, {} as never)
  await assert.rejects(createNode({ signal, worker: 'x' } as never), coded('option', /^worker:/))
})

test('a call whose signal has aborted is not made', async () => {
  const { node: one, got } = node()
  for (const call of Object.values(calls(one))) await assert.rejects(call(aborted as never), reason)
  const bytes = new Uint8Array(1)
  for (const made of [
    one.connect('peer', aborted),
    one.send('peer', 'chat', bytes, aborted),
    one.sendAll(['peer'], 'chat', bytes, aborted),
    one.sendTo('every', 'chat', bytes, aborted),
    one.open('peer', '/x/a', aborted),
    one.services(aborted),
    one.world.list(aborted),
  ]) {
    await assert.rejects(made, reason)
  }
  assert.deepEqual(got, [])
})
