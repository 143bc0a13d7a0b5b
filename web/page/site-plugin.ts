import { createHash } from 'node:crypto'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Plugin } from 'vite'
import { compress, MIN_BYTES } from './precompress.ts'

interface SitePaths {
  /** The program, as the Go toolchain made it. */
  wasm: string
  /** The chart that index.html shows before any script has run. */
  chart: string
  /** The service worker of the gateway, and its page for other origins: they keep their names. */
  gateway: string[]
  /** The service worker that keeps the page's files. */
  shell: string
  /** Where the site is written. */
  out: string
  cache: string
}

const SIZES = 'virtual:wasm-sizes'

/** What the page needs from its build beyond Vite's own: the chart in its HTML, the program's sizes, and compressed assets. */
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
 * Has the browser fetch the program, and what the relay says of itself, as soon as it has read the HTML, instead of when the page's script
 * asks for them.
 */
function preloads(): Plugin {
  return {
    name: 'tombolo:preloads',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler: (_, { bundle }) =>
        [
          ...Object.keys(bundle ?? {}).filter((name) => /tombolo-[^.]*\.wasm$/.test(name)), // and not the rest of it, which is not wanted yet
          '.well-known/tombolo',
        ].map((name) => ({
          tag: 'link',
          attrs: { rel: 'preload', as: 'fetch', crossorigin: '', href: `/${name}` },
          injectTo: 'head',
        })),
    },
  }
}

/** `virtual:wasm-sizes`: the page shows how much of the transfer has arrived, and a browser tells it only what it decoded. */
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

/** The service worker knows the files of the build by name: all that the page may load of its own. */
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
 * Writes `.br` and `.gz` beside every asset. Of the program only these stay, so that the relay's binary, which embeds
 * the site, does not carry it three times; the relay unpacks it for a client that takes neither.
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
