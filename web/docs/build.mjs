// Makes the site of the documents, in dist/docs: pages that need no script, whose links are relative, so that they work under any path. A
// link that points nowhere is an error. The references of the APIs are made before it, and linked from it: see `make docs`. search.js adds a
// search to the pages, and reads the index that is made here.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path/posix'
import { Marked } from 'marked'
import { renderMermaidSVG } from 'beautiful-mermaid'
import { slug } from '../scripts/blocks.mjs'

process.chdir(new URL('../..', import.meta.url).pathname)
const OUT = process.env.OUT ?? 'web/dist/docs'
const SOURCE = 'https://github.com/tombolo-net/tombolo'
const INDEX = 'docs/README.md'
const FURTHER = {
  'web/src/README.md': 'package.html',
  'CHANGELOG.md': 'changes.html',
  'CONTRIBUTING.md': 'contributing.html',
}

mkdirSync(OUT, { recursive: true })
const problems = []
const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
const filesOf = (folder, ending) =>
  readdirSync(folder, { recursive: true })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith(ending))
    .sort()
const titleOf = (text) => /^# (.*)$/m.exec(text)[1].replaceAll('`', '')

/** The page of a document; undefined of a document that is not on the site. */
function pageOf(path) {
  if (path === INDEX) return 'index.html'
  if (/^docs\/[^/]+\.md$/.test(path)) return `${basename(path, '.md')}.html`
  return FURTHER[path]
}

/** Paths of documents in the order of the index, with those that it does not name at the end. */
function documents() {
  const named = [...readFileSync(INDEX, 'utf8').matchAll(/^\| \[[^\]]*\]\(([^)]+\.md)\)/gm)].map(
    ([, to]) => `docs/${to}`,
  )
  const all = filesOf('docs', '.md').map((name) => `docs/${name}`)
  return [...new Set([INDEX, ...named, ...all, ...Object.keys(FURTHER)])]
}

/** The headings of a document, each with the anchor that GitHub gives it. */
function headings(tokens) {
  const seen = new Map()
  return tokens
    .filter(({ type }) => type === 'heading')
    .map((token) => {
      const anchor = slug(token.text)
      const before = seen.get(anchor) ?? 0
      seen.set(anchor, before + 1)
      return { token, level: token.depth, anchor: before === 0 ? anchor : `${anchor}-${before}` }
    })
}

const pages = new Map(
  documents().map((path) => {
    const text = readFileSync(path, 'utf8')
    const tokens = new Marked({ gfm: true }).lexer(text)
    return [path, { path, page: pageOf(path), title: titleOf(text), tokens, headings: headings(tokens) }]
  }),
)

/** Where a link of a document points on the site. */
function resolve(from, href) {
  if (/^[a-z]+:/.test(href)) return href
  const [file, anchor = ''] = href.split('#')
  const target = file === '' ? from : normalize(join(dirname(from), file))
  const other = pages.get(target)
  if (other !== undefined) {
    if (anchor !== '' && !other.headings.some((heading) => heading.anchor === anchor)) {
      problems.push(`${from}: ${target} has no heading #${anchor}`)
    }
    return (file === '' ? '' : other.page) + (anchor && `#${anchor}`)
  }
  if (!existsSync(target)) {
    problems.push(`${from}: there is no ${href}`)
    return '#'
  }
  if (dirname(target) === 'docs') {
    writeFileSync(`${OUT}/${basename(target)}`, readFileSync(target))
    return basename(target)
  }
  return `${SOURCE}/${statSync(target).isDirectory() ? 'tree' : 'blob'}/main/${target}${anchor && `#${anchor}`}`
}

function diagram(code) {
  const svg = renderMermaidSVG(code, {
    bg: 'var(--sheet)',
    fg: 'var(--ink)',
    muted: 'var(--ink-soft)',
    accent: 'var(--magenta)',
  })
  const said = escape(code.trim().replaceAll(/\s+/g, ' '))
  // Its own font would come from another host.
  const drawn = svg.replace(/@import url\('[^']*'\);/, '').replaceAll("'Inter', ", '')
  return `<figure class="wide" tabindex="0" role="img" aria-label="${said}">${drawn}</figure>\n`
}

function bodyOf({ path, tokens, headings }) {
  const renderer = {
    heading({ tokens, depth, raw }) {
      const { anchor } = headings.find(({ token }) => token.raw === raw && !token.drawn && (token.drawn = true))
      const text = this.parser.parseInline(tokens)
      return depth === 1
        ? `<h1 id="${anchor}">${text}</h1>\n`
        : `<h${depth} id="${anchor}"><a href="#${anchor}">${text}</a></h${depth}>\n`
    },
    link({ href, text, tokens }) {
      const named = pages.get(normalize(join(dirname(path), text))) // a document by the name of its file
      const inner = named === undefined ? this.parser.parseInline(tokens) : escape(named.title)
      return `<a href="${escape(resolve(path, href))}">${inner}</a>`
    },
    code({ text, lang }) {
      if (lang === 'mermaid') return diagram(text)
      return `<pre tabindex="0"><code>${escape(text)}</code></pre>\n`
    },
    html: ({ text }) => (text.startsWith('<!--') ? '' : text),
  }
  const html = new Marked({ gfm: true, renderer }).parser(tokens)
  // A table without a heading has an empty head, which a screen reader would read out.
  return html
    .replaceAll(/<thead>\s*<tr>\s*(?:<th><\/th>\s*)+<\/tr>\s*<\/thead>/g, '')
    .replaceAll('<th></th>', '<td></td>')
    .replaceAll('<table>', '<div class="wide" tabindex="0"><table>')
    .replaceAll('</table>', '</table></div>')
}

function contents(current) {
  const entries = [...pages.values()].map(({ page, title, headings }) => {
    if (page !== current) return `<li><a href="${page}">${escape(title)}</a></li>`
    const parts = headings
      .filter(({ level }) => level === 2)
      .map(({ token, anchor }) => `<li><a href="#${anchor}">${escape(token.text.replaceAll(/[`*]/g, ''))}</a></li>`)
    return `<li><a href="${page}" aria-current="page">${escape(title)}</a><ul>${parts.join('')}</ul></li>`
  })
  const references = [
    ['api/index.html', 'Reference: TypeScript'],
    ['go-packages.html', 'Reference: Go'],
  ].map(([to, title]) => `<li><a href="${to}"${to === current ? ' aria-current="page"' : ''}>${title}</a></li>`)
  return [...entries, ...references].join('\n')
}

const page = (name, title, body) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escape(title)} · Tombolo</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="docs.css">
<script src="search.js" defer></script>
</head>
<body>
<a class="skip" href="#text">Skip to the text</a>
<header><a href="index.html">Tombolo</a> <span>documents</span> <a class="to-contents" href="#contents">Contents</a></header>
<div class="sheet">
<main id="text">
${body}
</main>
<nav id="contents" aria-label="Documents">
<ul>
${contents(name)}
</ul>
</nav>
</div>
</body>
</html>
`

/** The texts of the Go packages, each with its first sentence. */
const goPackages = filesOf(`${OUT}/api/go`, '.txt').map((name) => {
  const text = readFileSync(`${OUT}/api/go/${name}`, 'utf8')
  return { file: `api/go/${name}`, path: name.slice(0, -4), about: /^Package .*?\.(?=\s)/ms.exec(text)?.[0] ?? '' }
})

function goPage() {
  const rows = goPackages.map(
    ({ file, path, about }) => `<dt><a href="${file}">${path}</a></dt><dd>${escape(about)}</dd>`,
  )
  return `<h1>Go packages</h1>
<p>Import them below <code>github.com/tombolo-net/tombolo/</code>. Each text is what <code>go doc -all</code> prints.</p>
<dl>${rows.join('\n')}</dl>`
}

/** The words of a token of Markdown, without its marks. */
function words(token) {
  if (token.type === 'html' || token.lang === 'mermaid') return ''
  if (token.type === 'table') return [...token.header, ...token.rows.flat()].map(words).join(' ')
  const parts = (token.items ?? token.tokens)?.map(words)
  return parts?.join(['list', 'list_item', 'blockquote'].includes(token.type) ? ' ' : '') ?? token.text ?? ''
}

/** What is searched: the parts of the documents, each from a heading to the next, and the Go packages. */
function searchIndex() {
  const parts = [...pages.values()].flatMap(({ page, title, tokens, headings }) =>
    headings.map(({ token, level, anchor }, n) => {
      const next = headings[n + 1]?.token
      const within = tokens.slice(tokens.indexOf(token) + 1, next && tokens.indexOf(next))
      return [
        page,
        title,
        level === 1 ? '' : anchor,
        words(token),
        within.map(words).join(' ').replaceAll(/\s+/g, ' ').trim(),
      ]
    }),
  )
  return [
    ...parts,
    ...goPackages.map(({ file, path, about }) => [file, 'Go packages', '', path, about.replaceAll(/\s+/g, ' ')]),
  ]
}

for (const old of readdirSync(OUT)) if (old.endsWith('.html')) rmSync(`${OUT}/${old}`)
for (const document of pages.values()) {
  writeFileSync(`${OUT}/${document.page}`, page(document.page, document.title, bodyOf(document)))
}
writeFileSync(`${OUT}/go-packages.html`, page('go-packages.html', 'Go packages', goPage()))
writeFileSync(
  `${OUT}/docs.css`,
  ['web/page/src/style/tokens.css', 'web/docs/docs.css'].map((f) => readFileSync(f, 'utf8')).join('\n'),
)
writeFileSync(`${OUT}/search.js`, readFileSync('web/docs/search.js'))
writeFileSync(`${OUT}/search-index.js`, `window.searchIndex = ${JSON.stringify(searchIndex())}\n`)
writeFileSync(`${OUT}/icon.svg`, readFileSync('web/page/icon.svg'))
if (!existsSync(`${OUT}/api/index.html`)) problems.push('the references are missing: run make docs')
for (const problem of problems) console.error(problem)
process.exitCode = problems.length > 0 ? 1 : 0
