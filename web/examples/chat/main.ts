import type { Message } from '@tombolo/node'
import { hue, join } from '../shared/join.js'

const TYPE = 'examples/chat'
const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T

const node = await join((state) => ($('status').textContent = state))

// Let the relay keep the messages, so that tabs that come later can ask for them.
await node.keepHistory(TYPE)
const said = await node.subscribe(TYPE)
void hear()
void watch()
void node.recover(TYPE).catch(() => {}) // no peer has a history yet

$<HTMLButtonElement>('form').querySelector('button')!.disabled = false
$('form').addEventListener('submit', (event) => {
  event.preventDefault()
  const text = $<HTMLInputElement>('text')
  const name = $<HTMLInputElement>('name').value.trim() || node.id.slice(-6)
  const bytes = new TextEncoder().encode(JSON.stringify({ name, text: text.value }))
  text.value = ''
  // Waits until somebody else is here; this tab receives its own message at once.
  node.broadcast(TYPE, bytes, { wait: true }).catch((error: unknown) => ($('status').textContent = String(error)))
})

/** Shows every message, including this tab's own. */
async function hear() {
  for await (const message of said) show(message)
}

/** Older messages may arrive after the first new one. They are inserted before it. */
let firstNow: HTMLElement | null = null

function show({ from, data, missed, replayed }: Message) {
  const { name, text } = JSON.parse(new TextDecoder().decode(data)) as { name: string; text: string }
  const item = document.createElement('li')
  const who = document.createElement('b')
  who.textContent = `${name}: `
  who.style.setProperty('--hue', String(hue(from)))
  item.append(who, text, ...(missed > 0 ? [` (${missed} before it were lost)`] : []))
  if (!replayed) firstNow ??= item
  $('messages').insertBefore(item, replayed ? firstNow : null)
  item.scrollIntoView({ block: 'nearest' })
}

/** Shows how many others are here, as they come and go. */
async function watch() {
  const presence = await node.presence(TYPE)
  const others = new Set(await presence.now())
  const tell = () => {
    others.delete(node.id)
    const n = others.size
    $('here').textContent = n === 0 ? 'nobody else is here yet' : `${n} other${n === 1 ? ' is' : 's are'} here`
  }
  tell()
  for await (const { peer, joined } of presence) {
    if (joined) others.add(peer)
    else others.delete(peer)
    tell()
  }
}
