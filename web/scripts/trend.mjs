// Prints how the size budget of a tab has changed: the budget.json of the latest commits that changed it, newest first.
import { execFileSync } from 'node:child_process'
import { webDir } from './paths.mjs'

const COMMITS = 8

const git = (...args) => execFileSync('git', args, { cwd: webDir, encoding: 'utf8' })
const log = git('log', `-${COMMITS}`, '--format=%h %as %s', '--', 'budget.json').split('\n').filter(Boolean)
const states = log.map((line) => {
  const [commit, date, ...subject] = line.split(' ')
  return { date, subject: subject.join(' '), budget: JSON.parse(git('show', `${commit}:./budget.json`)) }
})
for (const [i, { date, subject, budget }] of states.entries()) {
  console.log(`budget of ${date}: ${subject}`)
  const before = states[i + 1]?.budget
  for (const [what, most] of Object.entries(budget)) {
    const was = before?.[what]
    const change = was === undefined ? '' : was === most ? ', as before' : ` (${percent(most / was - 1)})`
    console.log(`  ${what.padEnd(28)}${most.toLocaleString('en').padStart(12)} bytes${change}`)
  }
}

function percent(change) {
  return `${change < 0 ? '' : '+'}${(change * 100).toFixed(1)} %`
}
