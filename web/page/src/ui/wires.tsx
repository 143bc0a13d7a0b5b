import type { ListenerInfo, StreamInfo } from '@tombolo/node'
import { protocolOf } from '../link.js'
import type { Offers } from '../offers.js'
import type { Wires } from '../wires.js'
import { Flag } from './flag.js'
import { shortId, size, transportName } from './format.js'

/** What this tab's node listens on, and the streams that are open. */
export function WiresSheet({ wires, offers }: { wires: Wires; offers: Offers }) {
  const { listeners, streams, error } = wires.state
  return (
    <section class="sheet wires" aria-labelledby="wires-title">
      <h2 id="wires-title">Listeners and streams</h2>
      {error !== undefined && (
        <p class="form-error" role="alert">
          {error}
        </p>
      )}
      <div class="wires-columns">
        <div>
          <h3>
            This tab listens on <span class="count">{listeners.length}</span>
          </h3>
          {listeners.length === 0 && <p class="waiting">Nothing: serve something, and it is here.</p>}
          <ul id="listeners">
            {listeners.map((listener) => (
              <ListenerRow key={listener.id} listener={listener} wires={wires} offers={offers} />
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
              <StreamRow key={stream.id} stream={stream} wires={wires} />
            ))}
          </ul>
        </div>
      </div>
    </section>
  )
}

function ListenerRow({ listener, wires, offers }: { listener: ListenerInfo; wires: Wires; offers: Offers }) {
  const { protocol, announce, live, total, refused } = listener
  const offer = offers.state.offers.find(({ name }) => protocolOf(name) === protocol)
  return (
    <li class="wire" data-protocol={protocol}>
      <div class="wire-what">
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

function StreamRow({ stream, wires }: { stream: StreamInfo; wires: Wires }) {
  const { id, protocol, peer, inbound, transport, relay, sent, received } = stream
  const carried = sent + received === 0 ? 'bytes not counted' : `${size(sent)} sent, ${size(received)} received`
  return (
    <li class="wire" data-protocol={protocol} data-stream={id}>
      <Flag id={peer} />
      <div class="wire-what">
        <code>{protocol}</code>
        <span>
          {inbound ? 'from' : 'to'} {shortId(peer)}, {relay ? 'through a relay' : transportName(transport)}, {carried}
        </span>
      </div>
      <button type="button" class="quiet" onClick={() => void wires.close(id)}>
        Close<span class="hidden"> the stream of {protocol}</span>
      </button>
    </li>
  )
}
