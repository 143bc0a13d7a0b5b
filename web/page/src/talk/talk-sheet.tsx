import { useContext, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { PeerInfo } from '@tombolo/node'
import { NameBox } from '../people/name-box.js'
import { linkTo, roomLink } from '../sharing/share-link.js'
import { Shown, useSource } from '../source.js'
import type { State } from '../tab/state.js'
import { CopyButton } from '../ui/copy.js'
import { size, when } from '../ui/format.js'
import { Names, Peer, peerText } from '../ui/peer.js'
import { Trouble } from '../ui/trouble.js'
import { isPattern, type Line, type Room, type Talk } from './talk.js'

/** Rooms of messages. A room is what the API calls a type. */
export function TalkSheet({ state, talk }: { state: State; talk: Talk }) {
  const { rooms, shown, failure } = useSource(talk.view)
  const room = rooms.find(({ type }) => type === shown)
  const own = useSource(talk.people.own)
  const seen = useContext(Shown)
  useEffect(() => (seen ? talk.look() : undefined), [seen, talk])
  return (
    <section class="sheet talk" aria-labelledby="talk-title">
      <h2 id="talk-title">Chat</h2>
      <Trouble failure={failure} />
      {rooms.length > 0 && <Tabs rooms={rooms} shown={shown} talk={talk} />}
      {room && <RoomView key={room.type} room={room} state={state} talk={talk} />}
      <div class="talk-joins">
        <JoinBox talk={talk} ready={state.self !== undefined && state.phase !== 'failed'} first={rooms.length === 0} />
        {own === '' && <NameBox people={talk.people} />}
      </div>
    </section>
  )
}

function JoinBox({ talk, ready, first }: { talk: Talk; ready: boolean; first: boolean }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const form = event.currentTarget as HTMLFormElement
    void talk.join(String(new FormData(form).get('type')))
    form.querySelector('input')!.value = ''
  }
  return (
    <form class="talk-join" onSubmit={submit}>
      <label for="talk-type">{first ? 'Join a room, and talk with everybody who is in it' : 'Join another room'}</label>
      <div class="field">
        <input
          id="talk-type"
          name="type"
          defaultValue="chat"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          maxLength={128}
          required
        />
        <button disabled={!ready}>Join</button>
      </div>
    </form>
  )
}

const STEPS: Record<string, (at: number, length: number) => number> = {
  ArrowRight: (at, length) => (at + 1) % length,
  ArrowLeft: (at, length) => (at + length - 1) % length,
  Home: () => 0,
  End: (_, length) => length - 1,
}

/** One tab for each type; the arrow keys move between them. */
function Tabs({ rooms, shown, talk }: { rooms: Room[]; shown: string | undefined; talk: Talk }) {
  const list = useRef<HTMLDivElement>(null)
  const step = (event: KeyboardEvent) => {
    const at = rooms.findIndex(({ type }) => type === shown)
    const to = STEPS[event.key]?.(at, rooms.length)
    if (to === undefined) return
    event.preventDefault()
    talk.show(rooms[to]!.type)
    list.current?.querySelectorAll<HTMLElement>('[role=tab]')[to]?.focus()
  }
  return (
    <div class="tabs" role="tablist" aria-label="Rooms" ref={list} onKeyDown={step}>
      {rooms.map(({ type, unread }) => (
        <button
          key={type}
          role="tab"
          type="button"
          class="room-tab"
          aria-selected={type === shown}
          aria-controls="talk-room"
          tabIndex={type === shown ? 0 : -1}
          onClick={() => talk.show(type)}
        >
          {type}
          {unread > 0 && (
            <span class="count">
              {' '}
              {unread}
              <span class="hidden"> not read</span>
            </span>
          )}
        </button>
      ))}
    </div>
  )
}

function RoomView({ room, state, talk }: { room: Room; state: State; talk: Talk }) {
  const { type, here, catching } = room
  return (
    <div id="talk-room" role="tabpanel" aria-label={type} data-type={type} data-open={room.open}>
      <div class="room-bar">
        <p class="room-here">
          {isPattern(type)
            ? 'What is sent to this tab alone, under any name that begins so, is heard here'
            : presence(here)}
          {here.slice(0, 12).map((peer) => (
            <span key={peer} class="room-peer" data-peer={peer}>
              <Peer id={peer} />
            </span>
          ))}
          {here.length > 12 && ` and ${here.length - 12} more`}
        </p>
        {!isPattern(type) && (
          <button type="button" class="quiet" aria-disabled={catching} onClick={() => void talk.catchUp(type)}>
            {catching ? 'Catching up…' : 'Catch up'}
          </button>
        )}
        {!isPattern(type) && (
          <CopyButton label="Invite" text={roomLink(type)} what={`people: copies the link to ${type}`} />
        )}
        <button type="button" class="quiet" onClick={() => talk.leave(type)}>
          Leave<span class="hidden"> {type}</span>
        </button>
      </div>
      <Said room={room} self={state.self?.id} />
      <Trouble failure={room.failure} />
      <SayBox room={room} peers={state.peers} relay={state.relay?.id} talk={talk} />
    </div>
  )
}

function presence(here: string[]): string {
  if (here.length === 0) return 'Nobody else is here'
  return here.length === 1 ? 'One other is here:' : `${here.length} others are here:`
}

/** The most lines that are drawn until somebody wants to see more, because a room may be busy. */
const MAX_DRAWN = 60
/** If more lines than this arrive between two updates, only this many are drawn: they fill the box, and nobody reads that fast. */
const MAX_FRESH = 15
/** How long the room must be calm before the other lines are drawn again, in ms. */
const CALM_MS = 500

/** The messages of a room, newest last. The newest stays in view unless somebody has scrolled up. */
function Said({ room, self }: { room: Room; self: string | undefined }) {
  const box = useRef<HTMLDivElement>(null)
  const atEnd = useRef(true)
  const [all, setAll] = useState(false)
  const { lines, gone } = room
  const busy = useBusy(lines)
  const drawn = busy ? lines.slice(-MAX_FRESH) : all ? lines : lines.slice(-MAX_DRAWN)
  const undrawn = lines.slice(0, -drawn.length)
  useLayoutEffect(() => {
    if (atEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight
  }, [lines, busy])
  const scrolled = ({ currentTarget: { scrollHeight, scrollTop, clientHeight } }: { currentTarget: HTMLElement }) => {
    atEnd.current = scrollHeight - scrollTop - clientHeight < 24
  }
  return (
    <div class="lines" role="log" aria-label={`Messages of ${room.type}`} tabIndex={0} ref={box} onScroll={scrolled}>
      {gone > 0 && <p class="said-note">{gone.toLocaleString()} older lines are no longer shown</p>}
      {undrawn.length > 0 && (
        <button type="button" class="quiet" onClick={() => setAll(true)}>
          Show {undrawn.length} earlier lines
          {undrawn.some(({ kind }) => kind === 'gap') && ', with what was lost'}
        </button>
      )}
      {lines.length === 0 && <p class="waiting">Nothing has been said here yet.</p>}
      <ol>
        {drawn.map((line) => (
          <LineView key={line.n} line={line} self={self} />
        ))}
      </ol>
    </div>
  )
}

/** Whether lines arrive too fast for each to be drawn. */
function useBusy(lines: Line[]): boolean {
  const drawn = useRef(0)
  const [, redraw] = useState(0)
  const fresh = lines.at(-1 - MAX_FRESH)?.n ?? 0
  const busy = drawn.current > 0 && fresh > drawn.current
  useLayoutEffect(() => {
    drawn.current = lines.at(-1)?.n ?? 0
    if (!busy) return undefined
    const timer = setTimeout(() => redraw((n) => n + 1), CALM_MS)
    return () => clearTimeout(timer)
  }, [lines, busy])
  return busy
}

function LineView({ line, self }: { line: Line; self: string | undefined }) {
  const { kind, at, dated, peer, to, how, replayed, content } = line
  const time = dated ? (
    <time dateTime={new Date(at).toISOString()}>{when(at)}</time>
  ) : (
    <span class="said-self">earlier; it does not say when</span>
  )
  if (kind !== 'message') {
    return (
      <li class="said-note" data-kind={kind}>
        {time} {peer !== undefined && <Speaker peer={peer} self={self} />}{' '}
        {kind === 'joined' ? 'is here' : kind === 'left' ? 'has left' : content.text}
      </li>
    )
  }
  const file = content.said?.file
  return (
    <li class="said" data-kind="message" data-from={peer} data-how={how} data-replayed={replayed}>
      <p class="said-head">
        {peer !== undefined && <Speaker peer={peer} self={self} />} {time}{' '}
        {how === 'direct' && (
          <span class="chip">
            {to === undefined ? (
              'to you alone'
            ) : (
              <>
                to <Peer id={to} /> alone
              </>
            )}
          </span>
        )}
        {replayed && <span class="chip">from before</span>}
        {content.hex && <span class="chip">{size(content.bytes)}, no text</span>}
      </p>
      {content.hex ? (
        <code class="said-hex">{content.text}</code>
      ) : (
        (content.text !== '' || file === undefined) && <p class="said-text">{content.text || <em>empty</em>}</p>
      )}
      {file && peer !== undefined && (
        <a class="said-file" href={linkTo({ peer, name: file.share })}>
          {file.thumb !== undefined && <img src={file.thumb} alt="" />}
          <span>
            {file.name}, {size(file.size)}
          </span>
        </a>
      )}
      {content.cut && <p class="form-note">The rest of its {size(content.bytes)} is not shown.</p>}
    </li>
  )
}

function Speaker({ peer, self }: { peer: string; self: string | undefined }) {
  return (
    <>
      <Peer id={peer} />
      {peer === self && <span class="said-self"> you</span>}
    </>
  )
}

/** The most peers to choose from for a direct message. */
const MAX_CHOICES = 50

interface SayProps {
  room: Room
  peers: PeerInfo[]
  relay: string | undefined
  talk: Talk
}

/** Sends a message to everybody, or to one peer. */
function SayBox({ room: { type, here, open }, peers, relay, talk }: SayProps) {
  const [to, setTo] = useState('')
  const [sending, setSending] = useState(0)
  const names = useSource(useContext(Names))
  const field = useRef<HTMLInputElement>(null)
  if (isPattern(type)) return <p class="form-note">Nothing can be said to a pattern: join a room by its full name.</p>
  const connected = peers.filter(({ id }) => id !== relay && !here.includes(id)).map(({ id }) => id)
  const hearers = here.slice(0, MAX_CHOICES)
  const others = connected.slice(0, MAX_CHOICES - hearers.length)
  const left = here.length + connected.length - hearers.length - others.length
  const chosen = [...hearers, ...others].includes(to) ? to : ''
  const one = chosen === '' ? undefined : chosen
  const write = (text: string) => {
    talk.drafts.set(type, text)
    if (field.current) field.current.value = text
  }
  const sends = async (send: Promise<unknown>) => {
    setSending((n) => n + 1)
    await send
    setSending((n) => n - 1)
  }
  // New typing is the next message. A message that could not be sent is put back in front of it.
  const say = async (text: string) => {
    write('')
    if (await talk.say(type, text, one)) return
    const next = talk.drafts.get(type) ?? ''
    write(next === '' ? text : `${text} ${next}`)
  }
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    void sends(say(field.current!.value))
  }
  return (
    <form class="say" onSubmit={submit}>
      <div>
        <label for="say-to">To</label>
        <select id="say-to" value={chosen} onChange={(event) => setTo(event.currentTarget.value)}>
          <option value="">everybody in {type}</option>
          {hearers.map((peer) => (
            <option key={peer} value={peer}>
              {peerText(peer, names)} alone
            </option>
          ))}
          {others.map((peer) => (
            <option key={peer} value={peer}>
              {peerText(peer, names)} alone, who is not in {type}
            </option>
          ))}
          {left > 0 && <option disabled>and {left.toLocaleString()} more, who cannot be chosen here</option>}
        </select>
      </div>
      <div>
        <label for="say-text">Message</label>
        <div class="field">
          <input
            id="say-text"
            name="text"
            autocomplete="off"
            required
            ref={field}
            defaultValue={talk.drafts.get(type) ?? ''}
            onInput={({ currentTarget }) => talk.drafts.set(type, currentTarget.value)}
          />
          <button disabled={!open}>{sending > 0 ? 'Sending…' : 'Send'}</button>
        </div>
      </div>
      <label class="say-file">
        Add a picture or a file, which others get from this tab
        <input
          type="file"
          id="say-file"
          disabled={!open}
          onChange={({ currentTarget }) => {
            const file = currentTarget.files?.[0]
            if (file) void sends(talk.attach(type, file, one))
            currentTarget.value = ''
          }}
        />
      </label>
      {chosen === '' && here.length === 0 && (
        <p class="form-note">
          Nobody else is here now. If a relay keeps the messages, people who come later can still get them.
        </p>
      )}
    </form>
  )
}
