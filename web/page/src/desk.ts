import type { TomboloNode } from '@tombolo/node'
import { Echoes } from './tab/echoes.js'
import { Getting } from './sharing/getting.js'
import { readConfig } from './config.js'
import { Instruments } from './console/instruments.js'
import { Mesh } from './mesh/mesh.js'
import { Traffic } from './mesh/traffic.js'
import { NodeLog } from './console/node-log.js'
import { People } from './people/people.js'
import { Offers } from './sharing/offers.js'
import { Pairing } from './sharing/pairing.js'
import { Talk } from './talk/talk.js'
import { Door } from './world/door.js'
import { Wires } from './console/wires.js'

/** The features of the page that use the node once it runs, each with its own state. */
export class Desk {
  readonly echoes = new Echoes()
  readonly mesh = new Mesh()
  readonly people = new People()
  readonly offers = new Offers(readConfig(location.search, isSecureContext).identity === 'persistent')
  readonly wires = new Wires()
  readonly traffic = new Traffic(this.wires)
  readonly talk = new Talk(this.people, this.offers, this.traffic)
  readonly getting = new Getting()
  readonly pairing = new Pairing(this.offers)
  readonly instruments = new Instruments(this.wires)
  readonly nodeLog = new NodeLog()
  readonly door = new Door()

  /** Starts with a node; the signal aborts when that node ends. */
  start(node: TomboloNode, signal: AbortSignal): void {
    const { people, echoes, mesh, talk, offers, getting, pairing, wires, instruments, nodeLog, door } = this
    for (const part of [people, echoes, mesh, talk, offers, getting, pairing, wires, instruments, nodeLog, door])
      part.start(node, signal)
  }
}
