import type { Desk } from '../desk.js'
import type { Session } from '../session.js'
import { useSource } from '../source.js'
import { EchoBox } from './echo.js'
import { GettingSheet } from './getting.js'
import { ActivityLog } from './log.js'
import { MeshSheet } from './mesh.js'
import { NodeSheet } from './node.js'
import { OffersSheet } from './offers.js'
import { Peers } from './peers.js'
import { Plots } from './plots.js'
import { ProblemBox } from './problem.js'
import { SelfCard } from './self.js'
import { Services, SiteView } from './services.js'
import { Status } from './status.js'
import { TalkSheet } from './talk.js'
import { WiresSheet } from './wires.js'

export function App({ session, desk }: { session: Session; desk: Desk }) {
  const state = useSource(session.view)
  const { echoes, mesh, talk, offers, getting, wires, instruments, nodeLog } = desk
  return (
    <>
      <Status state={state} />
      {state.failure && <ProblemBox problem={state.failure} grave onRetry={() => location.reload()} />}
      {state.notices.map((notice) => (
        <ProblemBox key={notice.kind} problem={notice} />
      ))}
      <div class="sheets" hidden={state.failure !== undefined && state.self === undefined}>
        <GettingSheet state={state} session={session} getting={getting} />
        <MeshSheet state={state} mesh={mesh} />
        <SelfCard state={state} />
        <Peers state={state} session={session} />
        <Services state={state} session={session} />
        <EchoBox state={state} echoes={echoes} />
        {state.site && <SiteView site={state.site} session={session} />}
        <TalkSheet state={state} talk={talk} />
        <OffersSheet state={state} offers={offers} />
        <WiresSheet state={state} wires={wires} offers={offers} />
        <Plots state={state} instruments={instruments} />
        <NodeSheet session={session} nodeLog={nodeLog} />
        <ActivityLog log={state.log} />
      </div>
      <footer>
        <p>
          In the console, the node is <code>tombolo</code>: try <code>await tombolo.peers()</code>
        </p>
        {state.self && <p>{state.self.version}</p>}
      </footer>
    </>
  )
}
