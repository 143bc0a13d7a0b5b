import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { meeting, newCode, prove, proves, readCode, shownCode } from '../../page/src/sharing/code.js'

// What two peers derive from a code. native/pair derives the same from the same file.

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const vectors = JSON.parse(readFileSync('../native/pair/testdata/vectors.json', 'utf8')) as {
  read: { typed: string; code: string | null }[]
  meeting: {
    code: string
    network: string
    type: string
    typer: string
    shower: string
    typedProof: string
    shown: { name: string; proof: string }[]
  }
}

test('a code is read as a person types it', () => {
  for (const { typed, code } of vectors.read) assert.equal(readCode(typed), code ?? undefined, typed)
  const code = newCode()
  assert.equal(readCode(shownCode(code)), code)
})

test('the page derives from a code what a native peer does', async () => {
  const { code, network, type, typer, shower, typedProof, shown } = vectors.meeting
  const place = await meeting(code, network)
  assert.equal(place.type, type)
  assert.equal(hex(await prove(place, ['typed', typer, shower])), typedProof)
  assert(shown.length > 0)
  for (const { name, proof } of shown) {
    assert.equal(hex(await prove(place, ['shown', typer, shower, name])), proof)
    const bytes = Buffer.from(proof, 'hex')
    assert(await proves(place, bytes, ['shown', typer, shower, name]))
    assert(!(await proves(place, bytes, ['shown', shower, typer, name])))
  }
})
