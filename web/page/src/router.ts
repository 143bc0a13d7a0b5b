import { Source } from './source.js'

/** The views of the page, in the order in which they stand in its bar. */
export const VIEWS = ['share', 'talk', 'play', 'mesh', 'console'] as const

export type View = (typeof VIEWS)[number]

/** Links lead into a view: to what somebody shares, or into a world. */
const LEADS = new Map<string, View>([
  ['get', 'share'],
  ['world', 'play'],
  ['room', 'play'],
])

/** The view that an address leads to, by its fragment: `#talk`, `#talk=chat`, `#get=…`. The first one for an address without. */
export function viewOf(hash: string): View {
  const name = /^#([a-z]+)/.exec(hash)?.[1] ?? ''
  return VIEWS.find((view) => view === name) ?? LEADS.get(name) ?? 'share'
}

/** The view that is shown: the one of the page's address, so that links and the browser's history lead to views. */
export class Router {
  readonly view = new Source<View>(viewOf(location.hash))

  constructor() {
    window.addEventListener('hashchange', () => this.view.set(viewOf(location.hash)))
  }
}
