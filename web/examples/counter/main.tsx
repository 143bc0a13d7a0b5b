/** @jsxImportSource react */
import { StrictMode, useEffect, useState, useSyncExternalStore } from 'react'
import { createRoot } from 'react-dom/client'
import { join } from '../shared/join.js'
import { SharedCounter } from './shared-counter.js'

let tellState: (state: string) => void = () => {}
const counter = join((state) => tellState(state)).then((node) => SharedCounter.on(node))

function App() {
  const [state, setState] = useState('looking for the relay…')
  const [shared, setShared] = useState<SharedCounter>()
  useEffect(() => {
    tellState = setState
    counter.then(setShared, (error: unknown) => setState(String(error)))
  }, [])
  return (
    <>
      <header>
        <h1>Counter</h1>
        <p className="status" role="status" id="status">
          {state}
        </p>
      </header>
      {shared && <Counter shared={shared} />}
      <p className="note">One number for every tab that has this page open. Open another.</p>
    </>
  )
}

function Counter({ shared }: { shared: SharedCounter }) {
  const value = useSyncExternalStore(
    (onChange) => {
      shared.addEventListener('change', onChange)
      return () => shared.removeEventListener('change', onChange)
    },
    () => shared.value,
  )
  return (
    <div className="card counter">
      <button aria-label="one less" onClick={() => shared.add(-1)}>
        −
      </button>
      <output aria-label="count">{value}</output>
      <button aria-label="one more" onClick={() => shared.add(1)}>
        +
      </button>
    </div>
  )
}

createRoot(document.body).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
