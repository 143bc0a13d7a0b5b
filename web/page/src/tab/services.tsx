import type { Service } from '@tombolo/node'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Session } from './session.js'
import { isSite } from './sites.js'
import type { Site, State } from './state.js'
import { Flag } from '../ui/flag.js'
import { count, plain, shortId } from '../ui/format.js'
import { Peer } from '../ui/peer.js'
import { Trouble } from '../ui/trouble.js'

/** The most peers that are shown, and the most services of each until somebody wants to see more, so that no peer crowds out the others. */
const MAX_PEERS = 50
const MAX_EACH = 4
const MAX_OPEN = 200

/** The services that connected peers offer this tab. */
export function Services({ state, session }: { state: State; session: Session }) {
  const groups = useMemo(() => offered(state.services), [state.services])
  const left = groups.length - MAX_PEERS
  // By peer, because a peer that fails to answer once disappears and returns.
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set())
  return (
    <section class="sheet services" aria-labelledby="services-title">
      <h2 id="services-title">What others share</h2>
      {groups.length === 0 && <p class="waiting">Nobody who is connected to this tab shares anything.</p>}
      {groups.slice(0, MAX_PEERS).map(([peer, services]) => (
        <Group
          key={peer}
          peer={peer}
          services={services}
          session={session}
          open={open.has(peer)}
          onOpen={() => setOpen(new Set(open).add(peer))}
        />
      ))}
      {left > 0 && (
        <p class="form-note">{count(left, 'more peer shares', 'more peers share')} something, and are not shown.</p>
      )}
    </section>
  )
}

/** Groups services by peer, each service once, with text that is safe to show: the peers choose it. */
export function offered(services: Service[]): [peer: string, services: Service[]][] {
  const groups = new Map<string, Map<string, Service>>()
  for (const service of services) {
    const group = groups.get(service.peer) ?? new Map<string, Service>()
    groups.set(service.peer, group)
    if (group.size < MAX_OPEN) group.set(service.protocol, service)
  }
  return [...groups].map(([peer, group]) => [peer, [...group.values()]])
}

interface GroupProps {
  peer: string
  services: Service[]
  session: Session
  open: boolean
  onOpen(): void
}

function Group({ peer, services, session, open, onOpen }: GroupProps) {
  const shown = open ? services : services.slice(0, MAX_EACH)
  return (
    <div class="services-of" data-peer={peer}>
      <h3>
        <Peer id={peer} />
      </h3>
      <ul>
        {shown.map((service) => (
          <Row key={service.protocol} service={service} session={session} />
        ))}
      </ul>
      {shown.length < services.length && (
        <button type="button" class="quiet" onClick={onOpen}>
          Show {services.length - shown.length} more of theirs
        </button>
      )}
    </div>
  )
}

function Row({ service, session }: { service: Service; session: Session }) {
  const { peer, protocol } = service
  const description = plain(service.description, 256)
  return (
    <li class="entry service" data-protocol={protocol}>
      <div class="entry-what">
        {description || <code>{plain(protocol, 256)}</code>}
        {description !== '' && (
          <span>
            <code title={peer}>{plain(protocol, 256)}</code>
          </span>
        )}
      </div>
      {isSite(protocol) ? (
        <button type="button" class="quiet" onClick={() => void session.openSite(peer, protocol)}>
          Open<span class="hidden"> {description || protocol}</span>
        </button>
      ) : (
        <span class="chip">for programs</span>
      )}
    </li>
  )
}

/** A peer's site, in a frame. */
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
      <h2 id="site-title">Shared by a peer</h2>
      <div class="site-bar">
        <Flag id={peer} />
        <code id="site-address" title={shown?.url}>
          {shortId(peer)}
          {protocol}/
        </code>
        <button
          type="button"
          class="quiet"
          onClick={() => (shown ? setLoads(loads + 1) : void session.openSite(peer, protocol))}
        >
          Reload
        </button>
        <button type="button" class="quiet" onClick={() => session.closeSite()}>
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
