// Builds the npm package in dist/npm: the compiled TypeScript, the program in two files, and the wasm_exec.js that belongs to it. The Go
// toolchain has put the program and wasm_exec.js into build/.
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'
import { glue } from './glue.mjs'
import { fromGo, npmDir, webDir } from './paths.mjs'

rmSync(npmDir, { recursive: true, force: true })
mkdirSync(npmDir, { recursive: true })
copyFileSync(fromGo('tombolo.wasm'), `${npmDir}/tombolo.wasm`)
const rest = `${webDir}/build/tombolo.rest.wasm`
if (existsSync(rest)) copyFileSync(rest, `${npmDir}/tombolo.rest.wasm`) // if the program is a single file, there is none
writeFileSync(`${npmDir}/wasm_exec.js`, glue(fromGo('wasm_exec.js')))

const tsc = fileURLToPath(new URL('bin/tsc', import.meta.resolve('typescript/package.json')))
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.npm.json'], { cwd: webDir, stdio: 'inherit' })

// The service worker is bundled into one file, so that sites can host it as it is.
await build({
  configFile: false,
  logLevel: 'warn',
  publicDir: false,
  build: {
    outDir: npmDir,
    emptyOutDir: false,
    target: 'es2022',
    lib: { entry: `${webDir}/src/gateway/sw.ts`, formats: ['iife'], name: 'gateway', fileName: () => 'gateway-sw.js' },
  },
})
copyFileSync(`${webDir}/src/gateway/gateway.html`, `${npmDir}/gateway.html`)

copyFileSync(`${webDir}/src/README.md`, `${npmDir}/README.md`)
for (const name of ['LICENSE', 'LICENSE-APACHE', 'LICENSE-MIT']) {
  if (existsSync(`${webDir}/../${name}`)) copyFileSync(`${webDir}/../${name}`, `${npmDir}/${name}`)
}
writeFileSync(`${npmDir}/package.json`, JSON.stringify(published(), null, 2) + '\n')

/** Returns the package.json to publish: this folder's, without what is only needed to build it. */
function published() {
  const { scripts, devDependencies, overrides, ...manifest } = JSON.parse(
    readFileSync(`${webDir}/package.json`, 'utf8'),
  )
  const exports = JSON.parse(JSON.stringify(manifest.exports).replaceAll('./dist/npm/', './'))
  const version = process.env.VERSION || manifest.version // set for a release: see make release
  return { ...manifest, version, exports, types: exports['.'].types }
}
