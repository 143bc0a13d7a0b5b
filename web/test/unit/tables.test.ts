import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { CALLS } from '../../src/calls.js'
import { ERROR_CODES } from '../../src/errors.js'

const root = new URL('../../../../../', import.meta.url) // of build/unit/test/unit
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')

test('the calls are those that the program has', () => {
  const table = /var methods = map(?:.|\n)*?\n}\n/.exec(read('wasm/jsapi/methods.go'))![0]
  const names = [...table.matchAll(/^\t"(\w+)": /gm)].map(([, name]) => name)
  assert.deepEqual(names.sort(), Object.keys(CALLS).sort())
})

test('the codes of errors that the program has are known here', () => {
  const names = [...read('wasm/jsapi/errors.go').matchAll(/^\tcode\w+ +code = "([\w-]+)"/gm)].map(([, name]) => name!)
  assert.ok(names.length > 10)
  for (const name of names) assert.ok(name in ERROR_CODES, name)
})

test('the table of the documentation has every code of an error, and what it means', () => {
  const rows = [...read('docs/typescript.md').matchAll(/^\| `([\w-]+)` +\| (.+?) +\|$/gm)]
  const table = Object.fromEntries(rows.map(([, code, meaning]) => [code, meaning]))
  const known = Object.fromEntries(Object.keys(ERROR_CODES).map((code) => [code, table[code]]))
  assert.deepEqual(known, ERROR_CODES)
})
