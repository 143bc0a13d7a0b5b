// Loaded first in every script that may run the program: keeps the program's memory, and reports its size on request, as `linearMemory` in
// measure.js needs it.
const memories = new Set()
const { instantiate, Instance } = WebAssembly

function keep(instance) {
  for (const it of Object.values(instance.exports)) if (it instanceof WebAssembly.Memory) memories.add(it)
  return instance
}

WebAssembly.instantiate = async (...args) => {
  const made = await instantiate(...args)
  keep(made.instance ?? made)
  return made
}
WebAssembly.Instance = new Proxy(Instance, { construct: (target, args) => keep(new target(...args)) })

const channel = new BroadcastChannel('bench memory')
channel.onmessage = ({ data }) => {
  if (data === 'how much?' && memories.size > 0) channel.postMessage(size())
}
globalThis.benchMemory = size

function size() {
  return [...memories].reduce((sum, { buffer }) => sum + buffer.byteLength, 0)
}
