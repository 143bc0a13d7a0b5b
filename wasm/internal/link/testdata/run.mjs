// Runs a program in two files, as Go's wasm_exec_node.js runs one:
//   node run.mjs wasm_exec.js program.wasm rest.wasm [bits]
// The last argument is a file for what a traced program notes.
import fs from 'node:fs'
import path from 'node:path'

const [, , wasmExec, program, restFile, bits] = process.argv
Object.assign(globalThis, { fs, path })
;(0, eval)(fs.readFileSync(wasmExec, 'utf8'))
const go = new Go()
go.exit = (code) => {
  if (bits) fs.writeFileSync(bits, new Uint8Array(instance.exports.mem.buffer, 0, 4096))
  process.exit(code)
}
const load = () => {
  const rest = new WebAssembly.Module(fs.readFileSync(restFile))
  new WebAssembly.Instance(rest, { ...go.importObject, rest: { load }, program: instance.exports })
}
const { instance } = await WebAssembly.instantiate(fs.readFileSync(program), { ...go.importObject, rest: { load } })
await go.run(instance)
