import { render } from 'preact'
import { readConfig } from './config.js'
import { Desk } from './desk.js'
import { Session } from './session.js'
import { App } from './ui/app.js'
import { Marks, showBar } from './ui/chart.js'

const app = document.getElementById('app')!
const marks = document.getElementById('marks')!
const chart = document.getElementById('chart')!

const desk = new Desk(() => show())
const session = new Session(readConfig(location.search, isSecureContext), show, (node) => desk.run(node))
app.replaceChildren()
show()
void session.start()

function show(): void {
  const { state } = session
  showBar(chart, state)
  render(<Marks state={state} />, marks)
  render(<App state={state} session={session} desk={desk} />, app)
}
