// Starts a headless Chromium on a page, without devtools: a page that devtools drive is several times slower.
import { delimiter, join } from 'node:path'
import { executable, find, freshFolder, launchProgram } from './launch.mjs'

const names = ['/usr/bin/chromium', 'chromium', 'chromium-browser', 'google-chrome']

/** Flags for a browser that does what the page asks and nothing else, at full speed even when nobody looks at it. */
export const flags = [
  '--headless=new',
  '--disable-gpu',
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-default-apps',
  '--disable-extensions',
  '--disable-breakpad',
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  '--password-store=basic',
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), // Chromium's sandbox refuses to run as root
]

/** Returns the path of a Chromium: the one named by CHROMIUM, or else the first that is installed. Throws if there is none. */
export function findChromium() {
  return find({ what: 'Chromium', variable: 'CHROMIUM', names })
}

/**
 * Returns the path of a headless shell: the same engine without the browser's own windows, each of which costs a second or two of processor
 * time. If there is none, or CHROMIUM names a browser, returns the path of a Chromium.
 */
export function findShell() {
  const places = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  const shells = places.map((place) => join(place, 'chromium-headless-shell'))
  return (process.env.CHROMIUM ? undefined : shells.find(executable)) ?? findChromium()
}

/**
 * Opens `url` in a fresh Chromium, with the profile in the folder `profile`, which is kept, or with a temporary one. Its caches are in
 * its profile.
 *
 * @param {string} url
 * @param {{ extraArgs?: string[], profile?: string }} [options]
 */
export function launch(url, { extraArgs = [], profile } = {}) {
  const dir = freshFolder('chromium')
  const args = [...flags, `--user-data-dir=${profile ?? dir}`, ...extraArgs, url]
  return launchProgram({ path: findChromium(), args, dir })
}
