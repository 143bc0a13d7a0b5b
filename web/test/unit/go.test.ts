import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test, type TestContext } from 'node:test'
import { startGo } from '../../src/go.js'

const program = new WebAssembly.Module(await readFile(new URL('../../crash.wasm', import.meta.url)))
const { Object } = globalThis // the tests replace the global
const never = () => assert.fail('the program ended')

/** The globals that Go and its wasm_exec.js look for, and those that they set. */
const NAMES = ['fs', 'process', 'path', 'Go', 'tombolo', 'crypto', 'performance', 'TextEncoder', 'TextDecoder']
const CONSTRUCTORS = ['Object', 'Array', 'Uint8Array', 'Date']

/** Puts something under names of the global object while the function runs, and checks that it is still there afterwards. */
async function occupied(names: string[], descriptor: PropertyDescriptor, f: () => Promise<void>): Promise<void> {
  const before = names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const)
  for (const name of names)
    Object.defineProperty(globalThis, name, { enumerable: false, ...descriptor, configurable: true })
  let after: PropertyDescriptor[]
  try {
    await f()
  } finally {
    after = names.map((name) => Object.getOwnPropertyDescriptor(globalThis, name)!)
    for (const [name, was] of before) {
      if (was === undefined) delete (globalThis as Record<string, unknown>)[name]
      else Object.defineProperty(globalThis, name, was)
    }
  }
  for (const found of after) assert.deepEqual({ ...found }, { enumerable: false, ...descriptor, configurable: true })
}

const start = async () => {
  const { value } = await startGo(program, 'tombolo', never)
  const api = value as { version: string; createNode(): Promise<{ id: string }> }
  assert.equal(api.version, 'crash')
  assert.equal((await api.createNode()).id, 'nobody')
}

test('a program starts whatever is under the names that Go looks for, and leaves it there', async () => {
  const thrown = () => assert.fail('it was read')
  for (const [names, descriptor] of [
    [NAMES, { value: { env: {} }, writable: true }],
    [NAMES, { value: { env: {} }, writable: false }],
    [NAMES, { value: undefined, writable: true }],
    [NAMES.slice(0, 5), { get: thrown, set: thrown }],
    [CONSTRUCTORS, { value: class {}, writable: true }],
  ] as [string[], PropertyDescriptor][]) {
    await start() // Node.js itself needs some of these globals to import the glue
    await occupied(names, descriptor, start)
  }
})

test('a program that starts leaves no global behind', async () => {
  const before = Object.getOwnPropertyNames(globalThis)
  await start()
  assert.deepEqual(Object.getOwnPropertyNames(globalThis), before)
})

/** Starts a program and makes it end. Resolves to everything that was reported about the end. */
async function end(how: string): Promise<string[]> {
  const ends: string[] = []
  const output = console.error
  console.error = () => {}
  try {
    await new Promise<void>((resolve, reject) => {
      const ended = (why: Error & { code: string }) => {
        ends.push(`${why.code}: ${why.message}`)
        resolve()
      }
      startGo(program, 'tombolo', ended)
        .then(({ value, keepAlive }) => {
          keepAlive(true) // or the test runner would end first
          return (value as { createNode(): Promise<{ ping(how: string): unknown }> }).createNode()
        })
        .then((node) => {
          node.ping(how)
          node.ping(how)
        })
        .catch(reject)
    })
    await Promise.resolve()
  } finally {
    console.error = output
  }
  return ends
}

test("a program's timers go on while those of the page stand still", async (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  assert.equal((await end('panic in time')).length, 1)
})

test('a program that ends is told once, with what it said', async () => {
  for (const how of ['panic', 'panic later']) {
    const ends = await end(how)
    assert.equal(ends.length, 1)
    assert.match(ends[0]!, /^crashed: .*panic: out of sand/)
  }
})

test("a program's timers keep a process alive only while they are to", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((what) => what === 'Timeout').length
  let resolve!: (why: unknown) => void
  const promise = new Promise((done) => (resolve = done))
  const { value, keepAlive } = await startGo(program, 'tombolo', resolve)
  const node = await (value as { createNode(): Promise<{ ping(how: string): unknown }> }).createNode()
  const output = console.error
  console.error = () => {}
  const before = timers()
  node.ping('panic in time')
  const idle = timers()
  keepAlive(true)
  const kept = timers()
  node.ping('panic in time')
  assert.deepEqual([idle - before, kept - before > 0], [0, true])
  await promise
  console.error = output
})
