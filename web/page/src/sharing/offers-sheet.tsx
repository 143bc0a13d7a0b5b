import { useId, useState } from 'preact/hooks'
import { NAME, nameFrom, onlyHere, protocolOf } from './share-link.js'
import type { Fetched, Offer, Offers } from './offers.js'
import { written } from './shelf.js'
import { useSource } from '../source.js'
import type { State } from '../tab/state.js'
import { CopyButton } from '../ui/copy.js'
import { clock, count, size } from '../ui/format.js'
import { Peer } from '../ui/peer.js'
import { Qr } from './qr.js'
import { Trouble } from '../ui/trouble.js'

/** Serves files, or a page, from this tab. */
export function OffersSheet({ state, offers }: { state: State; offers: Offers }) {
  const { offers: served, failure } = useSource(offers.view)
  const ready = state.self !== undefined && state.phase !== 'failed'
  return (
    <section class="sheet offers" aria-labelledby="offers-title">
      <h2 id="offers-title">
        Served from this tab <span class="count">{served.length}</span>
      </h2>
      <div class="offers-columns">
        <div>
          <ServeBox offers={offers} ready={ready} />
          <Trouble failure={failure} />
        </div>
        {served.length === 0 && <p class="waiting">Nothing is served from here yet.</p>}
        <ul id="offers" hidden={served.length === 0}>
          {served.map((offer) => (
            <OfferView key={offer.name} offer={offer} offers={offers} joined={state.phase === 'joined'} />
          ))}
        </ul>
      </div>
    </section>
  )
}

type Kind = 'files' | 'page'

function ServeBox({ offers, ready }: { offers: Offers; ready: boolean }) {
  const [kind, setKind] = useState<Kind>('files')
  const [name, setName] = useState('')
  const [busy, setBusy] = useState(false)
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    if (busy) return
    const form = event.currentTarget as HTMLFormElement
    const data = new FormData(form)
    const files =
      kind === 'files' ? (data.getAll('files') as File[]) : [written(name.trim(), String(data.get('page') ?? ''))]
    setBusy(true)
    if (await offers.serve(name.trim(), files)) {
      // Not reset(), which would undo the choice of a kind, too.
      for (const field of form.querySelectorAll<HTMLInputElement>('[type=file], textarea')) field.value = ''
      setName('')
    }
    setBusy(false)
  }
  return (
    <form class="serve" onSubmit={(event) => void submit(event)}>
      <KindOfOffer kind={kind} onChoose={setKind} />
      {kind === 'files' ? (
        <FilesField
          onChoose={(files) => name === '' && setName(nameFrom(files.length === 1 ? files[0]!.name : 'files'))}
        />
      ) : (
        <>
          <label for="serve-page">Text, or HTML if it begins with a tag</label>
          <textarea id="serve-page" name="page" rows={4} required />
        </>
      )}
      <label for="serve-name">Name in its address: small letters, digits, dots and dashes</label>
      <div class="field">
        <input
          id="serve-name"
          name="name"
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
          pattern={NAME}
          placeholder={kind === 'files' ? 'photos' : 'note'}
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          required
        />
        <button disabled={!ready} aria-disabled={busy}>
          Serve
        </button>
      </div>
    </form>
  )
}

function KindOfOffer({ kind, onChoose }: { kind: Kind; onChoose: (kind: Kind) => void }) {
  return (
    <fieldset class="choices">
      <legend class="hidden">What to serve</legend>
      {(['files', 'page'] as const).map((one) => (
        <label key={one}>
          <input type="radio" name="kind" checked={kind === one} onChange={() => onChoose(one)} />
          {one === 'files' ? 'Files' : 'A page you write'}
        </label>
      ))}
    </fieldset>
  )
}

function FilesField({ onChoose }: { onChoose: (files: FileList) => void }) {
  return (
    <>
      <label for="serve-files">
        Files. Others read them from here as long as this tab is open; nothing is uploaded.
      </label>
      <input
        id="serve-files"
        name="files"
        type="file"
        multiple
        required
        onChange={({ currentTarget: { files } }) => files !== null && files.length > 0 && onChoose(files)}
      />
    </>
  )
}

function OfferView({ offer, offers, joined }: { offer: Offer; offers: Offers; joined: boolean }) {
  const { name, files, link, fetched, requests } = offer
  const id = useId()
  const total = files.reduce((sum, file) => sum + file.size, 0)
  return (
    <li class="offer" data-name={name}>
      <div class="offer-head">
        <code>{protocolOf(name)}</code>
        <span class="offer-what">
          {files.length === 1 ? files[0]!.name : `${files.length} files`}, {size(total)}
        </span>
        <button type="button" class="quiet" onClick={() => void offers.stop(name)}>
          Stop<span class="hidden"> serving {name}</span>
        </button>
      </div>
      <Trouble failure={offer.failure} />
      <div class="offer-link">
        <Qr text={link} label={`QR code of the link to ${name}; the same link stands beside it as text`} />
        <div>
          <p id={id}>Another tab fetches it at</p>
          <p class="identity">
            <a class="offer-url" href={link} target="_blank" rel="noopener" aria-describedby={id}>
              {link}
            </a>
            <CopyButton text={link} what={`the link to ${name}`} />
          </p>
          {!joined && <p class="form-note">Nobody can reach this tab until it has joined the relay.</p>}
          {onlyHere() && (
            <p class="form-note">
              It names {location.hostname}, so it works on this machine only. For others, open this page under a name
              that they can reach.
            </p>
          )}
        </div>
      </div>
      <p class="offer-count" role="status">
        {requests === 0 ? 'Nobody has fetched it yet.' : `Fetched in ${count(requests, 'request')}.`}
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
        {requests > 1 && `, ${count(requests, 'request')}`}
      </span>
    </li>
  )
}
