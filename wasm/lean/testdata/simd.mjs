// Runs a program that was built with -simd, as web/src/simd.ts has it run: node simd.mjs wasm_exec.js program.wasm vectors|none
// At the end it says how often the program called what it was given.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [, , wasmExec, program, has] = process.argv;
globalThis.fs = createRequire(import.meta.url)("node:fs");
new Function(readFileSync(wasmExec, "utf8"))();

const module = new WebAssembly.Module(readFileSync(program));
const [section] = WebAssembly.Module.customSections(module, "tombolo.chachapoly");
const go = new globalThis.Go();
let cipher;
let calls = 0;
const count = (f) => (calls++, f());
const chachapoly = {
  ready: () => (cipher ? 1 : 0),
  xor: (...args) => count(() => cipher.xor(...args)),
  mac: (...args) => count(() => cipher.mac(...args)),
};
const instance = new WebAssembly.Instance(module, { ...go.importObject, chachapoly });
if (has === "vectors")
  cipher = new WebAssembly.Instance(new WebAssembly.Module(section), { program: instance.exports }).exports;
await go.run(instance);
console.log(calls > 0 ? "used" : "unused");
