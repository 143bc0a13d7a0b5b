// Go's wasm_exec.js stands beside the built package. It is a script, imported for what it does.
export {}
