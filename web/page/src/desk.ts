import type { TomboloNode } from '@tombolo/node'
import { Talk } from './talk.js'

/** What a person does with the node once it is there, each with a state of its own. */
export class Desk {
  readonly talk: Talk

  constructor(onChange: () => void) {
    this.talk = new Talk(onChange)
  }

  run(node: TomboloNode): void {
    this.talk.run(node)
  }
}
