// Starts a headless Firefox that is driven by WebDriver BiDi, which stock Firefox supports.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { find, freshFolder, launchProgram } from './launch.mjs'

const startLimit = 60_000

/** Preferences for a browser that does what it is told and nothing else. */
const preferences = {
  'app.normandy.enabled': false,
  'app.update.disabledForTesting': true,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'datareporting.policy.dataSubmissionEnabled': false,
  'media.peerconnection.ice.loopback': true, // peers of the tests listen on 127.0.0.1
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'toolkit.telemetry.reportingpolicy.firstRun': false,
}

/** Returns the path of a Firefox: the one named by FIREFOX, or else the first that is installed. Throws if there is none. */
export function findFirefox() {
  return find({ what: 'Firefox', variable: 'FIREFOX', names: ['firefox-esr', 'firefox'] })
}

/** Resolves to a browser with a fresh profile that shows a page, and its WebDriver BiDi address. `more` are further preferences. */
export async function launchFirefox(page = 'about:blank', more = {}) {
  const path = findFirefox()
  const dir = freshFolder('firefox')
  const lines = Object.entries({ ...preferences, ...more }).map(([key, value]) => `user_pref("${key}", ${JSON.stringify(value)});\n`)
  writeFileSync(join(dir, 'user.js'), lines.join(''))
  const browser = launchProgram({
    path,
    args: ['--headless', '--no-remote', '--profile', dir, '--remote-debugging-port', '0', page],
    dir,
    env: { HOME: dir, MOZ_CRASHREPORTER_DISABLE: '1' },
  })
  const listening = new Promise((resolve) => {
    createInterface(browser.process.stderr).on('line', (line) => {
      const [, url] = /^WebDriver BiDi listening on (ws:\S+)/.exec(line) ?? []
      if (url) resolve(url)
    })
  })
  const late = new Promise((resolve) => setTimeout(resolve, startLimit, `took more than ${startLimit / 1000} s`).unref())
  const url = await Promise.race([listening, Promise.race([browser.exited, late]).then((how) => ({ how }))])
  if (typeof url === 'string') return { ...browser, url: `${url}/session` }
  await browser.close()
  throw new Error(`${path} did not start: ${url.how}\n${browser.log()}`)
}
