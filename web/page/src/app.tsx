import type { Desk } from './desk.js'
import type { Session } from './tab/session.js'
import { useSource } from './source.js'
import { EchoBox } from './tab/echo.js'
import { GettingSheet } from './sharing/getting-sheet.js'
import { ActivityLog } from './tab/log.js'
import { MeshSheet } from './mesh/mesh-sheet.js'
import { NodeSheet } from './console/node-sheet.js'
import { OffersSheet } from './sharing/offers-sheet.js'
import { Peers } from './tab/peers.js'
import { Plots } from './console/plots.js'
import { ProblemBox } from './ui/problem.js'
import { SelfCard } from './tab/self.js'
import { Services, SiteView } from './tab/services.js'
import { Status } from './tab/status.js'
import { TalkSheet } from './talk/talk-sheet.js'
import { WiresSheet } from './console/wires-sheet.js'
import { WorldSheet } from './world/world-sheet.js'

export function App({ session, desk }: { session: Session; desk: Desk }) {
  const state = useSource(session.view)
  const { echoes, mesh, talk, offers, getting, wires, instruments, nodeLog, door } = desk
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
        <WorldSheet state={state} door={door} />
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
