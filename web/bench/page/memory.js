// Comes before all else in the scripts that may run the program: keeps its memory, and says how large it is to whoever asks, as `linearMemory`
// in measure.js does.
const memories = []
const { instantiate } = WebAssembly

WebAssembly.instantiate = async (...args) => {
  const made = await instantiate(...args)
  memories.push(...Object.values((made.instance ?? made).exports).filter((it) => it instanceof WebAssembly.Memory))
  return made
}

const channel = new BroadcastChannel('bench memory')
channel.onmessage = ({ data }) => {
  if (data === 'how much?' && memories.length > 0) channel.postMessage(size())
}
globalThis.benchMemory = size

function size() {
  return memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0)
}
