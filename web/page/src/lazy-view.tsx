import { Component, type ComponentType } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Desk } from './desk.js'
import { loadFailure, type Failure } from './failures.js'
import { nameOf } from './nav.js'
import type { View } from './router.js'
import { Shown } from './source.js'
import type { Session } from './tab/session.js'
import type { State } from './tab/state.js'
import { Trouble } from './ui/trouble.js'

/** The properties of every view. */
export interface ViewProps {
  state: State
  session: Session
  desk: Desk
}

interface Props extends ViewProps {
  name: View
  shown: boolean
  /** Whether this is the view that the page was opened with. */
  first: boolean
}

/** Each view is a module of its own, loaded when it is first opened. */
const MODULES: Record<View, () => Promise<{ default: ComponentType<ViewProps> }>> = {
  share: () => import('./views/share.js'),
  talk: () => import('./views/talk.js'),
  play: () => import('./views/play.js'),
  mesh: () => import('./views/mesh.js'),
  console: () => import('./views/console.js'),
}

/** A view that keeps its state while another one is shown: typed text, and open parts. */
export function LazyView({ name, shown, first, ...props }: Props) {
  const [Loaded, setLoaded] = useState<ComponentType<ViewProps> | undefined>()
  const [failure, setFailure] = useState<Failure | undefined>()
  const section = useRef<HTMLElement>(null)
  const opening = useRef(first)
  const load = () => {
    setFailure(undefined)
    MODULES[name]().then(
      (module) => setLoaded(() => module.default),
      (error: unknown) => setFailure(loadFailure(error)),
    )
  }
  useEffect(load, [name])
  useEffect(() => {
    if (shown && !opening.current) section.current?.focus({ preventScroll: true })
    opening.current = false
  }, [shown])
  return (
    <section class="view" data-view={name} aria-label={nameOf(name)} hidden={!shown} tabIndex={-1} ref={section}>
      <Trouble failure={failure} />
      {failure && (
        <button type="button" onClick={load}>
          Try again
        </button>
      )}
      {Loaded && (
        <Shown.Provider value={shown}>
          <Still shown={shown} Loaded={Loaded} {...props} />
        </Shown.Provider>
      )}
    </section>
  )
}

interface StillProps extends ViewProps {
  shown: boolean
  Loaded: ComponentType<ViewProps>
}

/** Does not redraw its children while they are hidden. */
class Still extends Component<StillProps> {
  override shouldComponentUpdate({ shown }: StillProps): boolean {
    return shown
  }

  override render({ Loaded, state, session, desk }: StillProps) {
    return <Loaded state={state} session={session} desk={desk} />
  }
}
