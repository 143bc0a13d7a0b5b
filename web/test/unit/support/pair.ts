import { MessageChannel } from 'node:worker_threads'
import type { Part } from '../../../src/wire/streams.js'
import { type End, type Packet, type Port, Wire } from '../../../src/wire/wire.js'

/** Returns both ends of a wire over a real channel, which clones or transfers everything. The worker's end answers. */
export function wires(answer: End['answer'], page: Partial<End> = {}, worker: Partial<End> = {}) {
  const { port1, port2 } = new MessageChannel()
  const none = { answer, told: () => {}, part: (_: number, _part: Part) => {} }
  const make = (port: typeof port1, end: Partial<End>) => {
    const wire = new Wire(port as unknown as Port, { ...none, givesBytes: false, ...end })
    port.on('message', (packet: Packet) => wire.receive(packet))
    return wire
  }
  const ends = { page: make(port1, page), worker: make(port2, { givesBytes: true, ...worker }) }
  return { ...ends, close: () => port1.close() }
}
