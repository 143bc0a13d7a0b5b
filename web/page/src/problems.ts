import { TomboloError, type TomboloErrorCode } from '@tombolo/node'
import { message, type Failure } from './failures.js'

/** A failure of the whole page that a person must know of. */
export interface Problem extends Failure {
  kind: string
}

type Words = Pick<Problem, 'title' | 'advice'>

const REBUILD =
  'If you run this relay, build it again with “make build” and restart it. Otherwise reload the page without its cache (Shift and reload).'

/** By the codes that `createNode` rejects with, or that a node ends with. */
const BY_CODE: Partial<Record<TomboloErrorCode, Words>> = {
  unsupported: {
    title: 'This browser cannot run the node',
    advice: 'Use a current Chrome, Edge, Firefox or Safari.',
  },
  'wasm-unreachable': {
    title: 'The node’s program could not be fetched',
    advice: 'Check that the relay is running and that you are online, then try again.',
  },
  'wasm-not-found': { title: 'The node’s program is not on this server', advice: REBUILD },
  'wasm-refused': { title: 'The server would not hand out the node’s program', advice: REBUILD },
  'wasm-type': {
    title: 'The server hands out the node’s program as the wrong type',
    advice: 'A server in between must leave the content type application/wasm as it is.',
  },
  'wasm-truncated': {
    title: 'The download of the node’s program broke off',
    advice: 'Check that you are online, then try again.',
  },
  'wasm-invalid': { title: 'What was downloaded is not the node’s program', advice: REBUILD },
  option: { title: 'The node could not be made', advice: 'Check the address of this page.' },
  'worker-unreachable': { title: 'The node’s worker could not be loaded', advice: REBUILD },
  restart: { title: 'The node is being started again', advice: 'Try again in a moment.' },
  crashed: { title: 'The node has stopped', advice: 'Reload the page to start it again.' },
}

/** Returns the words for a node that could not be created, or has ended. */
export function startProblem(error: unknown): Problem {
  const detail = message(error)
  const words = error instanceof TomboloError ? BY_CODE[error.code] : undefined
  if (error instanceof TomboloError && words !== undefined) return { kind: error.code, detail, ...words }
  return {
    kind: 'node',
    title: 'The node could not be made',
    detail,
    advice: 'Check what the address of this page asks for (relay, transport), then reload.',
  }
}

export function relayUnknown(error: unknown): Problem {
  // fetch fails like this if a server cannot be reached or does not answer.
  if (error instanceof TypeError || (error instanceof DOMException && error.name === 'TimeoutError')) {
    return {
      kind: 'offline',
      title: 'Nobody can be reached',
      detail: message(error),
      advice:
        'This device, or the relay that the page comes from, is offline. What you wrote and what you share is kept, and the views open; files and messages pass again once the page is loaded anew and finds its relay.',
    }
  }
  return {
    kind: 'relay-unknown',
    title: 'This page does not know which relay to join',
    detail: message(error),
    advice: 'Serve the page from tombolo-relay, or add “?relay=” and its multiaddr to the address of this page.',
  }
}

export function relaySilent(addrs: string[], reason: string | undefined): Problem {
  return {
    kind: 'relay-silent',
    title: 'The relay does not answer',
    detail: reason ?? `tried ${addrs.join('  ')}`,
    advice:
      'This tab keeps trying. Check that the relay is running and can be reached from here; where UDP is blocked, add “?transport=websocket” to the address of this page.',
  }
}

export function insecureContext(origin: string): Problem {
  return {
    kind: 'insecure',
    title: 'This page was not opened over a secure connection',
    detail: `${origin} is plain HTTP, so the browser gives it no WebTransport and no place for a key.`,
    advice:
      'The tab works over WebSocket, under a new id after each reload. Open the page by https or as localhost to have both.',
  }
}
