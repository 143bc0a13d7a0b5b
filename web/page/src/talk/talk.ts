import type { Gap, Message, Presence, Recovery, Subscription, TomboloNode } from '@tombolo/node'
import { broadcastFailure, heardNoMore, joinFailure, recoverFailure, sendFailure, type Failure } from '../failures.js'
import type { Offers } from '../sharing/offers.js'
import type { People } from '../people/people.js'
import type { Traffic } from '../mesh/traffic.js'
import { keepLines, keptLines, readable, type Content } from './lines.js'
import { encodeSaid, thumbOf, type Attached } from './said.js'
import { Store } from '../source.js'
import { breather } from '../timers.js'
import { count } from '../ui/format.js'

/** How many lines of a type are kept; older ones make room. */
const MAX_LINES = 300
/** How many messages may wait to be shown: fewer than MAX_LINES, so that the note about dropped messages stays visible. */
const MAX_WAITING = 256
const MAX_ROOMS = 12
/** How long a message waits for a subscriber. */
const HEARER_MS = 5_000
const SEND_MS = 15_000
/** The shortest time between two updates of the view, however fast messages arrive. */
const CALM_MS = 200

const EMPTY: Content = { text: '', said: undefined, hex: false, bytes: 0, cut: false }

/** A line of a room: a message, somebody joining or leaving, or a note. */
export interface Line {
  n: number
  /** When it was sent, by the sender's clock; when it arrived, if the sender gave no time. */
  at: number
  /** Whether that time is known. It is not if the message came from a history and has no time. */
  dated: boolean
  kind: 'message' | 'joined' | 'left' | 'passed' | 'note' | 'gap'
  /** The peer that it is from, or about. */
  peer: string | undefined
  /** The peer that this tab sent it to, if to only one. */
  to: string | undefined
  how: 'broadcast' | 'direct' | undefined
  replayed: boolean
  /** How many peers came and left, for a line that summarizes them. */
  passing: { came: number; left: number } | undefined
  content: Content
}

/** A type that this tab is subscribed to. */
export interface Room {
  type: string
  open: boolean
  lines: Line[]
  /** How many lines had to make room. */
  gone: number
  unread: number
  /** The other peers that are subscribed to the type. */
  here: string[]
  catching: boolean
  failure: Failure | undefined
}

export interface TalkState {
  rooms: Room[]
  /** The type that is shown. */
  shown: string | undefined
  /** Why a type could not be joined. */
  failure: Failure | undefined
}

/** Messages by type: what arrives on each, who is subscribed, and what was said before. */
export class Talk {
  readonly view = new Store<TalkState>({ rooms: [], shown: undefined, failure: undefined }, CALM_MS)
  /** Text that was typed but not sent, by type. */
  readonly drafts = new Map<string, string>()
  readonly #ends = new Map<string, AbortController>()
  /** The types on which this tab may have missed messages. */
  readonly #behind = new Set<string>()
  #node: TomboloNode | undefined
  #count = 0
  #lookers = 0
  /** The last message being sent: each waits for the one before it. */
  #sending: Promise<unknown> = Promise.resolve()

  constructor(
    readonly people: People,
    readonly offers: Offers,
    readonly traffic: Traffic,
  ) {
    window.addEventListener('hashchange', () => this.#follow())
    document.addEventListener('visibilitychange', () => this.#seen())
  }

  get state(): TalkState {
    return this.view.value
  }

  /** Starts with the types that this tab was subscribed to before a reload. */
  start(node: TomboloNode): void {
    this.#node = node
    for (const { type, lines, draft } of keptLines(node.id)) {
      if (draft !== '') this.drafts.set(type, draft)
      const kept = lines.map((line) => ({ ...line, n: ++this.#count }))
      void this.#open(type, kept)
    }
    window.addEventListener('pagehide', () => keepLines(node.id, this.state.rooms, this.drafts))
    this.#follow()
    const missing = () => this.#ends.forEach((_, type) => this.#behind.add(type))
    node.addEventListener('relay:lost', missing)
    node.addEventListener('restart', missing)
    node.addEventListener('relay:reserved', () => this.#behind.forEach((type) => void this.catchUp(type)))
  }

  /** Marks the shown room as read until the returned function is called. */
  look(): () => void {
    this.#lookers++
    this.#seen()
    return () => void this.#lookers--
  }

  #seen(): void {
    const { shown } = this.state
    if (this.#isLookedAt && shown !== undefined && this.#room(shown)?.unread) this.#change(shown, { unread: 0 })
  }

  get #isLookedAt(): boolean {
    return this.#lookers > 0 && !document.hidden
  }

  /** Joins the room named in the page's address, such as `#talk=chat`. */
  #follow(): void {
    try {
      const name = /^#talk=([^&]+)$/.exec(location.hash)?.[1]
      if (name !== undefined) void this.join(decodeURIComponent(name))
    } catch {
      // The name is badly escaped: there is no such room.
    }
  }

  async join(name: string): Promise<void> {
    const type = name.trim()
    if (type === '' || this.#node === undefined) return
    if (this.#room(type) !== undefined) return this.show(type)
    if (this.state.rooms.length === MAX_ROOMS) {
      const advice = 'Leave one of them first.'
      return this.view.change({
        failure: { title: `This tab is in ${MAX_ROOMS} rooms already`, advice, detail: type },
      })
    }
    await this.#open(type, [])
  }

  show(type: string): void {
    this.view.change({ shown: type })
    this.#seen()
  }

  /** Ends the subscription. The node keeps the history, for others who ask. */
  leave(type: string): void {
    this.#ends.get(type)?.abort()
    this.#ends.delete(type)
    this.#behind.delete(type)
    const rooms = this.state.rooms.filter((room) => room.type !== type)
    this.view.change({ rooms })
    if (this.state.shown !== type) return
    if (rooms[0] === undefined) this.view.change({ shown: undefined })
    else this.show(rooms[0].type)
  }

  /** Sends text to all subscribers of the type, or to one peer. Resolves to whether it was sent. */
  say(type: string, text: string, to: string | undefined, file?: Attached): Promise<boolean> {
    const sent = this.#sending.then(() => this.#send(type, text, to, file))
    this.#sending = sent
    return sent
  }

  /** Shares a file from this tab, and sends a message about it to the room or to one peer. */
  async attach(type: string, file: File, to: string | undefined): Promise<void> {
    const share = await this.offers.share([file])
    if (share === undefined) return this.#change(type, { failure: this.offers.state.failure })
    await this.say(type, '', to, { name: file.name, size: file.size, share, thumb: await thumbOf(file) })
  }

  async #send(type: string, text: string, to: string | undefined, file: Attached | undefined): Promise<boolean> {
    const node = this.#node
    if (node === undefined) return false
    const bytes = encodeSaid({ text, name: this.people.own.value, at: Date.now(), file })
    this.#change(type, { failure: undefined })
    try {
      if (to === undefined) {
        await node.broadcast(type, bytes, { wait: true, signal: AbortSignal.timeout(HEARER_MS) })
      } else {
        await node.send(to, type, bytes, { signal: AbortSignal.timeout(SEND_MS) })
        this.#add(type, { kind: 'message', peer: node.id, to, how: 'direct', content: readable(bytes) })
      }
      return true
    } catch (error) {
      this.#change(type, { failure: to === undefined ? broadcastFailure(error) : sendFailure(error) })
      return false
    }
  }

  /** Asks for the messages that this tab missed. */
  async catchUp(type: string): Promise<void> {
    if (this.#node === undefined || this.#room(type)?.catching !== false || isPattern(type)) return
    this.#change(type, { catching: true, failure: undefined })
    try {
      const recovery = await this.#node.recover(type)
      this.#behind.delete(type)
      this.#tell(type, recovery)
    } catch (error) {
      this.#behind.add(type)
      this.#change(type, { failure: recoverFailure(error) })
    }
    this.#change(type, { catching: false })
  }

  #room(type: string): Room | undefined {
    return this.state.rooms.find((room) => room.type === type)
  }

  async #open(type: string, lines: Line[]): Promise<void> {
    const node = this.#node!
    const end = new AbortController()
    const { signal } = end
    this.#ends.set(type, end)
    const room: Room = { type, open: false, lines, gone: 0, unread: 0, here: [], catching: false, failure: undefined }
    this.view.change({ rooms: [...this.state.rooms, room], shown: type, failure: undefined })
    try {
      // Before the subscription, so that the history holds everything that arrives.
      if (!isPattern(type)) await node.keepHistory(type)
      const said = await node.subscribe(type, { buffer: MAX_WAITING, policy: 'drop-oldest', signal })
      void this.#hear(type, said, signal)
      if (!isPattern(type)) void this.#watch(type, await node.presence(type, { signal }), signal)
    } catch (error) {
      if (signal.aborted) return
      this.leave(type)
      return this.view.change({ failure: joinFailure(error) })
    }
    this.#change(type, { open: true })
    await this.catchUp(type)
  }

  async #hear(type: string, said: Subscription, signal: AbortSignal): Promise<void> {
    try {
      const breathe = breather()
      for await (const message of said) {
        this.#heard(type, message)
        await breathe() // the queue is bounded, and dropped messages are counted
      }
    } catch (error) {
      if (!signal.aborted) this.#change(type, { open: false, failure: heardNoMore(error) })
    }
  }

  #heard(type: string, { from, via, data, missed, broadcast, replayed }: Message): void {
    this.traffic.passed(via)
    if (missed > 0) {
      this.#say(
        type,
        'gap',
        `${count(missed, 'message was', 'messages were')} lost here: they came faster than this tab read`,
      )
    }
    const how = broadcast ? 'broadcast' : 'direct'
    const content = readable(data)
    if (content.said?.name) this.people.heard(from, content.said.name)
    const at = content.said?.at
    this.#add(type, { kind: 'message', peer: from, how, replayed, content, dated: !replayed || at !== undefined }, at)
  }

  async #watch(type: string, presence: Presence, signal: AbortSignal): Promise<void> {
    try {
      for await (const { peer, joined } of presence) {
        const here = this.#room(type)?.here ?? []
        if (peer === this.#node!.id || here.includes(peer) === joined) continue
        this.#change(type, { here: joined ? [...here, peer] : here.filter((other) => other !== peer) })
        this.#passed(type, peer, joined)
      }
    } catch (error) {
      if (!signal.aborted) this.#change(type, { here: [], failure: heardNoMore(error) })
    }
  }

  /** Combines many peers that join and leave into one line, so that they do not push out messages. */
  #passed(type: string, peer: string, joined: boolean): void {
    const room = this.#room(type)
    const last = room?.lines.at(-1)
    const passing = last?.passing
    if (room === undefined || last === undefined || passing === undefined) {
      return this.#add(type, { kind: joined ? 'joined' : 'left', peer, passing: { came: +joined, left: +!joined } })
    }
    const { came, left } = { came: passing.came + +joined, left: passing.left + +!joined }
    const text = [
      ...(came > 0 ? [`${came.toLocaleString()} came`] : []),
      ...(left > 0 ? [`${left.toLocaleString()} left`] : []),
    ].join(', ')
    const line: Line = {
      ...last,
      at: Date.now(),
      kind: 'passed',
      peer: undefined,
      passing: { came, left },
      content: { ...EMPTY, text },
    }
    this.#change(type, { lines: [...room.lines.slice(0, -1), line] })
  }

  #tell(type: string, { messages, complete, gaps }: Recovery): void {
    if (messages > 0) this.#say(type, 'note', `caught up: ${count(messages, 'message')} from before`)
    for (const gap of gaps) {
      const text = `${count(width(gap), 'message is', 'messages are')} missing (${gap.from} to ${gap.to}): nobody who was asked still has them`
      this.#say(type, 'gap', text, gap.publisher)
    }
    if (!complete && gaps.length === 0) {
      this.#say(type, 'gap', 'somebody began to count anew: nobody can tell whether anything is missing in between')
    } else if (messages === 0 && gaps.length === 0) {
      this.#say(type, 'note', 'caught up: nothing was missed')
    }
  }

  #say(type: string, kind: 'note' | 'gap', text: string, peer?: string): void {
    this.#add(type, { kind, peer, content: { ...EMPTY, text } })
  }

  /** Adds a line. Replayed messages go before the new ones. */
  #add(type: string, what: Pick<Line, 'kind'> & Partial<Line>, at = Date.now()): void {
    const room = this.#room(type)
    if (room === undefined) return
    const blank = { peer: undefined, to: undefined, how: undefined, replayed: false, passing: undefined }
    const line: Line = { ...blank, content: EMPTY, dated: true, ...what, n: ++this.#count, at }
    const after = line.replayed && line.dated ? room.lines.findLastIndex((before) => before.at <= at) : -1
    const place = line.replayed && line.dated ? after + 1 : room.lines.length
    const lines = [...room.lines.slice(0, place), line, ...room.lines.slice(place)]
    const over = Math.max(0, lines.length - MAX_LINES)
    const unread =
      (type === this.state.shown && this.#isLookedAt) || what.kind !== 'message' ? room.unread : room.unread + 1
    this.#change(type, { lines: lines.slice(over), gone: room.gone + over, unread })
  }

  #change(type: string, change: Partial<Room>): void {
    this.view.change({ rooms: this.state.rooms.map((room) => (room.type === type ? { ...room, ...change } : room)) })
  }
}

/** Whether the type is a pattern. `room/*` receives only direct messages; it has no subscribers and no history. */
export function isPattern(type: string): boolean {
  return type.endsWith('/*')
}

function width({ from, to }: Gap): number {
  return Number(BigInt(to) - BigInt(from)) + 1
}
