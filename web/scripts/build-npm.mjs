// Builds the npm package into dist/npm: the compiled TypeScript, and beside it the program, in two files, and the
// wasm_exec.js that belongs to it, all of which the Go toolchain has put into build/.
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
if (existsSync(rest)) copyFileSync(rest, `${npmDir}/tombolo.rest.wasm`) // there is none where the program is in one file
writeFileSync(`${npmDir}/wasm_exec.js`, glue(fromGo('wasm_exec.js')))

const tsc = fileURLToPath(new URL('bin/tsc', import.meta.resolve('typescript/package.json')))
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.npm.json'], { cwd: webDir, stdio: 'inherit' })

// The service worker is one file, for sites to host as it is.
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

/** The package.json of the published package: that of this folder without what is only for building it. */
function published() {
  const { scripts, devDependencies, overrides, ...manifest } = JSON.parse(
    readFileSync(`${webDir}/package.json`, 'utf8'),
  )
  const exports = JSON.parse(JSON.stringify(manifest.exports).replaceAll('./dist/npm/', './'))
  const version = process.env.VERSION || manifest.version // of a release: see make release
  return { ...manifest, version, exports, types: exports['.'].types }
}
