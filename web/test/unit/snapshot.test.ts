import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Rest } from '../../src/rest.js'
import { type Holder, restore, snapshotOf } from '../../src/snapshot.js'

/** Returns a module that consists of custom sections only. */
function moduleWith(sections: Record<string, string>): WebAssembly.Module {
  const bytes = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
  for (const [name, text] of Object.entries(sections)) {
    const [n, t] = [name, text].map((s) => [...new TextEncoder().encode(s)]) as [number[], number[]]
    const body = [n.length, ...n, ...t]
    bytes.push(0, (body.length & 0x7f) | 0x80, body.length >> 7, ...body)
  }
  return new WebAssembly.Module(new Uint8Array(bytes))
}

const instance = (reseed = () => {}) =>
  ({ exports: { mem: new WebAssembly.Memory({ initial: 1 }), reseed } }) as unknown as WebAssembly.Instance

test('what a program had of JavaScript is had again, its own globals first, and its randomness is its own', () => {
  let seeded = 0
  const go = { made: (n: number) => ({ n }) } as unknown as Holder
  const globals: Record<string, unknown> = { fs: { constants: 'its own' }, Math: 'its own' }
  const values = [
    [
      7,
      2,
      [
        'new',
        8,
        [
          ['f', 9],
          ['kind', { value: 'x' }],
          ['none', { value: null }],
        ],
      ],
    ], // made from a later one
    [8, 1, ['get', 5, 'Object']],
    [9, 1, ['call', 6, 'made', [{ value: 3 }]]],
    [11, 1, ['get', ['get', 5, 'fs'], 'constants']],
    [12, 1, ['get', 5, 'Math']],
    [13, 1, ['get', 8, 'prototype']],
  ]
  const section = JSON.stringify({ values, globals: [['api', 7]], free: [10] })
  const snapshot = snapshotOf(moduleWith({ 'tombolo.snapshot': section }))!
  restore(
    go,
    instance(() => seeded++),
    snapshot,
    globals,
  )
  assert.deepEqual(globals['api'], { f: { n: 3 }, kind: 'x', none: null })
  assert.equal(go._values![7], globals['api'])
  assert.equal(go._values![8], Object)
  assert.deepEqual(go._values!.slice(11), ['its own', 'its own', Object.prototype])
  assert.equal(go._ids.get(Object), 8)
  assert.deepEqual(go._goRefCounts.slice(5), [Infinity, Infinity, 2, 1, 1, , 1, 1, 1])
  assert.deepEqual(go._idPool, [10])
  assert.equal(seeded, 1)
})

test('a platform that lacks what a program had when it was built is told', () => {
  const values = [[7, 1, ['get', 5, 'ThisPlatformHasNoSuchThing']]]
  const section = JSON.stringify({ values, globals: [], free: [] })
  const snapshot = snapshotOf(moduleWith({ 'tombolo.snapshot': section }))!
  assert.throws(() => restore({} as Holder, instance(), snapshot, {}), {
    code: 'unsupported',
    message: /ThisPlatformHasNoSuchThing/,
  })
})

test('a program that begins at its start has no snapshot', () => {
  assert.equal(snapshotOf(moduleWith({})), undefined)
})

const url = new URL('https://example.com/program.rest.wasm')

test('the rest of a program in one file is never asked for', async () => {
  const rest = new Rest(moduleWith({}), { url, compile: () => Promise.reject(new Error('asked for')), ahead: true })
  await rest.join(instance(), {})
  rest.ahead()
  await rest.load()
})

test('the rest of a program is of its build, or it is refused, and asked for again', async () => {
  const files = [moduleWith({ 'tombolo.rest': 'b' }), moduleWith({}), moduleWith({ 'tombolo.rest': 'a' })]
  const rest = new Rest(moduleWith({ 'tombolo.rest': 'a' }), { url, compile: async () => files.shift()!, ahead: true })
  for (let i = 0; i < 2; i++) {
    await assert.rejects(rest.join(instance(), {}), {
      code: 'wasm-invalid',
      message: /program\.rest\.wasm.*same build/,
    })
  }
  await rest.join(instance(), {})
  await rest.load()
  assert.equal(files.length, 0)
})

test('where a program may wait, the rest of it is compiled when it is wanted, and is fetched ahead only if told to', async () => {
  const asked: string[] = []
  const right = moduleWith({ 'tombolo.rest': 'a' })
  const compile = async () => (asked.push('ahead'), right)
  const compileNow = () => (asked.push('now'), right)
  const program = moduleWith({ 'tombolo.rest': 'a' })
  const one = new Rest(program, { url, compile, compileNow, ahead: false })
  await one.join(instance(), {})
  one.ahead()
  assert.deepEqual(asked, [])
  one.imports.load()
  assert.deepEqual(asked, ['now'])
  const other = new Rest(program, { url, compile, compileNow, ahead: true })
  await other.join(instance(), {})
  other.ahead()
  await other.load()
  assert.deepEqual(asked, ['now', 'ahead'])
})

test('a program in two files that was given one says so', async () => {
  const rest = new Rest(moduleWith({ 'tombolo.rest': 'a' }), undefined)
  await assert.rejects(rest.join(instance(), {}), { code: 'wasm-invalid', message: /two files/ })
})
