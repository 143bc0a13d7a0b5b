import { Source } from './source.js'

/** The views of the page, in the order of its bar. */
export const VIEWS = ['share', 'talk', 'play', 'mesh', 'console'] as const

export type View = (typeof VIEWS)[number]

/** Links that lead into a view: to something shared, or into a world. */
const LEADS = new Map<string, View>([
  ['get', 'share'],
  ['world', 'play'],
  ['room', 'play'],
])

/** Returns the view for the fragment of an address: `#talk`, `#talk=chat`, `#get=…`. Without a fragment it is the first view. */
export function viewOf(hash: string): View {
  const name = /^#([a-z]+)/.exec(hash)?.[1] ?? ''
  return VIEWS.find((view) => view === name) ?? LEADS.get(name) ?? 'share'
}

/** The view that is shown. It follows the page's address, so links and the browser's history work with views. */
export class Router {
  readonly view = new Source<View>(viewOf(location.hash))

  constructor() {
    window.addEventListener('hashchange', () => this.view.set(viewOf(location.hash)))
  }
}
