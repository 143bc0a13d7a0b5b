// Runs native/internal/testpeer beside the tests.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { atEnd, finish } from '../lifetime.mjs'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** Starts the peer, unless TESTPEER is the address of a running one. Resolves to its control address. */
export async function startTestPeer() {
  const given = process.env.TESTPEER
  if (given?.startsWith('http://')) return given
  const path = given || build()
  const peer = spawn(path, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(peer, 'exit').then(
    ([code, signal]) => `the test peer ended: ${signal ?? `exit code ${code}`}`,
    (err) => `the test peer did not start: ${err.message}`,
  )
  let wanted = true
  atEnd(async () => {
    wanted = false
    peer.stdin.destroy() // this ends it
    const late = setTimeout(() => peer.kill('SIGKILL'), 5000)
    await ended
    clearTimeout(late)
  })
  ended.then((how) => wanted && finish(1, how))
  const line = await Promise.race([once(createInterface(peer.stdout), 'line').then(([line]) => line), ended])
  const [, control] = /^control (http:.*)$/.exec(line) ?? []
  if (!control) throw new Error(`the test peer said ${JSON.stringify(line)} where its control address should be`)
  return control
}

/** Builds the peer for this machine, not for GOOS=js. The Go cache makes the second build fast. */
function build() {
  const out = `${root}.cache/testpeer`
  mkdirSync(`${root}.cache`, { recursive: true })
  const { GOOS, GOARCH, GOWASM, ...env } = process.env
  try {
    execFileSync('go', ['build', '-o', out, './native/internal/testpeer'], { cwd: root, env, stdio: 'pipe' })
  } catch (err) {
    throw new Error(`build the test peer: ${err.stderr?.toString().trim() || err.message}`)
  }
  return out
}
