import { useState } from 'preact/hooks'
import type { Desk } from './desk.js'
import { LazyView } from './lazy-view.js'
import { VIEWS, type Router } from './router.js'
import { useSource } from './source.js'
import type { Session } from './tab/session.js'
import { SelfCard } from './tab/self.js'
import { Status } from './tab/status.js'
import { Names } from './ui/peer.js'
import { ProblemBox } from './ui/problem.js'

export function App({ session, desk, router }: { session: Session; desk: Desk; router: Router }) {
  const state = useSource(session.view)
  const shown = useSource(router.view)
  const [first] = useState(shown)
  const [visited] = useState(new Set([shown]))
  visited.add(shown)
  return (
    <Names.Provider value={desk.people.names}>
      <div class="bridge">
        <Status state={state} view={shown} />
        <SelfCard state={state} people={desk.people} />
      </div>
      {state.failure && <ProblemBox problem={state.failure} grave onRetry={() => location.reload()} />}
      {state.notices.map((notice) => (
        <ProblemBox
          key={notice.kind}
          problem={notice}
          {...(notice.kind === 'offline' && { onRetry: () => location.reload() })}
        />
      ))}
      <div hidden={state.failure !== undefined && state.self === undefined}>
        {VIEWS.map(
          (view) =>
            visited.has(view) && (
              <LazyView
                key={view}
                name={view}
                shown={view === shown}
                first={view === first}
                state={state}
                session={session}
                desk={desk}
              />
            ),
        )}
      </div>
      <footer>
        <p>A bar of sand that joins an island to the mainland. The island is this tab.</p>
        {state.self && <p>{state.self.version}</p>}
      </footer>
    </Names.Provider>
  )
}
