import { NameBox } from '../people/name-box.js'
import type { People } from '../people/people.js'
import { callLink } from '../sharing/share-link.js'
import type { State } from './state.js'
import { CopyButton } from '../ui/copy.js'
import { Flag } from '../ui/flag.js'
import { clock, transportName } from '../ui/format.js'
import { Peer } from '../ui/peer.js'

/** This tab's identity and addresses, folded away until somebody wants to see them. */
export function SelfCard({ state, people }: { state: State; people: People }) {
  const { self, relay, peers, phase } = state
  const link = peers.find((peer) => peer.id === relay?.id)
  const circuit = self && phase === 'joined' ? callableAt(self.addrs, link?.addr) : undefined
  return (
    <details class="self">
      <summary>
        {self ? <Peer id={self.id} /> : null} <span>{self ? 'You' : 'No ID yet'}</span>
      </summary>
      <NameBox people={people} />
      {self ? (
        <p class="identity">
          <Flag id={self.id} />
          <code id="own-id">{self.id}</code>
          <CopyButton text={self.id} what="the peer ID of this tab" />
        </p>
      ) : (
        <p class="waiting">This tab gets its ID when it has started.</p>
      )}
      <dl>
        <dt>ID</dt>
        <dd>{self ? (self.identity === 'persistent' ? 'kept in this browser' : 'new at each load') : '–'}</dd>
        <dt>Relay</dt>
        <dd id="relay-id">{relay ? <Peer id={relay.id} /> : 'none'}</dd>
        <dt>Reached over</dt>
        <dd id="relay-transport">{link ? transportName(link.transport) : 'not connected'}</dd>
        <dt>Reservation</dt>
        <dd id="reservation" data-held={phase === 'joined'}>
          {reservation(state)}
        </dd>
      </dl>
      {self && circuit !== undefined && (
        <div class="callable">
          <p>Other peers reach this tab at</p>
          <p class="identity">
            <code id="circuit-addr">{circuit}</code>
            <CopyButton text={circuit} what="the address of this tab" />
          </p>
          <p>
            <a href={callLink(self.id)} target="_blank" rel="noopener">
              Open a second tab that connects to this one
            </a>
          </p>
        </div>
      )}
    </details>
  )
}

/**
 * Returns the address to give to others: a WebSocket address, which every peer can use, at the host name under which the relay was reached.
 */
function callableAt(addrs: string[], relayAddr: string | undefined): string | undefined {
  const circuits = addrs.filter((addr) => addr.includes('/p2p-circuit'))
  const host = relayAddr?.split('/', 3).join('/') + '/'
  const near = circuits.filter((addr) => addr.startsWith(host))
  return near.find((addr) => /\/wss?\//.test(addr)) ?? near[0] ?? circuits[0]
}

function reservation({ phase, relay }: State): string {
  if (phase === 'joined') return relay?.expires ? `held, renewed before ${clock(relay.expires)}` : 'held'
  if (phase === 'adrift') return 'lost; trying again'
  return relay === undefined ? 'none' : 'asked for'
}
