import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Guest, type Made, Turns } from '../../src/worker/turns.js'

/** A node on which each name can be taken only once. */
function node() {
  const had = new Map<string, string>()
  const asleep = new Set<Guest>()
  const turns = new Turns(
    (method, args) => {
      const key = `${method} ${String(args[0])}`
      if (had.has(key)) return Promise.reject(new Error('taken'))
      had.set(key, String(args[1]))
      return Promise.resolve({ close: async () => void had.delete(key) } satisfies Made)
    },
    (guest) => !asleep.has(guest),
  )
  return { had, asleep, turns }
}

const guest = (told: unknown[] = []): Guest => ({
  tell: (what, detail) => void told.push([what, detail]),
  release: async () => {},
})

test('the first page has it, and the next when that one closes', async () => {
  const { had, turns } = node()
  const [ann, bob] = [guest(), guest()]
  const one = await turns.take(ann, 'respond', ['a', 'ann'])
  const two = await turns.take(bob, 'respond', ['a', 'bob'])
  assert.equal(had.get('respond a'), 'ann')
  await one.close()
  assert.equal(had.get('respond a'), 'bob')
  await two.close()
  assert.equal(had.size, 0)
})

test('a page that asks twice is refused, and keeps what it has', async () => {
  const { had, turns } = node()
  const ann = guest()
  const one = await turns.take(ann, 'respond', ['a', 'first'])
  await assert.rejects(turns.take(ann, 'respond', ['a', 'second']), { message: 'taken' })
  assert.equal(had.get('respond a'), 'first')
  await one.close()
  assert.equal(had.size, 0)
})

test('a page that is frozen passes it on, and has it again when it is back', async () => {
  const { had, asleep, turns } = node()
  const [ann, bob] = [guest(), guest()]
  await turns.take(ann, 'listen', ['/x/a', 'ann'])
  await turns.take(bob, 'listen', ['/x/a', 'bob'])
  asleep.add(ann)
  await turns.pass()
  assert.equal(had.get('listen /x/a'), 'bob')
  asleep.delete(ann)
  await turns.pass()
  assert.equal(had.get('listen /x/a'), 'ann')
})
