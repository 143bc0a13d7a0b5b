// Compiles the unit tests and runs them under the Node.js that runs this, and under the newer one of test/node24. Arguments name the test
// files to run, without .test.ts; without any, all of them run.
import { execFileSync } from 'node:child_process'
import { readdirSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { webDir } from './paths.mjs'

const out = `${webDir}/build/unit`
rmSync(out, { recursive: true, force: true })
const tsc = fileURLToPath(new URL('bin/tsc', import.meta.resolve('typescript/package.json')))
const run = (node, ...args) => execFileSync(node, args, { cwd: webDir, stdio: 'inherit' })

try {
  run(process.execPath, tsc, '-p', 'tsconfig.unit.json')
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
