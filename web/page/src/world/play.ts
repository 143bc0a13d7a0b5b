import type { ListedRoom, RoomStats, Seat, TomboloError, TomboloNode } from '@tombolo/node'
import { type Failure, message } from '../failures.js'
import { anyOf } from '../signals.js'
import { viewOf } from '../router.js'
import { Store } from '../source.js'
import { every } from '../timers.js'
import { keepBoat, keptBoat, type Boat } from './boat.js'
import { Bots } from './bots.js'
import { Chart, type Looks } from './chart.js'
import { Helm } from './helm.js'
import { Holding } from './holding.js'
import { near, type Near, nearWords } from './near.js'
import { decodeAnswer, decodeScores, encodeInput, encodePapers, type Scores, VERSION } from './records.js'
import { Scene, type Shown, type Spot } from './scene.js'
import { takeSeat } from './take-seat.js'
import { worldFailure } from './world-failure.js'
import { type WorldTarget, worldLink, worldOf } from './world-link.js'

/** The speed of a boat, in steps a tick. */
const SPEED = 12
/** How long a host that a link names may take to be reached. */
const CONNECT_MS = 5_000
/** How long the mesh is searched for worlds. */
const LIST_MS = 2_500
const LIST_EVERY_MS = 6_000
const TELL_MS = 1_000
/** What is said aloud of who is near changes no more often than this. */
const SPEAK_MS = 6_000
/** How many inputs the ping is the median of. */
const PINGS = 15
/** For how long a host that is gone is tried before the world is given up; a standby takes less. */
const RECONNECT_MS = 20_000

/**
 * - `ashore`: one may choose a world
 * - `coming`: on the way into one
 * - `nobody`: nobody holds the world that was asked for
 * - `aboard`: in a world
 */
export type Phase = 'ashore' | 'coming' | 'nobody' | 'aboard'

/** How the host, or what this tab knows of it, is doing. */
export interface Gauges {
  /** From an input until this tab was told that it was taken, in milliseconds. */
  ping: number | undefined
  /** Of that, for how long the last one waited for its tick. */
  waited: number
  hz: number
  inSight: number
  /** Records a second. */
  updates: number
  /** Of the room, where this tab holds it. */
  stats: RoomStats | undefined
}

export interface PlayState {
  phase: Phase
  boat: Boat
  mayHold: boolean
  /** The world that this is about. */
  target: WorldTarget | undefined
  /** Where others come in. */
  link: string
  holds: boolean
  /** This tab could take the world over. */
  standsBy: boolean
  /** The host cannot keep up with more players, and is asked again. */
  busy: boolean
  /** What has changed last, as one should be told. */
  word: string
  failure: Failure | undefined
  /** The worlds that were found. */
  worlds: ListedRoom[]
  near: Near[]
  /** Of who is near, for those who do not see them. */
  spoken: string
  scores: Scores
  gauges: Gauges
  circles: boolean
}

const NO_SCORES: Scores = { rank: 0, of: 0, lines: [] }
const NO_GAUGES: Gauges = { ping: undefined, waited: 0, hz: 20, inSight: 0, updates: 0, stats: undefined }
const ASHORE = {
  busy: false,
  holds: false,
  standsBy: false,
  near: [],
  spoken: '',
  scores: NO_SCORES,
  gauges: NO_GAUGES,
}

/** A person's part in a world: from the shore into one, and back. */
export class Play {
  readonly view: Store<PlayState>
  readonly bots = new Bots()
  readonly #node: TomboloNode
  readonly #helm = new Helm()
  #seat: Seat | undefined
  #scene: Scene | undefined
  #holding: Holding | undefined
  #over = new AbortController()
  /** When the inputs under way were sent, by their numbers. */
  readonly #sent = new Map<number, number>()
  #pings: number[] = []
  #waited = 0
  #steeredAt = 0
  #sails = false
  #spokenAt = 0
  #counted = 0

  constructor(node: TomboloNode, signal: AbortSignal) {
    this.#node = node
    this.view = new Store<PlayState>({
      phase: 'ashore',
      boat: keptBoat(),
      mayHold: true,
      target: undefined,
      link: '',
      word: '',
      failure: undefined,
      worlds: [],
      circles: true,
      ...ASHORE,
    })
    node.addEventListener('room:moved', ({ detail }) => void this.#moved(detail.name))
    every(LIST_EVERY_MS, () => void this.list(), signal)
    every(TELL_MS, () => void this.#tell(), signal)
    window.addEventListener('hashchange', () => this.follow())
    void this.list()
    this.follow()
  }

  get state(): PlayState {
    return this.view.value
  }

  /** Goes into the world that the page's address names, if it names one. */
  follow(): void {
    const target = worldOf(location)
    // Back from another view, the page's address is that of the world once more.
    if (target === undefined && this.state.phase === 'aboard') this.#address(this.state.link)
    if (target === undefined || (target.name === this.state.target?.name && this.state.phase !== 'ashore')) return
    void this.join(target)
  }

  /** Changes what is said of the boat, and leaves the rest as it is. */
  paint(change: Partial<Boat>): void {
    const boat = { ...this.state.boat, ...change }
    keepBoat(boat)
    this.view.change({ boat })
  }

  /** Looks for the worlds that there are. */
  async list(): Promise<void> {
    if (this.state.phase === 'aboard' || document.hidden) return
    try {
      const found = await this.#node.world.list({ wait: LIST_MS })
      this.view.change({ worlds: found.filter(({ version }) => version === VERSION) })
    } catch {
      // The node ends, or is started again; it is looked for again.
    }
  }

  /** Holds a world in this tab, and goes into it. */
  async host(name: string): Promise<void> {
    await this.#embark({ name, host: this.#node.id }, async (signal) => {
      this.#holding = await Holding.host(this.#node, name, (error) => this.#trouble(error))
      return this.#sit(name, this.#node.id, signal)
    })
  }

  /** Goes into a world that a peer holds; where that peer does not any more, whoever does. */
  async join(target: WorldTarget): Promise<void> {
    await this.#embark(target, (signal) => this.#find(target, signal))
  }

  /** Gives the seat up. The world goes on where a tab stands by, or another peer holds it. */
  async leave(): Promise<void> {
    this.#over.abort()
    this.#address('#play')
    this.view.change({ ...ASHORE, phase: 'ashore', target: undefined, word: '' })
    await this.#ashore()
    void this.list()
  }

  /** Draws the world on a canvas, and is steered there, until the signal. */
  stage(canvas: HTMLCanvasElement, signal: AbortSignal): void {
    const chart = new Chart(canvas, signal)
    const still = matchMedia('(prefers-reduced-motion: reduce)')
    const { width } = canvas
    let boat: Spot = { x: width / 2, y: 0 }
    this.#helm.attach(canvas, signal)
    const draw = () => {
      if (signal.aborted) return
      requestAnimationFrame(draw)
      const scene = this.#scene
      if (scene === undefined) return
      const now = performance.now()
      this.#steer(now, this.#helm.direction(boat))
      const looks: Looks = { circles: this.state.circles, stepping: still.matches }
      chart.draw(scene, now, looks, this.#helm.held)
      const own = scene.ownAt(now, looks.stepping)
      if (own !== undefined) boat = chart.onCanvas(own)
    }
    requestAnimationFrame(draw)
    const hide = () => {
      if (!document.hidden) return
      this.#helm.release()
      this.#steer(performance.now(), { x: 0, y: 0 })
    }
    document.addEventListener('visibilitychange', hide, { signal })
    signal.addEventListener('abort', () => this.#helm.release())
  }

  /** Brings so many bots, or sends those off that are there. */
  async toggleBots(count: number): Promise<void> {
    const { target } = this.state
    if (this.bots.view.value.phase !== 'none') return this.bots.stop()
    if (target !== undefined) await this.bots.start(this.#node, target.name, count)
  }

  async #embark(target: WorldTarget, board: (signal: AbortSignal) => Promise<Seat>): Promise<void> {
    this.#over.abort()
    const { signal } = (this.#over = new AbortController())
    await this.#ashore()
    this.view.change({ ...ASHORE, phase: 'coming', target, failure: undefined, word: '' })
    try {
      const seat = await board(signal)
      if (signal.aborted) return await seat.leave()
      this.#aboard(target.name, seat)
      await this.#play(seat)
    } catch (error) {
      if (signal.aborted) return
      await this.#ashore()
      const nobody = error instanceof Nobody
      const failure = nobody ? undefined : worldFailure(error)
      this.view.change({ ...ASHORE, phase: nobody ? 'nobody' : 'ashore', failure })
      void this.list()
    }
  }

  /** Takes a seat at the peer that a link names; where that does not hold the world any more, at whoever does. */
  async #find({ name, host, invitation }: WorldTarget, signal: AbortSignal): Promise<Seat> {
    if (invitation !== undefined) return this.#sit(name, undefined, signal, invitation)
    const found = (await this.#node.world.list({ wait: LIST_MS, signal })).filter((room) => room.name === name)
    if (host !== undefined && host !== this.#node.id) {
      try {
        if (!found.some((room) => room.host === host)) await this.#connect(host, signal)
        return await this.#sit(name, host, signal)
      } catch (error) {
        signal.throwIfAborted()
        const { code, reason = '' } = error as Partial<TomboloError>
        if (code === 'seat' && !['no-room', 'moved', 'closed'].includes(reason)) throw error
      }
    }
    const other = found.find((room) => room.host !== host)
    if (other === undefined) throw new Nobody()
    return this.#sit(name, other.host, signal)
  }

  async #connect(host: string, signal: AbortSignal): Promise<void> {
    await this.#node.connect(host, { signal: anyOf(signal, AbortSignal.timeout(CONNECT_MS)) })
  }

  #sit(name: string, host: string | undefined, signal: AbortSignal, invitation?: string): Promise<Seat> {
    const { boat, mayHold } = this.state
    const data = encodePapers({ ...boat, blind: false, standsBy: mayHold })
    const options = { ...(host !== undefined && { host }), invitation, data, reconnect: RECONNECT_MS, signal }
    return takeSeat(this.#node, name, options, () => {
      if (!signal.aborted) this.view.change({ busy: true })
    })
  }

  #aboard(name: string, seat: Seat): void {
    this.#seat = seat
    this.#scene = new Scene(decodeAnswer(seat.answer), seat.hz)
    this.#sent.clear()
    this.#pings = []
    this.#sails = false
    this.#counted = 0
    this.#heldBy(name, seat.host)
    this.view.change({ phase: 'aboard', word: '' })
    void this.#standBy()
  }

  async #play(seat: Seat): Promise<void> {
    const scene = this.#scene!
    let { host } = seat
    for await (const tick of seat) {
      scene.take(tick, tick.reset ? decodeAnswer(seat.answer) : scene.answer)
      if (tick.applied > 0) this.#seen(tick.applied, tick.waited)
      for (const note of tick.notes) this.view.change({ scores: decodeScores(note) })
      if (tick.reset && host !== seat.host) {
        host = seat.host
        this.#heldBy(seat.name, host)
        if (host !== this.#node.id) this.view.change({ word: 'The world has moved, and goes on.' })
      }
    }
  }

  #heldBy(name: string, host: string): void {
    const target = { name, host, invitation: this.state.target?.invitation }
    const link = worldLink(target)
    this.#address(link)
    this.view.change({ target, link, holds: host === this.#node.id })
  }

  /** The page's address is the world's, unless another view is shown. */
  #address(link: string): void {
    if (viewOf(location.hash) === 'play') history.replaceState(null, '', new URL(link, location.href).hash)
  }

  /** Offers to hold the world when its host goes. */
  async #standBy(): Promise<void> {
    const { target, mayHold } = this.state
    if (!mayHold || this.#holding !== undefined || target?.host === undefined || target.host === this.#node.id) return
    const { signal } = this.#over
    try {
      const holding = await Holding.standBy(
        this.#node,
        target.name,
        target.host,
        () => {
          if (!signal.aborted)
            this.view.change({ holds: true, word: 'The host has gone. This tab holds the world now.' })
        },
        (error) => this.#trouble(error),
      )
      if (signal.aborted) await holding.end()
      else this.#holding = holding
    } catch (error) {
      this.#trouble(error)
    }
  }

  /** This tab holds the world no more, such as when it was frozen meanwhile: it plays on in it, and may hold it again. */
  async #moved(name: string): Promise<void> {
    if (name !== this.state.target?.name || this.#holding?.holds !== true) return
    await this.#holding.end().catch(() => {}) // it has ended
    this.#holding = undefined
    this.view.change({ holds: false, word: 'This tab was away. Another holds the world now.' })
    await this.#standBy()
  }

  #trouble(error: unknown): void {
    if (!this.#over.signal.aborted)
      this.view.change({ word: `Something went wrong with holding the world: ${message(error)}` })
  }

  /** Ends what is left of the last world. */
  async #ashore(): Promise<void> {
    const [seat, holding] = [this.#seat, this.#holding]
    this.#seat = this.#scene = this.#holding = undefined
    await this.bots.stop()
    await Promise.allSettled([seat?.leave()])
    await Promise.allSettled([holding?.end()])
  }

  /** Sends where the boat is steered, once a tick while it sails. */
  #steer(now: number, { x, y }: Spot): void {
    const [seat, scene] = [this.#seat, this.#scene]
    if (seat === undefined || scene === undefined) return
    const speed = { vx: Math.round(x * SPEED), vy: Math.round(y * SPEED) }
    const sails = speed.vx !== 0 || speed.vy !== 0
    const tickMs = 1000 / seat.hz
    if (now - this.#steeredAt < tickMs - 2 || !(sails || this.#sails)) return
    this.#steeredAt = Math.max(this.#steeredAt + tickMs, now - tickMs)
    this.#sails = sails
    seat.input(encodeInput(speed.vx, speed.vy)).then(
      (seq) => {
        if (this.#sent.size < 256) this.#sent.set(seq, now)
        scene.steer(seq, speed)
      },
      () => {
        this.#sails = true // the connection is being made again, or too much waits: it is sent once more
      },
    )
  }

  /** The game has taken an input, and all before it. */
  #seen(applied: number, waited: number): void {
    const at = this.#sent.get(applied)
    for (const seq of this.#sent.keys()) if (seq <= applied) this.#sent.delete(seq)
    this.#waited = waited
    if (at !== undefined) this.#pings = [...this.#pings.slice(1 - PINGS), performance.now() - at]
  }

  /** Tells once a second how things are. */
  async #tell(): Promise<void> {
    const [scene, seat, holding] = [this.#scene, this.#seat, this.#holding]
    if (scene === undefined || seat === undefined) return
    const [stats, standsBy] = await Promise.all([
      holding?.stats().catch(() => undefined),
      holding?.ready().catch(() => false) ?? false,
    ])
    if (scene !== this.#scene) return
    const pings = [...this.#pings].sort((a, b) => a - b)
    const gauges: Gauges = {
      ping: pings[pings.length >> 1],
      waited: this.#waited,
      hz: seat.hz,
      inSight: scene.things.size - (scene.own === undefined ? 0 : 1),
      updates: Math.max(0, scene.updates - this.#counted),
      stats,
    }
    this.#counted = scene.updates
    this.view.change({ gauges, standsBy, ...this.#neighbours(scene) })
  }

  #neighbours(scene: Scene): Pick<PlayState, 'near' | 'spoken'> {
    const now = performance.now()
    const own = scene.ownAt(now)
    if (own === undefined) return { near: [], spoken: this.state.spoken }
    const others = scene.shown(now).filter(({ entity }) => entity !== scene.answer.boat)
    const boats = near(
      own,
      others.map(({ entity, x, y, thing }: Shown) => ({
        entity,
        x,
        y,
        name: thing.name,
        hue: thing.hue,
        boat: thing.boat,
      })),
    )
    const words = nearWords(boats)
    if (words === this.state.spoken || now - this.#spokenAt < SPEAK_MS)
      return { near: boats, spoken: this.state.spoken }
    this.#spokenAt = now
    return { near: boats, spoken: words }
  }
}

/** Nobody holds the world. */
class Nobody extends Error {}
