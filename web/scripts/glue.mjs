// Go's wasm_exec.js as a module: a function that runs the script on globals that it is given, instead of those of the page.
import { readFileSync } from 'node:fs'

/** What the script names and go.ts hands in. The script's checks, and what it sets, are of `globalThis`. */
const NAMES =
  'globalThis, Array, Date, Object, TextDecoder, TextEncoder, Uint8Array, clearTimeout, crypto, performance, setTimeout'

export function glue(path) {
  return `export default (names) => {\nconst { ${NAMES} } = names\n${readFileSync(path, 'utf8')}\nreturn globalThis.Go\n}\n`
}
