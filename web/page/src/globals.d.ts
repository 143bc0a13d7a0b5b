/** The program's size in bytes, uncompressed and as transferred. Known when the page is built. */
declare module 'virtual:wasm-sizes' {
  const sizes: { raw: number; br: number; gzip: number }
  export default sizes
}

declare module '*.css' {}

interface ImportMeta {
  /** Set by Vite: true in a build, false on the development server. */
  readonly env: { readonly PROD: boolean }
}
