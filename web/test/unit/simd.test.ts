import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cipher } from '../../src/simd.js'

const name = (s: string) => [s.length, ...new TextEncoder().encode(s)]
const section = (id: number, body: number[]) => [id, body.length, ...body]
const HEAD = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]

/** A module that writes its first argument to the address in the second, in the memory of the program. */
const cipher = [
  ...HEAD,
  ...section(1, [2, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 0, 0x60, 3, 0x7f, 0x7f, 0x7f, 0]),
  ...section(2, [1, ...name('program'), ...name('mem'), 2, 0, 1]),
  ...section(3, [2, 0, 1]),
  ...section(7, [2, ...name('xor'), 0, 0, ...name('mac'), 0, 1]),
  ...section(10, [2, 9, 0, 0x20, 1, 0x20, 0, 0x36, 0, 0, 0x0b, 9, 0, 0x20, 1, 0x20, 0, 0x36, 0, 0, 0x0b]),
]

/** A program with a memory and, if it was built with one, a cipher. */
function program(cipher?: number[]): WebAssembly.Module {
  const memory = [...section(5, [1, 0, 1]), ...section(7, [1, ...name('mem'), 2, 0])]
  const attached = cipher === undefined ? [] : [...name('tombolo.chachapoly'), ...cipher]
  const size = [(attached.length & 0x7f) | 0x80, attached.length >> 7]
  return new WebAssembly.Module(
    new Uint8Array([...HEAD, ...memory, ...(cipher === undefined ? [] : [0, ...size, ...attached])]),
  )
}

function join(module: WebAssembly.Module) {
  const it = new Cipher()
  assert.equal(it.imports.ready(), 0)
  const instance = new WebAssembly.Instance(module)
  it.join(module, instance)
  const words = new Uint32Array((instance.exports.mem as WebAssembly.Memory).buffer)
  return { ...it.imports, words }
}

test('the cipher of a program works on its memory', () => {
  const { ready, xor, mac, words } = join(program(cipher))
  assert.equal(ready(), 1)
  xor(7, 8, 0, 0)
  mac(9, 12, 0)
  assert.deepEqual([...words.slice(2, 4)], [7, 9])
})

test('a program that was built without one does without', () => {
  assert.equal(join(program()).ready(), 0)
})

test('where the platform cannot run it, the program does without', () => {
  assert.equal(join(program([...HEAD, 99, 0])).ready(), 0)
})
