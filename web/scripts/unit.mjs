// Compiles the unit tests and runs them under this Node.js and under the newer one of test/node24. Arguments are the names of the test
// files to run, without .test.ts; without arguments, all of them run.
import { execFileSync } from 'node:child_process'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { glue } from './glue.mjs'
import { webDir } from './paths.mjs'

const out = `${webDir}/build/unit`
rmSync(out, { recursive: true, force: true })
const tsc = fileURLToPath(new URL('bin/tsc', import.meta.resolve('typescript/package.json')))
const run = (node, ...args) => execFileSync(node, args, { cwd: webDir, stdio: 'inherit' })

try {
  run(process.execPath, tsc, '-p', 'tsconfig.unit.json')
  buildProgram()
  const wanted = process.argv.slice(2)
  const files = readdirSync(`${out}/test/unit`)
    .filter((file) => file.endsWith('.test.js') && (wanted.length === 0 || wanted.includes(file.slice(0, -8))))
    .map((file) => `${out}/test/unit/${file}`)
  if (files.length === 0) throw new Error(`test/unit has none of: ${wanted.join(', ')}`)
  for (const node of [process.execPath, `${webDir}/test/node24/node_modules/.bin/node`]) {
    run(node, '-p', '"unit tests under Node.js " + process.version')
    run(node, '--enable-source-maps', '--test', '--test-reporter=spec', ...files)
  }
} catch (error) {
  if (error.status === undefined) console.error(error.message)
  process.exit(1)
}

/** Builds a small Go program that can be made to crash, and the script that starts it. */
function buildProgram() {
  const env = { ...process.env, GOOS: 'js', GOARCH: 'wasm' }
  execFileSync('go', ['build', '-o', `${out}/crash.wasm`, './e2e/crash'], { cwd: webDir, env, stdio: 'inherit' })
  const root = execFileSync('go', ['env', 'GOROOT'], { cwd: webDir, encoding: 'utf8' }).trim()
  writeFileSync(`${out}/src/wasm_exec.js`, glue(`${root}/lib/wasm/wasm_exec.js`))
}
