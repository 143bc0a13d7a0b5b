import type { Session } from '../session.js'
import type { Desk } from '../desk.js'
import type { State } from '../state.js'
import { EchoBox } from './echo.js'
import { ActivityLog } from './log.js'
import { Peers } from './peers.js'
import { ProblemBox } from './problem.js'
import { SelfCard } from './self.js'
import { Services, SiteView } from './services.js'
import { Status } from './status.js'
import { TalkSheet } from './talk.js'

export function App({ state, session, desk }: { state: State; session: Session; desk: Desk }) {
  const { talk } = desk
  return (
    <>
      <Status state={state} />
      {state.failure && <ProblemBox problem={state.failure} grave onRetry={() => location.reload()} />}
      {state.notices.map((notice) => (
        <ProblemBox key={notice.kind} problem={notice} />
      ))}
      <div class="sheets" hidden={state.failure !== undefined && state.self === undefined}>
        <SelfCard state={state} />
        <Peers state={state} session={session} />
        <Services state={state} session={session} />
        <EchoBox state={state} session={session} />
        {state.site && <SiteView site={state.site} session={session} />}
        <TalkSheet state={state} talk={talk} />
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
