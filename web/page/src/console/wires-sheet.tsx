import type { ListenerInfo, StreamInfo } from '@tombolo/node'
import { protocolOf } from '../sharing/share-link.js'
import type { Offer, Offers } from '../sharing/offers.js'
import { useSource } from '../source.js'
import type { State } from '../tab/state.js'
import type { Wires } from './wires.js'
import { Flag } from '../ui/flag.js'
import { size, throughRelay, transportName } from '../ui/format.js'
import { PeerName } from '../ui/peer.js'
import { Trouble } from '../ui/trouble.js'

/** This tab's listeners, and the open streams. */
export function WiresSheet({ state, wires, offers }: { state: State; wires: Wires; offers: Offers }) {
  const { listeners, streams, unseen, failure } = useSource(wires.view)
  const { offers: served } = useSource(offers.view)
  return (
    <section class="sheet wires" aria-labelledby="wires-title">
      <h2 id="wires-title">Listeners and streams</h2>
      <Trouble failure={unseen} />
      <Trouble failure={failure} />
      <div class="wires-columns">
        <div>
          <h3>
            This tab listens on <span class="count">{listeners.length}</span>
          </h3>
          {listeners.length === 0 && <p class="waiting">Nothing: serve something, and it is here.</p>}
          <ul id="listeners">
            {listeners.map((listener) => (
              <ListenerRow
                key={listener.id}
                listener={listener}
                wires={wires}
                offers={offers}
                offer={served.find(({ name }) => protocolOf(name) === listener.protocol)}
              />
            ))}
          </ul>
        </div>
        <div>
          <h3>
            Streams open now <span class="count">{streams.length}</span>
          </h3>
          {streams.length === 0 && <p class="waiting">None.</p>}
          <ul id="streams">
            {streams.map((stream) => (
              <StreamRow key={stream.id} stream={stream} wires={wires} own={state.relay?.id} />
            ))}
          </ul>
        </div>
      </div>
    </section>
  )
}

interface ListenerProps {
  listener: ListenerInfo
  wires: Wires
  offers: Offers
  /** The offer that the listener serves; undefined if it was made in the console. */
  offer: Offer | undefined
}

function ListenerRow({ listener, wires, offers, offer }: ListenerProps) {
  const { protocol, announce, live, total, refused } = listener
  return (
    <li class="entry wire" data-protocol={protocol}>
      <div class="entry-what">
        <code>{protocol}</code>
        <span>
          {announce ? `${announce}; ` : ''}
          {live} open, {total} so far{refused > 0 && `, ${refused} not let in`}
        </span>
      </div>
      {offer ? (
        <button type="button" class="quiet" onClick={() => void offers.stop(offer.name).then(() => wires.look())}>
          Close<span class="hidden"> {protocol}</span>
        </button>
      ) : (
        <span class="chip">made in the console</span>
      )}
    </li>
  )
}

interface StreamProps {
  stream: StreamInfo
  wires: Wires
  /** This tab's relay. */
  own: string | undefined
}

function StreamRow({ stream, wires, own }: StreamProps) {
  const { id, protocol, peer, inbound, transport, relay, sent, received } = stream
  const carried = sent + received === 0 ? 'bytes not counted' : `${size(sent)} sent, ${size(received)} received`
  return (
    <li class="entry wire" data-protocol={protocol} data-stream={id}>
      <Flag id={peer} />
      <div class="entry-what">
        <code>{protocol}</code>
        <span>
          {inbound ? 'from' : 'to'} <PeerName id={peer} />,{' '}
          {relay ? throughRelay(relay, own) : transportName(transport)}, {carried}
        </span>
      </div>
      <button type="button" class="quiet" onClick={() => void wires.close(id)}>
        Close<span class="hidden"> the stream of {protocol}</span>
      </button>
    </li>
  )
}
