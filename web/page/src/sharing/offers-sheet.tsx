import { useId, useRef, useState } from 'preact/hooks'
import { NAME, onlyHere } from './share-link.js'
import { itemsOf } from './items.js'
import type { Fetched, Lost, Offer, Offers } from './offers.js'
import { written } from './shelf.js'
import { useSource } from '../source.js'
import type { State } from '../tab/state.js'
import { CopyButton } from '../ui/copy.js'
import { clock, count, size } from '../ui/format.js'
import { Peer } from '../ui/peer.js'
import { Qr } from './qr.js'
import { Trouble } from '../ui/trouble.js'

/** Shares files, folders and pages from this tab. */
export function OffersSheet({ state, offers }: { state: State; offers: Offers }) {
  const { offers: shared, lost, failure } = useSource(offers.view)
  const ready = state.self !== undefined && state.phase !== 'failed'
  return (
    <section class="sheet offers" aria-labelledby="offers-title">
      <h2 id="offers-title">Share from this tab {shared.length > 0 && <span class="count">{shared.length}</span>}</h2>
      <ShareBox offers={offers} ready={ready} />
      <Trouble failure={failure} />
      {lost.map((one) => (
        <LostView key={one.name} lost={one} offers={offers} />
      ))}
      <ul id="offers" hidden={shared.length === 0}>
        {shared.map((offer) => (
          <OfferView key={offer.name} offer={offer} offers={offers} joined={state.phase === 'joined'} />
        ))}
      </ul>
    </section>
  )
}

/** What a first-time visitor needs: a sentence and a button. The rest is folded away. */
function ShareBox({ offers, ready }: { offers: Offers; ready: boolean }) {
  const [name, setName] = useState('')
  const form = useRef<HTMLFormElement>(null)
  const share = async (files: Parameters<Offers['share']>[0]) => {
    if ((await offers.share(files, name.trim())) === undefined) return
    setName('')
    const page = form.current?.querySelector('textarea')
    if (page) page.value = ''
  }
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    void share([written(name.trim() || 'A page', String(new FormData(form.current!).get('page')))])
  }
  return (
    <div class="serve">
      <p class="lede">
        Send files and messages straight from this tab to somebody else’s: nothing is uploaded, and nobody needs an
        account.
      </p>
      <p class="serve-first">
        <FilesButton id="serve-files" ready={ready} onChoose={(files) => void share(itemsOf(files))}>
          Choose files
        </FilesButton>{' '}
        <span class="form-note">or drop them here. Others can get them while this tab is open.</span>
      </p>
      <details class="serve-more">
        <summary>A folder, a page that you write, a name of your own</summary>
        <form ref={form} onSubmit={submit}>
          <label for="serve-name">
            Name in the link, if you want to choose it: small letters, digits, dots and dashes
          </label>
          <input
            id="serve-name"
            name="name"
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
            pattern={NAME}
            placeholder="made of the name of the file"
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
          />
          <p class="serve-folder">
            <FilesButton id="serve-folder" folder ready={ready} onChoose={(files) => void share(itemsOf(files))}>
              Choose a folder
            </FilesButton>
          </p>
          <label for="serve-page">A page that you write: text, or HTML if it begins with a tag</label>
          <textarea id="serve-page" name="page" rows={4} required />
          <p>
            <button disabled={!ready}>Share the page</button>
          </p>
        </form>
      </details>
    </div>
  )
}

interface FilesButtonProps {
  id: string
  ready: boolean
  folder?: boolean
  onChoose(files: FileList): void
  children: string
}

/** A button that asks for files. It contains the browser's own file field, which is invisible and takes the keyboard focus. */
function FilesButton({ id, ready, folder = false, onChoose, children }: FilesButtonProps) {
  return (
    <label class={folder ? 'button quiet' : 'button'} aria-disabled={!ready}>
      {children}
      <input
        id={id}
        type="file"
        class="hidden"
        multiple
        disabled={!ready}
        {...(folder && { webkitdirectory: true })}
        onChange={({ currentTarget: field }) => {
          if (field.files !== null && field.files.length > 0) onChoose(field.files)
          field.value = '' // so that the same file can be chosen again
        }}
      />
    </label>
  )
}

/** Files that were too large to be kept through a reload. */
function LostView({ lost: { name, files }, offers }: { lost: Lost; offers: Offers }) {
  return (
    <div class="lost" data-name={name}>
      <p>
        <strong>{files[0]?.name}</strong> was shared from here until this page was loaded again, and is too large to be
        kept by the browser. Choose it again, and its link works again.
      </p>
      <p class="serve-first">
        <FilesButton id={`again-${name}`} ready onChoose={(chosen) => void offers.share(itemsOf(chosen), name)}>
          Choose it again
        </FilesButton>
        <button type="button" class="quiet" onClick={() => void offers.forget(name)}>
          Forget<span class="hidden"> {name}</span>
        </button>
      </p>
    </div>
  )
}

function OfferView({ offer, offers, joined }: { offer: Offer; offers: Offers; joined: boolean }) {
  const { name, files, link, fetched, requests } = offer
  const id = useId()
  const total = files.reduce((sum, file) => sum + file.size, 0)
  return (
    <li class="offer" data-name={name}>
      <div class="offer-head">
        <span class="offer-what">
          <strong>{files.length === 1 ? files[0]!.name : `${files.length} files as “${name}”`}</strong>, {size(total)}
        </span>
        <button type="button" class="quiet" onClick={() => void offers.stop(name)}>
          Stop<span class="hidden"> sharing {name}</span>
        </button>
      </div>
      <Trouble failure={offer.failure} />
      <div class="offer-link">
        <Qr text={link} label={`QR code of the link to ${name}; the same link stands beside it as text`} />
        <div>
          <p id={id}>Anyone who opens this link can get it</p>
          <p class="identity">
            <a class="offer-url" href={link} target="_blank" rel="noopener" aria-describedby={id}>
              {link}
            </a>
            <CopyButton text={link} what={`the link to ${name}`} />
          </p>
          {!joined && <p class="form-note">Nobody can reach this tab until it is connected.</p>}
          {onlyHere() && (
            <p class="form-note">
              The link names {location.hostname}, so it works on this machine only. For others, open this page under a
              name that they can reach.
            </p>
          )}
          {offer.keeping === 'not kept' && (
            <p class="form-note">It ends when this page is loaded again, because this browser does not keep it.</p>
          )}
        </div>
      </div>
      <p class="offer-count" role="status">
        {requests === 0 ? 'Nobody has downloaded it yet.' : `Handed out ${count(requests, 'time')}.`}
      </p>
      {fetched.length > 0 && (
        <ul class="fetched">
          {fetched.map((row) => (
            <FetchedRow key={`${row.peer} ${row.file}`} row={row} />
          ))}
        </ul>
      )}
    </li>
  )
}

const HOW: Record<Fetched['how'], string> = {
  'under way': 'under way',
  whole: 'handed out',
  'cut off': 'cut off',
}

function FetchedRow({ row: { peer, file, at, requests, bytes, how } }: { row: Fetched }) {
  return (
    <li data-how={how} data-peer={peer}>
      <Peer id={peer} /> <span class="fetched-file">{file}</span>{' '}
      <span class="fetched-how">
        {size(bytes)} {HOW[how]}, {clock(at)}
        {requests > 1 && `, ${count(requests, 'time')}`}
      </span>
    </li>
  )
}
