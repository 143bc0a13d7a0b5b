import { useId, useState } from 'preact/hooks'
import { useSource } from '../source.js'
import { MAX_NAME, type People } from './people.js'

/** The field in which people enter their names. */
export function NameBox({ people }: { people: People }) {
  const own = useSource(people.own)
  const [said, setSaid] = useState(false)
  const id = useId()
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    people.call(String(new FormData(event.currentTarget as HTMLFormElement).get('name')))
    setSaid(true)
  }
  return (
    <form class="name-box" onSubmit={submit}>
      <label for={id}>Your name, as others see it</label>
      <div class="field">
        <input
          id={id}
          name="name"
          key={own}
          defaultValue={own}
          maxLength={MAX_NAME}
          placeholder="none yet"
          autocomplete="nickname"
          spellcheck={false}
          onInput={() => setSaid(false)}
        />
        <button class="quiet">Save</button>
      </div>
      <p class="form-note" role="status">
        {said ? (own === '' ? 'You have no name now.' : `Others see you as ${own}.`) : ''}
      </p>
    </form>
  )
}
