import { render } from 'preact'
import { readConfig } from './config.js'
import { Session } from './session.js'
import type { State } from './state.js'
import { App } from './ui/app.js'
import { Marks, showBar } from './ui/chart.js'

const app = document.getElementById('app')!
const marks = document.getElementById('marks')!
const chart = document.getElementById('chart')!

const session = new Session(readConfig(location.search, isSecureContext), show)
app.replaceChildren()
show(session.state)
void session.start()

function show(state: State): void {
  showBar(chart, state)
  render(<Marks state={state} />, marks)
  render(<App state={state} session={session} />, app)
}
