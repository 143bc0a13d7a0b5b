import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'
import { site } from './site-plugin.ts'

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))

// The page is a user of the npm package like any other: it takes it as built, from dist/npm.
export default defineConfig({
  root: at('.'),
  resolve: { alias: { '@tombolo/node': at('../dist/npm/index.js') } },
  build: {
    outDir: at('../dist/site'),
    emptyOutDir: false, // dist/site/.gitignore stays, so that the folder exists in a fresh clone
    target: ['chrome109', 'firefox115', 'safari16.4'],
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 150,
  },
  server: {
    // `npm run dev` beside a running relay.
    proxy: { '/.well-known/tombolo': process.env['TOMBOLO_RELAY'] ?? 'http://localhost:8080' },
  },
  plugins: site({
    wasm: at('../dist/npm/tombolo.wasm'),
    chart: at('./chart.svg'),
    gateway: [at('../dist/npm/gateway-sw.js'), at('../dist/npm/gateway.html')],
    shell: at('./shell-sw.js'),
    out: at('../dist/site'),
    cache: at('../node_modules/.cache/precompress'),
  }),
})
