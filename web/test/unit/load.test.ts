import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { TomboloError } from '../../src/errors.js'
import { loadModule, loadProgram } from '../../src/load.js'

// Node.js 20 has none unless it is asked, and nothing here opens one.
Object.assign(globalThis, { WebSocket: globalThis.WebSocket ?? class {} })

const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
const compileNothing = () => WebAssembly.compile(empty)
const fails = () => Promise.reject(new TomboloError('wasm-not-found', 'no such program'))

/** The runner fails a test in which a rejection is handled by nobody. */
const settle = () => setImmediate()

test('an address of a program that is none rejects, and nothing else does', async () => {
  for (const wasm of ['x.wasm', '', 'http://']) {
    for (const onProgress of [undefined, () => {}]) {
      await assert.rejects(loadProgram(wasm, compileNothing, onProgress), { code: 'option', message: /wasm/ })
      await assert.rejects(loadModule(wasm, compileNothing, onProgress), { code: 'option' })
    }
  }
  await settle()
})

test('a program that cannot be loaded rejects for everybody who waits, and nothing else does', async () => {
  const all = [undefined, () => {}, undefined, () => {}].map((onProgress) =>
    loadProgram('https://example.com/missing.wasm', fails, onProgress),
  )
  for (const loading of all) await assert.rejects(loading, { code: 'wasm-not-found' })
  await settle()
})

test('a program that does not start rejects for everybody who waits, and the next one is started anew', async () => {
  for (let time = 0; time < 2; time++) {
    const all = [0, 1].map(() => loadProgram('https://example.com/empty.wasm', compileNothing))
    for (const loading of all) await assert.rejects(loading, { code: 'wasm-invalid' })
    await settle()
  }
})
