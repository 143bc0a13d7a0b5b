// Runs the tests of a Go package compiled for GOOS=js, as go test -exec:
//
//   GOOS=js GOARCH=wasm go test -exec "node $PWD/web/test/gotest.mjs chromium" ./wasm/...
//
// The first argument says where: `node`, `chromium` or `firefox` (in a page) or `chromium-worker` (in a dedicated worker of a page). A stock
// libp2p peer runs beside the tests, which find its control address in the environment variable TESTPEER. When this program starts,
// TESTPEER may be the path of the built peer, or the control address of a running one; otherwise the peer is built.
//
// Of the environment, a test sees only TESTPEER, the Go runtime's own variables and those that begin with TOMBOLO_ or TEST_, because
// wasm_exec.js has room for 8 KiB.
import { finish, runToEnd } from './lifetime.mjs'
import { runInChromium, runInFirefox } from './gotest/page.mjs'
import { runInNode } from './gotest/node.mjs'
import { startTestPeer } from './gotest/testpeer.mjs'
import { parseDuration, testFlag } from './gotest/flags.mjs'

const places = {
  node: runInNode,
  chromium: (job) => runInChromium(job, 'window'),
  'chromium-worker': (job) => runInChromium(job, 'worker'),
  firefox: runInFirefox,
}

// go test itself ends a test after -test.timeout by a panic in the test; this is for one that can no longer panic.
const grace = 15_000

runToEnd('gotest', async () => {
  const [place, binary, ...args] = process.argv.slice(2)
  const run = places[place]
  if (!run || !binary) {
    return finish(2, `usage: go test -exec "node …/gotest.mjs ${Object.keys(places).join('|')}" …`)
  }
  const timeout = parseDuration(testFlag(args, 'timeout') ?? '0')
  if (timeout > 0) {
    setTimeout(
      () => finish(1, `the tests still ran ${grace / 1000} s after their -timeout; ended`),
      timeout + grace,
    ).unref()
  }
  const peer = await startTestPeer()
  await finish(await run({ binary, args, env: { ...passedOn(), TESTPEER: peer } }))
})

function passedOn() {
  const names = ['GODEBUG', 'GOGC', 'GOMEMLIMIT', 'GOTRACEBACK', 'GOLOG_LOG_LEVEL', 'GORACE', 'LONG', 'TZ']
  const wanted = (name) => names.includes(name) || /^(TOMBOLO|TEST)_/.test(name)
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => wanted(name)))
}
