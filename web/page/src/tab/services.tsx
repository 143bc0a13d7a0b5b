import type { Service } from '@tombolo/node'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Session } from './session.js'
import { isSite } from './sites.js'
import type { Site, State } from './state.js'
import { Flag } from '../ui/flag.js'
import { plain, shortId } from '../ui/format.js'
import { Trouble } from '../ui/trouble.js'

const MAX_SHOWN = 200

/** What connected peers offer this tab. */
export function Services({ state, session }: { state: State; session: Session }) {
  const { services, left } = useMemo(() => offered(state.services), [state.services])
  return (
    <section class="sheet services" aria-labelledby="services-title">
      <h2 id="services-title">
        Services <span class="count">{services.length + left}</span>
      </h2>
      {services.length === 0 ? (
        <p class="waiting">No connected peer offers anything.</p>
      ) : (
        <ul id="services">
          {services.map((service) => (
            <Row key={`${service.peer} ${service.protocol}`} service={service} session={session} />
          ))}
        </ul>
      )}
      {left > 0 && <p class="form-note">{left.toLocaleString()} more are offered, and not shown.</p>}
    </section>
  )
}

/** Each once, in words that can be shown: it is the peers who say what they offer. */
function offered(services: Service[]): { services: Service[]; left: number } {
  const each = new Map(services.map((service) => [`${service.peer} ${service.protocol}`, service]))
  const shown = [...each.values()].slice(0, MAX_SHOWN)
  return {
    services: shown.map((service) => ({ ...service, description: plain(service.description, 256) })),
    left: each.size - shown.length,
  }
}

function Row({ service, session }: { service: Service; session: Session }) {
  const { peer, protocol, description } = service
  return (
    <li class="entry service" data-protocol={protocol}>
      <Flag id={peer} />
      <div class="entry-what">
        <code title={peer}>{plain(protocol, 256)}</code>
        <span>{description || `of ${shortId(peer)}`}</span>
      </div>
      {isSite(protocol) ? (
        <button class="quiet" onClick={() => void session.openSite(peer, protocol)}>
          Open<span class="hidden"> {description || protocol}</span>
        </button>
      ) : (
        <span class="chip">no site</span>
      )}
    </li>
  )
}

/** A site of a peer, in a frame. */
export function SiteView({ site, session }: { site: Site; session: Session }) {
  const [loads, setLoads] = useState(0)
  const view = useRef<HTMLElement>(null)
  const { peer, protocol, shown, failure } = site
  useEffect(() => {
    view.current?.scrollIntoView({ block: 'nearest' })
    view.current?.focus({ preventScroll: true })
  }, [peer, protocol])
  return (
    <section class="sheet site" aria-labelledby="site-title" tabIndex={-1} ref={view}>
      <h2 id="site-title">Site of a peer</h2>
      <div class="site-bar">
        <Flag id={peer} />
        <code id="site-address" title={shown?.url}>
          {shortId(peer)}
          {protocol}/
        </code>
        <button class="quiet" onClick={() => (shown ? setLoads(loads + 1) : void session.openSite(peer, protocol))}>
          Reload
        </button>
        <button class="quiet" onClick={() => session.closeSite()}>
          Close
        </button>
      </div>
      {shown?.caveat !== undefined && (
        <p class="site-caveat">
          Shown without its scripts, since it would share this page’s origin, and so its key. {shown.caveat}
        </p>
      )}
      {failure !== undefined ? (
        <Trouble failure={failure} />
      ) : shown === undefined ? (
        <p class="waiting" role="status">
          Opening…
        </p>
      ) : (
        <iframe
          key={`${shown.url} ${loads}`}
          src={shown.url}
          sandbox={shown.sandbox}
          referrerpolicy="no-referrer"
          title={`${protocol} of ${peer}`}
        />
      )}
    </section>
  )
}
