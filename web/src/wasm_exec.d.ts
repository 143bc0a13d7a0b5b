import type { GoClass } from './go.js'

/** Go's wasm_exec.js, which the build has made a function of the globals that it names: see scripts/glue.mjs. */
export default function wasmExec(names: Record<string, unknown>): GoClass
