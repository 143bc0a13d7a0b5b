// Search in the site of the documents. It happens in the browser alone, and its index is a script, because a page from file:// may load nothing
// else. Without scripts there is no field to search with, and the site is as it would be.
'use strict'
;(() => {
  const MAX_RESULTS = 20
  /** Characters of a result's text. */
  const EXCERPT = 160
  /** Characters from which a term is found within a word, too. */
  const WITHIN = 4

  /** What is in the index: [page, title of the page, anchor, heading, text], as build.mjs writes it. */
  let sections
  let loading

  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties)
    element.append(...children)
    return element
  }

  const input = make('input', {
    type: 'search',
    id: 'search',
    placeholder: 'Search',
    autocomplete: 'off',
    spellcheck: false,
  })
  input.setAttribute('aria-keyshortcuts', '/')
  input.setAttribute('aria-controls', 'results')
  const label = make('label', { htmlFor: 'search', className: 'unseen', textContent: 'Search the documents' })
  const status = make('p')
  status.setAttribute('role', 'status')
  const list = make('ol')
  const results = make('div', { id: 'results' }, status, list)
  const form = make('form', {}, label, input, results)
  form.setAttribute('role', 'search')
  document.querySelector('header').append(form)

  /** Loads the index, when somebody is about to search. */
  function load() {
    loading ??= new Promise((resolve, reject) => {
      const script = make('script', { src: 'search-index.js', onload: resolve, onerror: reject })
      document.head.append(script)
    }).then(
      () => {
        sections = window.searchIndex.map(([page, title, anchor, heading, text]) => ({
          ...{ page, title, anchor, heading, text },
          within: [heading, title, text].map((part) => part.toLowerCase()),
        }))
      },
      () => {
        loading = undefined
        status.textContent = 'The index of the search could not be loaded.'
      },
    )
    return loading
  }

  const isWord = (character) => /[\p{L}\p{N}]/u.test(character ?? '')

  /** Where a text has a term: at the beginning of a word, or else within one. -1: nowhere. */
  function find(text, term) {
    let within = -1
    for (let at = text.indexOf(term); at >= 0; at = text.indexOf(term, at + 1)) {
      if (!isWord(text[at - 1]) || !isWord(term[0])) return { at, weight: 1 }
      if (within < 0) within = at
    }
    return within >= 0 && term.length >= WITHIN ? { at: within, weight: 0.25 } : { at: -1, weight: 0 }
  }

  /** How well a section fits: not at all (0) unless it has every term. A heading tells more than a title, and that more than a text. */
  function fit({ within }, terms) {
    let sum = within[0] === terms.join(' ') ? 10 : 0
    for (const term of terms) {
      const [heading, title, text] = within.map((part) => find(part, term).weight)
      if (heading + title + text === 0) return 0
      sum += 10 * heading + 3 * title + text
    }
    return sum
  }

  /** A text with its terms marked. */
  function marked(text, terms) {
    const small = text.toLowerCase()
    const parts = []
    for (let from = 0; from < text.length;) {
      const hits = terms
        .map((term) => ({ at: small.indexOf(term, from), length: term.length }))
        .filter(({ at }) => at >= 0)
      const next = hits.sort((a, b) => a.at - b.at || b.length - a.length)[0]
      if (next === undefined || small.length !== text.length) return [...parts, text.slice(from)]
      parts.push(text.slice(from, next.at), make('mark', { textContent: text.slice(next.at, next.at + next.length) }))
      from = next.at + next.length
    }
    return parts
  }

  /** The part of a text around its first term, in whole words. */
  function excerpt({ text, within }, terms) {
    const hits = terms.map((term) => find(within[2], term).at).filter((at) => at >= 0)
    const first = hits.length > 0 ? Math.min(...hits) : 0
    const from = first < EXCERPT / 2 ? 0 : text.indexOf(' ', first - EXCERPT / 2) + 1
    const part = text.slice(Math.min(from, first))
    const end = part.length <= EXCERPT ? part.length : Math.max(part.lastIndexOf(' ', EXCERPT), EXCERPT / 2)
    return [from > 0 ? '… ' : '', ...marked(part.slice(0, end), terms), end < part.length ? ' …' : '']
  }

  function item(section, terms) {
    const { page, title, anchor, heading } = section
    const where = heading === title ? [] : [' ', make('small', {}, title)]
    const link = make('a', { href: anchor === '' ? page : `${page}#${anchor}` }, ...marked(heading, terms), ...where)
    return make('li', {}, link, make('p', {}, ...excerpt(section, terms)))
  }

  async function search() {
    await load()
    const terms = input.value.toLowerCase().split(/\s+/).filter(Boolean)
    if (sections === undefined) return
    if (terms.length === 0) return close()
    const found = sections
      .map((section) => ({ section, fits: fit(section, terms) }))
      .filter(({ fits }) => fits > 0)
      .sort((a, b) => b.fits - a.fits)
    list.replaceChildren(...found.slice(0, MAX_RESULTS).map(({ section }) => item(section, terms)))
    const more = found.length > MAX_RESULTS ? `, the best ${MAX_RESULTS} of them are listed` : ''
    status.textContent = found.length === 1 ? '1 result' : `${found.length || 'No'} results${more}`
  }

  function close() {
    list.replaceChildren()
    status.textContent = ''
  }

  /** Moves the focus among the field and the results; past an end it stays. */
  function move(event, by) {
    const stops = [input, ...list.querySelectorAll('a')]
    stops[stops.indexOf(document.activeElement) + by]?.focus()
    event.preventDefault()
  }

  document.addEventListener('keydown', (event) => {
    const types = event.target.closest('input, textarea, select, [contenteditable]')
    if (event.key !== '/' || types || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault() // which would open the browser's own search
    input.focus()
    input.select()
  })
  form.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowDown') move(event, 1)
    else if (event.key === 'ArrowUp') move(event, -1)
    else if (event.key === 'Escape') {
      input.focus()
      input.value = ''
      close()
    }
  })
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    await search()
    list.querySelector('a')?.click()
  })
  form.addEventListener('focusout', ({ relatedTarget }) => {
    if (!form.contains(relatedTarget)) close()
  })
  results.addEventListener('mousedown', (event) => event.preventDefault()) // keeps the focus, and so the results, until the click
  results.addEventListener('click', ({ target }) => {
    if (target.closest('a')) close() // it may lead to another part of this page
  })
  input.addEventListener('focus', () => void (input.value === '' ? load() : search()))
  input.addEventListener('input', () => void search())
})()
