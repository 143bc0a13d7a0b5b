// Starts a program, from a snapshot or not, in one file or two, several times, and prints what it says each time:
//   node start.mjs wasm_exec.js program.wasm [times] [rest.wasm]
import { readFileSync } from 'node:fs'

const [, , wasmExec, program, times = '1', restFile] = process.argv
// As in a browser.
for (const name of ['fs', 'process', 'path']) globalThis[`its ${name}`] = globalThis[name]
const { process: node } = globalThis
delete globalThis.process
;(0, eval)(readFileSync(wasmExec, 'utf8'))

const module = await WebAssembly.compile(readFileSync(program))
const section = (m, name) => {
  const [bytes] = WebAssembly.Module.customSections(m, name)
  return bytes && new TextDecoder().decode(bytes)
}
const said = []
for (let i = 0; i < Number(times); i++) said.push(await start())
console.log(JSON.stringify(said))
node.exit(0)

async function start() {
  const go = new Go()
  let loaded = 0
  const load = () => {
    const rest = new WebAssembly.Module(readFileSync(restFile))
    if (section(rest, 'tombolo.rest') !== section(module, 'tombolo.rest')) throw new Error('another build')
    new WebAssembly.Instance(rest, { ...go.importObject, rest: { load }, program: instance.exports })
    loaded++
  }
  const instance = await WebAssembly.instantiate(module, { ...go.importObject, rest: { load } })
  const snapshot = section(module, 'tombolo.snapshot')
  if (snapshot === undefined) void go.run(instance)
  else restore(go, instance, JSON.parse(snapshot))
  return { ...globalThis.waiting.look(), kind: globalThis.waiting.kind, loaded, snapshot: snapshot !== undefined }
}

function restore(go, instance, { values, globals, free }) {
  const had = [NaN, 0, null, true, false, globalThis, go]
  const have = (how) => {
    if (typeof how === 'number') return had[how]
    if (!Array.isArray(how)) return how.value
    const of = have(how[1])
    if (how[0] === 'get') return of[how[2]]
    if (how[0] === 'call') return of[how[2]](...how[3].map(have))
    return Object.assign(new of(), Object.fromEntries(how[2].map(([name, part]) => [name, have(part)])))
  }
  Object.assign(go, { _inst: instance, mem: new DataView(instance.exports.mem.buffer), exited: false, _idPool: free })
  go._values = had
  go._goRefCounts = had.map(() => Infinity)
  // A value may be made of those that come after it.
  for (let left = values; left.length > 0; ) {
    const waits = (how) => (typeof how === 'number' ? !(how in had) : Array.isArray(how) && how.flat(2).some((part) => typeof part === 'number' && !(part in had)))
    const ready = left.filter(([, , how]) => !waits(how[0] === 'call' ? [how[1], ...how[3]] : how))
    for (const [id, refs, how] of ready) {
      had[id] = have(how)
      go._goRefCounts[id] = refs
    }
    left = left.filter((value) => !ready.includes(value))
  }
  go._ids = new Map(had.map((value, id) => [value, id]))
  for (const [name, how] of globals) globalThis[name] = have(how)
  instance.exports.reseed()
}
