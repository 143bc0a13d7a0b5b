import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { meeting, newCode, readCode, shownCode } from '../../page/src/sharing/code.js'
import {
  begin,
  exchangeOf,
  generator,
  keyOf,
  lvCat,
  parties,
  pointOf,
  Proofs,
  same,
} from '../../page/src/sharing/cpace.js'

// The values that two peers derive from a code. The tests of native/pair use the same file.

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const unhex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))
const scalar = (text: string) => BigInt(`0x${hex(unhex(text).reverse())}`)

interface Party {
  scalar: string
  share: string
  ad: string
}
const vectors = JSON.parse(readFileSync('../native/pair/testdata/vectors.json', 'utf8')) as {
  read: { typed: string; code: string | null }[]
  draft: {
    secret: string
    ci: string
    sid: string
    generator: string
    initiator: Party
    responder: Party
    point: string
    key: string
    refused: string[]
  }
  meeting: {
    code: string
    network: string
    type: string
    typer: string
    shower: string
    typerScalar: string
    showerScalar: string
    typerShare: string
    showerShare: string
    typedProof: string
    shown: { name: string; proof: string }[]
  }
}

test('a code is read as a person types it', () => {
  for (const { typed, code } of vectors.read) assert.equal(readCode(typed), code ?? undefined, typed)
  const code = newCode()
  assert.equal(readCode(shownCode(code)), code)
})

test('the exchange of keys is that of the draft', () => {
  const { secret, ci, sid, initiator, responder, point, key, refused, ...draft } = vectors.draft
  const g = generator(secret, unhex(ci), unhex(sid))
  assert.equal(hex(g.toBytes()), draft.generator)
  const a = exchangeOf(scalar(initiator.scalar), g)
  const b = exchangeOf(scalar(responder.scalar), g)
  assert.equal(hex(a.share), initiator.share)
  assert.equal(hex(b.share), responder.share)
  assert.equal(hex(pointOf(a, b.share)), point)
  assert.equal(hex(pointOf(b, a.share)), point)
  const transcript = Buffer.concat([lvCat(a.share, unhex(initiator.ad)), lvCat(b.share, unhex(responder.ad))])
  assert.equal(hex(keyOf(unhex(sid), unhex(point), transcript)), key)
  assert(refused.length > 0)
  for (const share of refused) assert.throws(() => pointOf(a, unhex(share)), /not a share/, share)
  assert.equal(hex(lvCat(new Uint8Array(300)).subarray(0, 2)), 'ac02')
})

test('the page makes the proofs that a native peer makes', () => {
  const { code, network, type, typer, shower, ...expected } = vectors.meeting
  const place = meeting(code, network)
  assert.equal(place.type, type)
  const g = generator(place.secret, parties(place, typer, shower))
  const a = exchangeOf(scalar(expected.typerScalar), g)
  const b = exchangeOf(scalar(expected.showerScalar), g)
  assert.equal(hex(a.share), expected.typerShare)
  assert.equal(hex(b.share), expected.showerShare)
  const run = new Proofs(pointOf(a, b.share), a.share, b.share)
  assert.equal(hex(run.ofTyper()), expected.typedProof)
  assert(expected.shown.length > 0)
  for (const { name, proof } of expected.shown) {
    assert.equal(hex(run.ofShower(name)), proof)
    assert(same(run.ofShower(name), unhex(proof)))
    assert(!same(run.ofShower(`${name}x`), unhex(proof)))
    assert(!same(run.ofShower(name).subarray(1), unhex(proof)))
  }
})

test('a key is of the secret, the network and both peers', () => {
  const place = meeting('7K3MPX2Q9', 'net')
  const agree = (other: typeof place, typer: string, shower: string) => {
    const a = begin(place, 'a', 'b')
    const b = begin(other, typer, shower)
    const one = new Proofs(pointOf(a, b.share), a.share, b.share)
    const two = new Proofs(pointOf(b, a.share), a.share, b.share)
    return same(one.ofTyper(), two.ofTyper())
  }
  assert(agree(place, 'a', 'b'))
  assert(!agree(meeting('7K3MPX2Q8', 'net'), 'a', 'b'))
  assert(!agree(meeting('7K3MPX2Q9', 'other'), 'a', 'b'))
  assert(!agree(place, 'a', 'c'))
  assert(!agree(place, 'c', 'b'))
})
