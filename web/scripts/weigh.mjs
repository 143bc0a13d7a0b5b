// Checks what a tab has to load against budget.json: the program raw and with brotli (the part that is fetched before the node is
// connected, and all of it), and the JavaScript of the package with gzip. Exceeding the budget is an error. `--set` makes a new budget of
// the present sizes plus 3 % for growth, in a commit that says why.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { fromGo, npmDir, siteDir, webDir } from './paths.mjs'

const ROOM = 1.03
const BUDGET = `${webDir}/budget.json`

const sizes = {
  'before connected': raw('tombolo.wasm'),
  'before connected, brotli 11': compressed('tombolo'),
  'all of the program': raw('tombolo.wasm') + raw('tombolo.rest.wasm'),
  'all of the program, brotli 11': compressed('tombolo') + compressed('tombolo.rest'),
  'JavaScript, gzip': gzipSync(Buffer.concat(files(npmDir, /\.js$/, /\.node\.js$/).map((path) => readFileSync(path))), {
    level: 9,
  }).length,
}

if (process.argv.includes('--set')) {
  const budget = Object.fromEntries(Object.entries(sizes).map(([what, size]) => [what, Math.round(size * ROOM)]))
  writeFileSync(BUDGET, JSON.stringify(budget, null, 2) + '\n')
}
const budget = JSON.parse(readFileSync(BUDGET, 'utf8'))
let over = false
for (const section of ['tombolo.snapshot', 'tombolo.rest']) {
  const module = await WebAssembly.compile(readFileSync(fromGo('tombolo.wasm')))
  if (WebAssembly.Module.customSections(module, section).length > 0) continue
  over = true
  console.error(
    `tombolo.wasm has no section ${section}: a step after the linker was left out, and the build has said why`,
  )
}
for (const [what, size] of Object.entries(sizes)) {
  const most = budget[what]
  console.log(`${what.padEnd(32)}${number(size)} of ${number(most)} bytes (${((size / most) * 100).toFixed(1)} %)`)
  if (size <= most) continue
  over = true
  console.error(`${what} is ${size - most} bytes over the budget of web/budget.json: leave out what a tab does not need, or
  say in the commit why it must be there and run 'npm run weigh -- --set'`)
}
process.exit(over ? 1 : 0)

function raw(name) {
  return statSync(fromGo(name)).size
}

/** The site's build has compressed the file: see page/precompress.ts. */
function compressed(name) {
  if ((process.env.BROTLI_QUALITY ?? '11') !== '11') {
    console.error('weigh: BROTLI_QUALITY is set, but the budget is for quality 11: build without it')
    process.exit(1)
  }
  const [path] = files(siteDir, new RegExp(`(^|/)${name}-[^.]*\\.wasm\\.br$`))
  if (path !== undefined) return statSync(path).size
  console.error("weigh: web/dist/site has no program: run 'make build' first")
  process.exit(1)
}

/** Returns the files below a folder whose names match, with some exceptions. */
function files(dir, match, except = /^$/) {
  return readdirSync(dir, { recursive: true })
    .filter((name) => match.test(name) && !except.test(name))
    .sort()
    .map((name) => `${dir}/${name}`)
}

function number(n) {
  return n.toLocaleString('en').padStart(10)
}
