import { render } from 'preact'
import { readConfig } from './config.js'
import { Desk } from './desk.js'
import { Session } from './tab/session.js'
import type { State } from './tab/state.js'
import { App } from './app.js'
import { Nav } from './nav.js'
import { Router } from './router.js'
import { keepShell } from './shell.js'
import { keepFocus } from './ui/focus.js'
import { Marks, showBar } from './tab/chart.js'

const app = document.getElementById('app')!
const marks = document.getElementById('marks')!
const chart = document.getElementById('chart')!
const nav = document.getElementById('nav')!

const router = new Router()
const desk = new Desk()
const session = new Session(readConfig(location.search, isSecureContext), (node, signal) => {
  desk.start(node, signal)
  keepShell()
})
session.view.watch(showChart)
showChart(session.state)
app.replaceChildren()
render(<App session={session} desk={desk} router={router} />, app)
render(<Nav router={router} talk={desk.talk} />, nav)
keepFocus(document.body)
void session.start()

function showChart(state: State): void {
  showBar(chart, state)
  render(<Marks state={state} />, marks)
}
