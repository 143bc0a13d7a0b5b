import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const repository = fileURLToPath(new URL('../../..', import.meta.url))

/** The programs under test, and the stock go-libp2p host, a peer that is not part of this project. */
export const binaries = {
  relay: process.env['TOMBOLO_RELAY_BIN'] ?? `${repository}bin/tombolo-relay`,
  native: process.env['TOMBOLO_BIN'] ?? `${repository}bin/tombolo`,
  testpeer: process.env['TESTPEER_BIN'] ?? `${repository}web/build/testpeer`,
  messenger: `${repository}web/build/messenger`,
}

/** A program that can be made to crash. */
export const crashWasm = `${repository}web/build/crash.wasm`

/** Runs before all tests, so that a missing program is reported once, and not by each test. */
export default function checkBinaries(): void {
  const built = ['npm/index.js', 'examples/chat/index.html'].map((path) => `${repository}web/dist/${path}`)
  for (const path of [binaries.relay, binaries.native, ...built]) {
    if (!existsSync(path)) throw new Error(`${path} is missing: run 'make build' first`)
  }
  if (process.env['TESTPEER_BIN'] === undefined) goBuild(binaries.testpeer, './native/internal/testpeer')
  goBuild(binaries.messenger, './native/internal/messenger')
  goBuild(crashWasm, './web/e2e/crash', { GOOS: 'js', GOARCH: 'wasm' })
}

function goBuild(out: string, what: string, env: Record<string, string> = {}): void {
  execFileSync('go', ['build', '-trimpath', '-o', out, what], {
    cwd: repository,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
}
