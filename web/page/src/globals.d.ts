/** Sizes of the program in bytes, as it is and as it is transferred. Known when the page is built. */
declare module 'virtual:wasm-sizes' {
  const sizes: { raw: number; br: number; gzip: number }
  export default sizes
}

declare module '*.css' {}

interface ImportMeta {
  /** Of Vite: whether this is a build, and not the server of whoever works on the page. */
  readonly env: { readonly PROD: boolean }
}
