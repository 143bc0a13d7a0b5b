// Runs a Go program until it blocks, and writes its memory, its registers, and how what it has of JavaScript is had again:
//   node snapshot.mjs wasm_exec.js program.wasm memory state.json
// Clock and randomness are made up, so that the same program leaves the same behind. See snapshot.go.
import { readFileSync, writeFileSync } from 'node:fs'

const [, , wasmExec, program, memoryFile, stateFile] = process.argv
const GLOBAL = 5
const GO = 6
/** The time, in milliseconds since 1970. */
const BEGUN = 1_700_000_000_000
/** Where the glue puts the results of calls, from the stack pointer. */
const RESULTS = { 'syscall/js.valueGet': 32, 'syscall/js.valueNew': 40, 'syscall/js.valueCall': 56 }

// What web/src/go.ts gives a program, less what differs between machines.
const globals = {
  Array,
  Date: class {
    static now = () => BEGUN
    getTime = () => BEGUN
  },
  Object,
  TextDecoder,
  TextEncoder,
  Uint8Array,
  clearTimeout: () => refuse('stops a timer'),
  crypto: { getRandomValues: randomness() },
  performance: clock(),
  setTimeout: () => refuse('waits for a timer'),
}
const names = { ...globals, globalThis: globals }
new Function(...Object.keys(names), readFileSync(wasmExec, 'utf8'))(...Object.values(names))

const go = new globals.Go()
const { gojs } = go.importObject
const stubs = new Set([globals.fs, globals.fs.constants, globals.process, globals.path])
/** What may be called again when the program is loaded. */
const PURE = [Object.getPrototypeOf, Object.getOwnPropertyDescriptor, go._makeFuncWrapper]
/** How each value came to be: see `how`. */
const origins = new Map()
/** The globals that the program sets. */
const sets = []

watch('syscall/js.valueGet', ([of, name], result) => {
  if (stubs.has(of) && typeof result !== 'object') return
  if (isPlain(result)) refuse(`reads ${String(name)}, which is ${String(result)} here`)
  origins.set(result, ['get', of, name])
})
watch('syscall/js.valueSet', ([of, name, value]) => {
  if (of === globalThis) return void sets.push([name, value])
  const origin = origins.get(of)
  if (origin?.[0] !== 'new') refuse(`changes what is not its own: ${String(name)}`)
  origin[2].push([name, value])
})
watch('syscall/js.valueNew', ([what, ...args], result) => {
  if (args.length > 0) refuse(`makes something of ${args.length} arguments`)
  origins.set(result, ['new', what, []])
})
watch('syscall/js.valueCall', ([of, name, ...args], result) => {
  if (!PURE.includes(of?.[name])) refuse(`calls ${String(name)}`)
  origins.set(result, ['call', of, name, args])
})
for (const method of ['valueInvoke', 'valueDelete', 'valueSetIndex', 'valueIndex', 'copyBytesToGo', 'copyBytesToJS']) {
  gojs[`syscall/js.${method}`] = () => refuse(`does ${method}`)
}
gojs['runtime.scheduleTimeoutEvent'] = () => refuse('waits for a timer')

const module = await WebAssembly.compile(readFileSync(program))
const imports = { ...go.importObject }
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  if (!(from in go.importObject)) (imports[from] ??= {})[name] = () => refuse(`calls ${from}.${name}`) // what its loader provides
}
const instance = await WebAssembly.instantiate(module, imports)
const ended = go.run(instance)
if (go.exited) await ended.then(() => refuse('ends'))
if (go._pendingEvent !== null) refuse('waits for an event')

const live = new Map()
go._values.forEach((value, id) => {
  if (id > GO && !go._idPool.includes(id)) live.set(value, id)
})
const values = [...live].map(([value, id]) => [id, go._goRefCounts[id], how(value)])
const registers = []
for (let i = 0; `g${i}` in instance.exports; i++) registers.push(instance.exports[`g${i}`].value)
writeFileSync(memoryFile, new Uint8Array(instance.exports.mem.buffer))
const described = JSON.stringify({
  values,
  globals: sets.map(([name, value]) => [name, part(value)]),
  free: go._idPool,
})
writeFileSync(stateFile, `{"globals":[${registers.join()}],"values":${described}}`)
process.exit(0)

/**
 * How a value is had again: `["get", of, name]` of another value, `["call", of, name, [argument…]]`, and `["new", what, [[name, value]…]]`
 * with properties. Other values are told like this, too, or are their numbers if the program holds them, or `{ value }`.
 */
function how(value) {
  if (value === globalThis) return GLOBAL
  if (value === go) return GO
  if (typeof value === 'string') return { value }
  const origin = origins.get(value)
  if (origin === undefined) refuse(`has a value of unknown origin: ${String(value)}`)
  const [kind, of, what, args] = origin
  if (kind === 'get') return [kind, part(of), what]
  if (kind === 'call') return [kind, part(of), what, args.map(part)]
  return [kind, part(of), what.map(([name, v]) => [name, part(v)])]
}

function part(value) {
  if (isPlain(value)) return { value }
  return live.get(value) ?? how(value)
}

function isPlain(value) {
  return value === null || !['object', 'function', 'symbol'].includes(typeof value)
}

/** Tells f what a call of the program was about, and what came of it. */
function watch(method, f) {
  const original = gojs[method]
  gojs[method] = (sp) => {
    const args = argumentsOf(method, sp)
    // The glue takes `globals` for the global object: see shield in web/src/go.ts.
    go._values[GLOBAL] = method.endsWith('valueGet') && !Object.hasOwn(globals, args[1]) ? globalThis : globals
    try {
      original(sp)
    } finally {
      go._values[GLOBAL] = globalThis
    }
    f(args, method in RESULTS && value((instance.exports.getsp() >>> 0) + RESULTS[method]))
  }
}

function argumentsOf(method, sp) {
  sp >>>= 0
  const name = () => text(sp + 16)
  switch (method) {
    case 'syscall/js.valueGet':
      return [value(sp + 8), name()]
    case 'syscall/js.valueSet':
      return [value(sp + 8), name(), value(sp + 32)]
    case 'syscall/js.valueNew':
      return [value(sp + 8), ...list(sp + 16)]
    default:
      return [value(sp + 8), name(), ...list(sp + 32)]
  }
}

function value(at) {
  const f = go.mem.getFloat64(at, true)
  if (f === 0) return undefined
  if (!Number.isNaN(f)) return f
  const found = go._values[go.mem.getUint32(at, true)]
  return found === globals ? globalThis : found
}

function list(at) {
  const from = Number(go.mem.getBigInt64(at, true))
  return Array.from({ length: Number(go.mem.getBigInt64(at + 8, true)) }, (_, i) => value(from + 8 * i))
}

function text(at) {
  const from = Number(go.mem.getBigInt64(at, true))
  return new TextDecoder().decode(new Uint8Array(go.mem.buffer, from, Number(go.mem.getBigInt64(at + 8, true))))
}

function refuse(what) {
  console.error(`while it starts, the program ${what}`)
  process.exit(1)
}

/** Numbers that are random enough for a hash, and the same each time. */
function randomness() {
  let seed = 1
  return (bytes) => {
    for (let i = 0; i < bytes.length; i++) bytes[i] = (seed = (seed * 48271) % 2147483647) >> 8
    return bytes
  }
}

/** A clock that goes on by a microsecond at each look. */
function clock() {
  let now = 0
  return { timeOrigin: BEGUN, now: () => (now += 0.001) }
}
