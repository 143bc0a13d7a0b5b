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
/** How long connecting to the host in a link may take. */
const CONNECT_MS = 5_000
/** How long to search the mesh for worlds. */
const LIST_MS = 2_500
const LIST_EVERY_MS = 6_000
const TELL_MS = 1_000
/** The shortest time between two spoken announcements of the boats nearby. */
const SPEAK_MS = 6_000
/** The ping is the median of this many inputs. */
const PINGS = 15
/** How long to try a host that is gone before giving up the world; a standby takes over sooner. */
const RECONNECT_MS = 20_000

/**
 * - `ashore`: not in a world, and free to choose one
 * - `coming`: on the way into a world
 * - `nobody`: nobody hosts the world that was asked for
 * - `aboard`: in a world
 */
export type Phase = 'ashore' | 'coming' | 'nobody' | 'aboard'

/** The host's performance, as far as this tab knows it. */
export interface Gauges {
  /** From sending an input until this tab learned that it was applied, in milliseconds. */
  ping: number | undefined
  /** How much of that the last input spent waiting for its tick. */
  waited: number
  hz: number
  inSight: number
  /** Records a second. */
  updates: number
  /** The room's figures, if this tab hosts it. */
  stats: RoomStats | undefined
}

export interface PlayState {
  phase: Phase
  boat: Boat
  mayHold: boolean
  /** The current world, or the one that was asked for. */
  target: WorldTarget | undefined
  /** The link with which others can join. */
  link: string
  holds: boolean
  /** Whether this tab is ready to take over the world. */
  standsBy: boolean
  /** Whether the host cannot keep up with more players, so that joining is retried. */
  busy: boolean
  /** The last change, as a message to the player. */
  word: string
  failure: Failure | undefined
  /** The worlds that were found. */
  worlds: ListedRoom[]
  near: Near[]
  /** The boats nearby, in words, for people who do not see them. */
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

/** A person's part in a world, from entering it to leaving. */
export class Play {
  readonly view: Store<PlayState>
  readonly bots = new Bots()
  readonly #node: TomboloNode
  readonly #helm = new Helm()
  #seat: Seat | undefined
  #scene: Scene | undefined
  #holding: Holding | undefined
  #over = new AbortController()
  /** When the inputs that are not yet applied were sent, by their numbers. */
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

  /** Joins the world in the page's address, if there is one. */
  follow(): void {
    const target = worldOf(location)
    // Coming back from another view: put the world's link back into the page's address.
    if (target === undefined && this.state.phase === 'aboard') this.#address(this.state.link)
    if (target === undefined || (target.name === this.state.target?.name && this.state.phase !== 'ashore')) return
    void this.join(target)
  }

  /** Changes some properties of the boat. */
  paint(change: Partial<Boat>): void {
    const boat = { ...this.state.boat, ...change }
    keepBoat(boat)
    this.view.change({ boat })
  }

  /** Looks for worlds. */
  async list(): Promise<void> {
    if (this.state.phase === 'aboard' || document.hidden) return
    try {
      const found = await this.#node.world.list({ wait: LIST_MS })
      this.view.change({ worlds: found.filter(({ version }) => version === VERSION) })
    } catch {
      // The node has ended or is restarting. The next search finds them.
    }
  }

  /** Hosts a world in this tab, and joins it. */
  async host(name: string): Promise<void> {
    await this.#embark({ name, host: this.#node.id }, async (signal) => {
      this.#holding = await Holding.host(this.#node, name, (error) => this.#trouble(error))
      return this.#sit(name, this.#node.id, signal)
    })
  }

  /** Joins a world at the peer that is said to host it, or at its present host. */
  async join(target: WorldTarget): Promise<void> {
    await this.#embark(target, (signal) => this.#find(target, signal))
  }

  /** Gives up the seat. The world continues if a tab stands by or another peer hosts it. */
  async leave(): Promise<void> {
    this.#over.abort()
    this.#address('#play')
    this.view.change({ ...ASHORE, phase: 'ashore', target: undefined, word: '' })
    await this.#ashore()
    void this.list()
  }

  /** Draws the world on a canvas and takes input from it, until the signal aborts. */
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

  /** Starts `count` bots, or stops the bots that there are. */
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

  /** Takes a seat at the peer that a link names, or at the world's present host if that peer does not host it any longer. */
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

  /** Puts the world's link into the page's address, unless another view is shown. */
  #address(link: string): void {
    if (viewOf(location.hash) === 'play') history.replaceState(null, '', new URL(link, location.href).hash)
  }

  /** Offers to take over the world when its host leaves. */
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

  /** Handles the loss of the world to another host, for example because this tab was frozen: it keeps playing, and stands by again. */
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

  /** Gives up the seat, the bots and the hosting of the last world. */
  async #ashore(): Promise<void> {
    const [seat, holding] = [this.#seat, this.#holding]
    this.#seat = this.#scene = this.#holding = undefined
    await this.bots.stop()
    await Promise.allSettled([seat?.leave()])
    await Promise.allSettled([holding?.end()])
  }

  /** Sends the steering direction, once a tick while the boat sails. */
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
        this.#sails = true // the connection is being restored, or the queue is full: send the stop once more
      },
    )
  }

  /** Records that the game has applied an input, and all inputs before it. */
  #seen(applied: number, waited: number): void {
    const at = this.#sent.get(applied)
    for (const seq of this.#sent.keys()) if (seq <= applied) this.#sent.delete(seq)
    this.#waited = waited
    if (at !== undefined) this.#pings = [...this.#pings.slice(1 - PINGS), performance.now() - at]
  }

  /** Updates the gauges, once a second. */
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

/** Nobody hosts the world. */
class Nobody extends Error {}
