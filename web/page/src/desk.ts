import type { TomboloNode } from '@tombolo/node'
import { Echoes } from './echoes.js'
import { Getting } from './getting.js'
import { Instruments } from './instruments.js'
import { Mesh } from './mesh.js'
import { NodeLog } from './node-log.js'
import { Offers } from './offers.js'
import { Talk } from './talk.js'
import { Wires } from './wires.js'

/** What a person does with the node and sees of it once it is there, each with a state of its own. */
export class Desk {
  readonly echoes = new Echoes()
  readonly mesh = new Mesh()
  readonly talk = new Talk()
  readonly offers = new Offers()
  readonly getting = new Getting()
  readonly wires = new Wires()
  readonly instruments = new Instruments(this.wires)
  readonly nodeLog = new NodeLog()

  /** Begins with a node; the signal is its end. */
  start(node: TomboloNode, signal: AbortSignal): void {
    const { echoes, mesh, talk, offers, getting, wires, instruments, nodeLog } = this
    for (const part of [echoes, mesh, talk, offers, getting, wires, instruments, nodeLog]) part.start(node, signal)
  }
}
