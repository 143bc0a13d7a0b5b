import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { isBuffer, isBytes, isModule, isSignal, textOf } from '../../src/values.js'

const foreign = (code: string): unknown => runInNewContext(code)
const module = new WebAssembly.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]))
const none = [undefined, null, 5, '', [], {}, () => {}, { [Symbol.toStringTag]: 'Uint8Array' }, foreign('[]')]

test('bytes are known whatever realm they are of', () => {
  for (const bytes of [new Uint8Array(1), Buffer.from('a'), foreign('new Uint8Array(1)')]) assert(isBytes(bytes))
  for (const other of [...none, new Uint16Array(1), new DataView(new ArrayBuffer(1)), new ArrayBuffer(1)]) {
    assert(!isBytes(other))
  }
})

test('buffers are known whatever realm they are of', () => {
  for (const buffer of [new ArrayBuffer(1), foreign('new ArrayBuffer(1)')]) assert(isBuffer(buffer))
  const fake = { [Symbol.toStringTag]: 'ArrayBuffer', byteLength: 1 }
  for (const other of [...none, fake, new SharedArrayBuffer(1), new Uint8Array(1)]) assert(!isBuffer(other))
})

test('signals and modules are known whatever realm they are of', () => {
  assert(isSignal(new AbortController().signal))
  assert(isSignal({ aborted: false, addEventListener() {} }))
  assert(isModule(module))
  assert(isModule(foreign('new WebAssembly.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]))')))
  for (const other of none) assert(!isSignal(other) && !isModule(other))
})

test('everything that can be thrown has a text', () => {
  const hostile = { toString: () => assert.fail('on purpose') }
  for (const thrown of [Object.create(null), hostile]) assert.equal(textOf(thrown), '[object Object]')
  assert.deepEqual([new Error('a'), 5, undefined, Symbol('b')].map(textOf), ['Error: a', '5', 'undefined', 'Symbol(b)'])
})
