import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_ANSWERS, Round } from '../../page/src/mesh/round.js'

/** Simulates pages that receive each other's answers after `latency` ms. Returns the pages that answer. */
function answers(ids: string[], latency: number): string[] {
  const pages = ids.map((id) => ({ id, round: new Round(id) }))
  pages.forEach(({ round }) => round.begin())
  const said = new Array<{ id: string; at: number }>()
  const turns = pages.map((page) => ({ ...page, at: page.round.wait(1_000) })).sort((a, b) => a.at - b.at)
  for (const { id, round, at } of turns) {
    round.begin()
    for (const other of said) if (other.at + latency <= at) round.heard()
    if (!round.full) said.push({ id, at })
  }
  return said.map(({ id }) => id)
}

const ids = (n: number) => Array.from({ length: n }, (_, i) => `12D3KooW${i}`)

test('however many pages there are, a question has a bounded number of answers, from the same pages each time', () => {
  for (const n of [2 * MAX_ANSWERS, 10 * MAX_ANSWERS]) {
    const first = answers(ids(n), 0)
    assert.equal(first.length, MAX_ANSWERS)
    const late = answers(ids(n).reverse(), 20)
    assert.ok(late.length < MAX_ANSWERS + (n * 40) / 1_000, `${late.length} answers`)
    assert.deepEqual(late.slice(0, MAX_ANSWERS), first)
  }
})

test('of few pages, all answer, and not at once', () => {
  const few = ids(MAX_ANSWERS)
  assert.equal(answers(few, 0).length, MAX_ANSWERS)
  const waits = few.map((id) => new Round(id).wait(1_000))
  for (let quarter = 0; quarter < 1_000; quarter += 250) {
    assert.ok(waits.some((wait) => wait >= quarter && wait < quarter + 250))
  }
})
