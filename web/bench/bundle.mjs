// Builds the files that the pages load: a script for each side, and our program, all compressed as a web server would serve them.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { brotliCompress, brotliDecompressSync, constants } from 'node:zlib'

const here = fileURLToPath(new URL('.', import.meta.url))
const npmDir = `${here}../dist/npm`
const siteAssets = `${here}../dist/site/assets`
const cacheDir = `${here}../../.cache/bench`

/** Resolves to the files by path, each as { type, body } with a brotli body. `page` names the script of our sides. */
export async function bundle(sides, page = 'ours') {
  const files = new Map()
  const add = async (path, source) => {
    files.set(path, { type: 'text/javascript', body: await compressed(await script(source)) })
  }
  if (page === 'tabs') for (const name of ['js-libp2p', 'raw-channel']) await add(`/tabs-${name}.js`, `${here}page/tabs-${name}.js`)
  else if (sides.includes('js-libp2p')) await add('/js-libp2p.js', `${here}page/js-libp2p.js`)
  if (page === 'tabs') page = 'tabs-ours'
  if (sides.some((side) => side !== 'js-libp2p' && side !== 'raw-channel')) {
    await add(`/${page}.js`, `${here}page/${page}.js`)
    await add('/worker.js', `${npmDir}/worker.js`)
    for (const name of ['tombolo.wasm', 'tombolo.rest.wasm']) {
      files.set(`/${name}`, { type: 'application/wasm', body: await program(name) })
    }
  }
  return files
}

async function script(path) {
  const { build } = await import('esbuild').catch(() => {
    throw new Error('web/bench/node_modules is missing: npm --prefix web/bench ci')
  })
  if (!/(js-libp2p|raw-channel)\.js$/.test(path) && !existsSync(`${npmDir}/index.js`)) {
    throw new Error('web/dist/npm is missing: make build')
  }
  const { outputFiles } = await build({
    entryPoints: [path],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    inject: /(js-libp2p|raw-channel)\.js$/.test(path) ? [] : [`${here}page/memory.js`],
    write: false,
    logLevel: 'error',
    alias: { '@tombolo/node': `${npmDir}/index.js` },
    loader: { '.css': 'text' },
    define: { 'process.env.NODE_ENV': '"production"' },
  })
  return outputFiles[0].contents
}

const compress = promisify(brotliCompress)
const compressed = (bytes) =>
  compress(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  })

/** Reads a file of our program. Compressing it takes a minute, so this uses the site's compressed copy if it is of the same program. */
async function program(file) {
  const wasm = readFileSync(`${npmDir}/${file}`)
  const cached = `${cacheDir}/${createHash('sha256').update(wasm).digest('hex')}.br`
  if (existsSync(cached)) return readFileSync(cached)
  const inSite = existsSync(siteAssets)
    ? readdirSync(siteAssets).filter((name) => /^tombolo.*\.wasm\.br$/.test(name))
    : []
  for (const name of inSite) {
    const body = readFileSync(`${siteAssets}/${name}`)
    if (brotliDecompressSync(body).equals(wasm)) return body
  }
  const body = await compressed(wasm)
  mkdirSync(cacheDir, { recursive: true })
  writeFileSync(cached, body)
  return body
}
