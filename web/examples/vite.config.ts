import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))

// The examples use the package as built in dist/npm. Your own program installs the package, and needs no alias.
export default defineConfig({
  root: at('.'),
  base: './',
  resolve: { alias: { '@tombolo/node': at('../dist/npm/index.js') } },
  build: {
    outDir: at('../dist/examples'),
    emptyOutDir: true,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: { input: ['chat', 'counter', 'game'].map((name) => at(`./${name}/index.html`)) },
  },
})
