import { readConfig } from '../config.js'

interface Choice {
  name: string
  label: string
  /** Each value as it stands in the address, and its meaning; the first is the default. */
  values: [value: string, meaning: string][]
}

const CHOICES: Choice[] = [
  {
    name: 'transport',
    label: 'Reach the relay over',
    values: [
      ['', 'whatever works best'],
      ['webtransport', 'WebTransport alone'],
      ['websocket', 'WebSocket alone, as where UDP is blocked'],
    ],
  },
  {
    name: 'direct',
    label: 'Other people are reached',
    values: [
      ['', 'through the relay'],
      ['auto', 'directly, if possible'],
    ],
  },
  {
    name: 'identity',
    label: 'This tab’s ID',
    values: [
      ['', 'is kept in this browser'],
      ['ephemeral', 'is new at each load'],
    ],
  },
  {
    name: 'worker',
    label: 'The node runs',
    values: [
      ['', 'in a worker of this tab'],
      ['shared', 'in a worker that tabs share'],
      ['none', 'in the page'],
    ],
  },
  {
    name: 'log',
    label: 'The node logs',
    values: [
      ['', 'what happens'],
      ['debug', 'everything'],
      ['warn', 'warnings and errors'],
      ['off', 'nothing'],
    ],
  },
]

/** The node's settings. They are in the page's address, so a change reloads the page. */
export function SettingsSheet() {
  const query = new URLSearchParams(location.search)
  const config = readConfig(location.search, isSecureContext)
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const chosen = new FormData(event.currentTarget as HTMLFormElement)
    for (const { name } of CHOICES) {
      const value = String(chosen.get(name))
      if (value === '') query.delete(name)
      else query.set(name, value)
    }
    const search = query.toString()
    location.assign(`${location.pathname}${search === '' ? '' : `?${search}`}${location.hash}`)
    if (search === location.search.slice(1)) location.reload()
  }
  return (
    <section class="sheet settings" aria-labelledby="settings-title">
      <h2 id="settings-title">Settings</h2>
      <form onSubmit={submit}>
        {CHOICES.map(({ name, label, values }) => (
          <div key={name}>
            <label for={`setting-${name}`}>{label}</label>
            <select id={`setting-${name}`} name={name}>
              {values.map(([value, meaning]) => (
                <option key={value} value={value} selected={value === (query.get(name) ?? '')}>
                  {meaning}
                </option>
              ))}
            </select>
          </div>
        ))}
        <p>
          <button class="quiet">Load the page with these</button>
        </p>
      </form>
      <p class="form-note">People who are reached directly learn the IP address of this computer.</p>
      {config.relay !== undefined && (
        <p class="form-note">
          The page’s address names a relay of its own: <code>{config.relay}</code>
        </p>
      )}
    </section>
  )
}
