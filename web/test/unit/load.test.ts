import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { TomboloError } from '../../src/errors.js'
import { type Compile, filesOf, loadModule, loadProgram } from '../../src/load.js'
import type { LoadProgress } from '../../src/types.js'

// Node.js 20 has no WebSocket by default, and nothing here opens one.
Object.assign(globalThis, { WebSocket: globalThis.WebSocket ?? class {} })

const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
const compileNothing = () => WebAssembly.compile(empty)
const fails = () => Promise.reject(new TomboloError('wasm-not-found', 'no such program'))

const byDefault = { program: 'https://example.com/own.wasm', rest: 'https://example.com/own.rest.wasm' }
const at = (name: string) => filesOf(byDefault, `https://example.com/${name}.wasm`)

/** Waits a turn: the runner fails a test with an unhandled rejection. */
const settle = () => setImmediate()

test('an address of a program that is none rejects, and nothing else does', async () => {
  for (const wasm of ['x.wasm', '', 'http://']) {
    for (const onProgress of [undefined, () => {}]) {
      assert.throws(() => filesOf(byDefault, wasm), { code: 'option', message: /^wasm:/ })
      await assert.rejects(loadModule(wasm, compileNothing, onProgress), { code: 'option' })
    }
  }
  await settle()
})

test('a program that cannot be loaded rejects for everybody who waits, and nothing else does', async () => {
  const all = [undefined, () => {}, undefined, () => {}].map((onProgress) =>
    loadProgram(at('missing'), { compile: fails }, onProgress),
  )
  for (const loading of all) await assert.rejects(loading, { code: 'wasm-not-found' })
  await settle()
})

test('a program that does not start rejects for everybody who waits, and the next one is started anew', async () => {
  for (let time = 0; time < 2; time++) {
    const all = [0, 1].map(() => loadProgram(at('empty'), { compile: compileNothing }))
    for (const loading of all) await assert.rejects(loading, { code: 'wasm-invalid' })
    await settle()
  }
})

test('the rest of a program is beside it, unless it is said to be elsewhere', async () => {
  const module = await compileNothing()
  const url = 'https://cdn.example/v1/tombolo.wasm?x=1'
  assert.deepEqual(filesOf(byDefault), byDefault)
  assert.deepEqual(filesOf(byDefault, module), { program: module, rest: byDefault.rest })
  assert.deepEqual(filesOf(byDefault, url), { program: url, rest: 'https://cdn.example/v1/tombolo.rest.wasm?x=1' })
  assert.deepEqual(filesOf(byDefault, url, new URL('https://cdn.example/r')), {
    program: url,
    rest: 'https://cdn.example/r',
  })
  assert.throws(() => filesOf(byDefault, url, 'r.wasm'), { code: 'option', message: /^wasmRest:/ })
})

test('an onProgress that throws is reported, and fails neither its own load nor that of another caller', async (t) => {
  const reported: unknown[] = []
  const report = (error: unknown) => void reported.push((error as Error).message)
  t.mock.method(console, 'error', report)
  const seen: number[] = []
  const compile: Compile = async (_, onProgress) => {
    await settle()
    for (const loaded of [1, 2]) onProgress?.({ loaded, encoding: '' })
    return compileNothing()
  }
  const fails = () => {
    throw new Error('the progress bar is gone')
  }
  const url = 'https://example.com/progress.wasm'
  const all = [fails, ({ loaded }: LoadProgress) => void seen.push(loaded)].map((f) => loadModule(url, compile, f))
  for (const module of await Promise.all(all)) assert(module instanceof WebAssembly.Module)
  assert.deepEqual(seen, [1, 2])
  assert.deepEqual(reported, ['the progress bar is gone', 'the progress bar is gone'])
})
