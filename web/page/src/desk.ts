import type { TomboloNode } from '@tombolo/node'
import { Getting } from './getting.js'
import { Offers } from './offers.js'
import { Talk } from './talk.js'
import { Wires } from './wires.js'

/** What a person does with the node once it is there, each with a state of its own. */
export class Desk {
  readonly talk: Talk
  readonly offers: Offers
  readonly getting: Getting
  readonly wires: Wires

  constructor(onChange: () => void) {
    this.talk = new Talk(onChange)
    this.offers = new Offers(onChange)
    this.getting = new Getting(onChange)
    this.wires = new Wires(onChange)
  }

  run(node: TomboloNode): void {
    for (const part of [this.talk, this.offers, this.getting, this.wires]) part.run(node)
  }
}
