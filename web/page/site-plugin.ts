import { createHash } from 'node:crypto'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Plugin } from 'vite'
import { compress, MIN_BYTES } from './precompress.ts'

interface SitePaths {
  /** The program, as built by the Go toolchain. */
  wasm: string
  /** The chart that index.html shows before any script runs. */
  chart: string
  /** The service worker of the gateway, and its page for other origins: they keep their file names. */
  gateway: string[]
  /** The service worker that keeps the page's files. */
  shell: string
  /** The folder that the site is written to. */
  out: string
  cache: string
}

const SIZES = 'virtual:wasm-sizes'

/** Adds what the page needs beyond Vite's own build: the chart in its HTML, the program's sizes, and compressed assets. */
export function site(paths: SitePaths): Plugin[] {
  return [
    chartInHtml(paths),
    preloads(),
    wasmSizes(paths),
    gatewayFiles(paths),
    shellWorker(paths),
    precompressed(paths),
  ]
}

function chartInHtml({ chart }: SitePaths): Plugin {
  return {
    name: 'tombolo:chart',
    transformIndexHtml: {
      order: 'pre',
      handler: async (html) => html.replace('<!--chart-->', await readFile(chart, 'utf8')),
    },
  }
}

/**
 * Makes the browser fetch the program and the relay's description as soon as it has read the HTML, instead of when the page's script asks
 * for them.
 */
function preloads(): Plugin {
  return {
    name: 'tombolo:preloads',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler: (_, { bundle }) =>
        [
          ...Object.keys(bundle ?? {}).filter((name) => /tombolo-[^.]*\.wasm$/.test(name)), // the first file only: the other is not needed yet
          '.well-known/tombolo',
        ].map((name) => ({
          tag: 'link',
          attrs: { rel: 'preload', as: 'fetch', crossorigin: '', href: `/${name}` },
          injectTo: 'head',
        })),
    },
  }
}

/** `virtual:wasm-sizes`: the page shows how much of the transfer has arrived, but a browser only reports decoded bytes. */
function wasmSizes({ wasm, cache }: SitePaths): Plugin {
  let building = false
  return {
    name: 'tombolo:wasm-sizes',
    configResolved(config) {
      building = config.command === 'build'
    },
    resolveId: (id) => (id === SIZES ? `\0${SIZES}` : undefined),
    async load(id) {
      if (id !== `\0${SIZES}`) return undefined
      const bytes = await readFile(wasm)
      const raw = bytes.length
      const { br, gzip } = building ? await compress(bytes, cache) : { br: bytes, gzip: bytes }
      return `export default ${JSON.stringify({ raw, br: br.length, gzip: gzip.length })}`
    },
  }
}

function gatewayFiles({ gateway }: SitePaths): Plugin {
  return {
    name: 'tombolo:gateway',
    async generateBundle() {
      for (const path of gateway) {
        this.emitFile({ type: 'asset', fileName: basename(path), source: await readFile(path) })
      }
    },
    configureServer(server) {
      for (const path of gateway) {
        server.middlewares.use(`/${basename(path)}`, (_, response) => {
          response.setHeader('content-type', path.endsWith('.js') ? 'text/javascript' : 'text/html')
          void readFile(path).then((bytes) => response.end(bytes))
        })
      }
    },
  }
}

/** Gives the service worker the names of the build's files: everything that the page may load from its own site. */
function shellWorker({ shell }: SitePaths): Plugin {
  return {
    name: 'tombolo:shell',
    apply: 'build',
    generateBundle: {
      order: 'post',
      async handler(_, bundle) {
        const files = [
          '/',
          ...Object.keys(bundle)
            .filter((name) => name.startsWith('assets/'))
            .map((name) => `/${name}`),
        ]
        const build = createHash('sha256').update(files.join('\n')).digest('hex').slice(0, 16)
        const source = (await readFile(shell, 'utf8'))
          .replace('const FILES = []', `const FILES = ${JSON.stringify(files.sort())}`)
          .replace("const BUILD = ''", `const BUILD = '${build}'`)
        this.emitFile({ type: 'asset', fileName: basename(shell), source })
      },
    },
  }
}

/**
 * Writes `.br` and `.gz` beside every asset. The uncompressed program is removed, so that the relay's binary, which embeds the site, does
 * not carry it three times; the relay decompresses it for a client that accepts neither encoding.
 */
function precompressed({ out, cache }: SitePaths): Plugin {
  return {
    name: 'tombolo:precompress',
    apply: 'build',
    async buildStart() {
      for (const name of await readdir(out)) {
        if (name !== '.gitignore') await rm(`${out}/${name}`, { recursive: true })
      }
    },
    async writeBundle(_, bundle) {
      for (const name of Object.keys(bundle)) {
        const path = `${out}/${name}`
        const bytes = await readFile(path)
        if (bytes.length < MIN_BYTES) continue
        const { br, gzip } = await compress(bytes, cache)
        await writeFile(`${path}.br`, br)
        await writeFile(`${path}.gz`, gzip)
        if (name.endsWith('.wasm')) await rm(path)
      }
    },
  }
}
