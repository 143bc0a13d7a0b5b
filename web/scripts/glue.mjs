// Wraps Go's wasm_exec.js in a module: a function that runs the script with the globals that it is given, instead of those of the page.
import { readFileSync } from 'node:fs'

/** The globals that go.ts passes to the script. What the script checks or sets is on `globalThis`. */
const NAMES =
  'globalThis, Array, Date, Object, TextDecoder, TextEncoder, Uint8Array, clearTimeout, crypto, performance, setTimeout'

export function glue(path) {
  return `export default (names) => {\nconst { ${NAMES} } = names\n${readFileSync(path, 'utf8')}\nreturn globalThis.Go\n}\n`
}
