import type { LogRecord, TomboloNode } from '@tombolo/node'
import { Source } from '../source.js'

/** Older records are on the browser's console. */
const MAX_RECORDS = 300

export interface NumberedRecord extends LogRecord {
  n: number
}

/** The node's log records, newest first. */
export class NodeLog {
  readonly records = new Source<readonly NumberedRecord[]>([])
  #count = 0

  start(node: TomboloNode): void {
    node.addEventListener('log', ({ detail }) => {
      this.records.set([{ n: ++this.#count, ...detail }, ...this.records.value.slice(0, MAX_RECORDS - 1)])
    })
  }
}
