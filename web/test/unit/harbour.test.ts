import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  applyChange,
  cleanName,
  decodeAnswer,
  decodePapers,
  decodeScores,
  decodeThing,
  encodeAnswer,
  encodePapers,
  encodeScores,
  encodeThing,
} from '../../page/src/world/records.js'

// The encoding of the page's world. The end-to-end tests show how a native peer reads it.

// core/world/demo/records_test.go has the same list.
test('a name is cleaned', () => {
  for (const [given, want] of [
    ['Ann', 'Ann'],
    ['  Ann \t\n of   Kiel ', 'Ann of Kiel'],
    ['<b>Ann</b>', '<b>Ann</b>'],
    ['a\u202eb\u200bc\x00d\x7f', 'abcd'],
    ['Zoë 海 ⛵', 'Zoë 海 ⛵'],
    ['\ufffd\ud800Ann', 'Ann'],
    ['é'.repeat(20), 'é'.repeat(12)],
    ['a'.repeat(23) + ' b', 'a'.repeat(23)],
    ['\u00a0', ''],
  ] as const) {
    assert.equal(cleanName(given), want, JSON.stringify(given))
  }
})

test('what is written is read', () => {
  const papers = { hue: 7, name: 'Ann', blind: true, standsBy: false }
  assert.deepEqual(decodePapers(encodePapers(papers)), papers)
  const answer = { boat: 9, size: 256, sight: 40, sightEnd: 48 }
  assert.deepEqual(decodeAnswer(encodeAnswer(answer)), answer)
  assert.equal(decodeAnswer(encodeAnswer({ ...answer, boat: undefined })).boat, undefined)
  const boat = { x: 160, y: 4095, hue: 200, boat: true, score: 300, name: 'Zoë' }
  assert.deepEqual(decodeThing(encodeThing(boat)), { ...boat, x: 10, y: 4095 / 16 })
  const buoy = { x: 16, y: 32, hue: 3, boat: false, score: 0, name: '' }
  assert.deepEqual(decodeThing(encodeThing(buoy)), { ...buoy, x: 1, y: 2 })
  const scores = {
    rank: 300,
    of: 301,
    lines: [
      { score: 513, hue: 7, name: 'Ann' },
      { score: 1, hue: 8, name: '' },
    ],
  }
  assert.deepEqual(decodeScores(encodeScores(scores)), scores)
})

test('a change moves a thing by steps, to a place, or tells all of it', () => {
  const boat = { x: 10, y: 10, hue: 1, boat: true, score: 2, name: 'Ann' }
  assert.deepEqual(applyChange(boat, Uint8Array.of(16, 248)), { ...boat, x: 11, y: 9.5 })
  assert.deepEqual(applyChange(boat, Uint8Array.of(1, 0, 0, 16)), { ...boat, x: 16, y: 1 })
  const scored = { ...boat, x: 16, y: 16, score: 3 }
  assert.deepEqual(applyChange(boat, encodeThing(scored)), { ...scored, x: 1, y: 1 })
})

test('what is not of the game is refused', () => {
  for (const length of [0, 1, 4, 6, 32]) assert.throws(() => decodeThing(new Uint8Array(length)), `${length} bytes`)
  for (const data of [[], [1], Array(257).fill(0)]) assert.throws(() => decodePapers(Uint8Array.from(data)))
  for (const data of [[], [2, 0, 1, 0, 1], [1, 0, 1, 0], [1, 0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 0, 9, 4, 2, 65]]) {
    assert.throws(() => decodeScores(Uint8Array.from(data)), JSON.stringify(data))
  }
  assert.throws(() => decodeScores(Uint8Array.from([1, 0, 1, 0, 1, ...Array(36).fill(0)])), 'nine lines')
  assert.throws(() => decodeAnswer(new Uint8Array(8)))
})
