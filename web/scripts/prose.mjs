// Finds wording that reads as translated, in texts for readers: the documents, the help of the programs, error texts, and the doc comments
// of TypeScript and of exported names in Go. Each rule says what to write instead. A line of Markdown that must keep its words ends in
// <!-- prose -->.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { slug } from './blocks.mjs'

const RULES = [
  [/\bleads? to\b/, 'forwards to, points to, resolves to or causes'],
  [/(?<!\b[Tt]here )\b(?:is|are) no (?!longer\b|more\b)[a-z]+/, 'is not a …'],
  [/\b(?:lives?|goes|go) on\b(?! top)/, 'stays open, continues'],
  [/\b(?:is|are) there again\b/, 'is restored'],
  [/\bat rest\b/, 'suspended'],
  [/\b(?:to|of|by|from|for) who\b/, 'name the person or the peer: to a peer that …'],
  [/\b(?:of|a \w+ of) one's own\b/, 'your own, its own'],
  [
    /, for (?:then|it|they|he|there|nobody|everyone|its|their) (?:is|are|was|were|has|have|would|could|can|cannot|must)\b/,
    'because',
  ],
  [/, as (?:`|\d)/, 'such as, for example'],
  [/\bpeer ids?\b/, 'peer ID'],
  [/\b(?:be|is|are) dialled (?:at|through|there)\b/, 'is reachable'],
  [/\bwhere (?:nobody|there is none|none is|it is none)\b/, 'if nobody, if there is none'],
  [/\b[Ww]here it (?:does|has|is|was|can) not\b/, 'if it does not'],
  [/\b(?:said|told) not to\b/, 'give the command or option'],
  [/\bwhat (?:is|was) (?:given|heard|asked|missed|behind|led)\b/i, 'name the thing'],
  [/\b(?:is|are) (?:told|asked) (?:of|that|what|whether)\b/, 'gets, is informed, receives'],
  [/(?:\. |\| )Who (?:watches|asks|listens|comes|joins|has)\b(?!.*\?)/, 'A peer that …, Whoever …'],
]

// Log keys, and the name to use instead.
const KEYS = new Map([
  ['err', 'error'],
  ['why', 'reason'],
  ['again', 'retry'],
  ['wait', 'retry'],
  ['waited', 'for'],
])

const files = (...patterns) =>
  execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', ...patterns], { encoding: 'utf8' })
    .split('\n')
    .filter((path) => path !== '')

process.chdir(new URL('../..', import.meta.url).pathname)
const found = []
const check = (path, line, text) => {
  for (const [rule, instead] of RULES) {
    const match = rule.exec(text)
    if (match) found.push(`${path}:${line}: "${match[0]}": write ${instead}`)
  }
}

for (const path of files('*.md')) {
  let code = false
  readFileSync(path, 'utf8')
    .split('\n')
    .forEach((text, i) => {
      if (text.startsWith('```')) code = !code
      else if (!code && !text.endsWith('<!-- prose -->')) check(path, i + 1, text)
    })
}
for (const path of files('native/cmd/*.go', 'native/command/*.go', 'relay/cmd/*.go')) {
  readFileSync(path, 'utf8')
    .split('\n')
    .forEach((text, i) => {
      for (const [, help] of text.matchAll(/help:"((?:[^"\\]|\\.)*)"/g)) check(path, i + 1, help)
    })
}
for (const path of files('core/*.go', 'native/*.go', 'relay/*.go', 'wasm/*.go')) {
  if (/_test\.go$|\/testdata\/|^native\/(bench|internal)\//.test(path)) continue
  let begun = 0
  let comment = []
  const source = readFileSync(path, 'utf8')
  for (const { 1: fields, index } of source.matchAll(
    /\.(?:Debug|Info|Warn|Error)\(\s*"(?:[^"\\]|\\.)*",([^\n]*(?:\n\t+"[^\n]*)*)/g,
  )) {
    for (const [, key] of fields.matchAll(/"([^"]*)",/g)) {
      if (KEYS.has(key))
        found.push(`${path}:${source.slice(0, index).split('\n').length}: "${key}": log it as "${KEYS.get(key)}"`)
    }
  }
  source.split('\n').forEach((text, i) => {
    for (const [, error] of text.matchAll(/(?:errors\.New|Errorf|usage)\("((?:[^"\\]|\\.)*)"/g))
      check(path, i + 1, error)
    const said = /^\t?\/\/ ?(.*)/.exec(text)
    if (said) {
      if (comment.length === 0) begun = i + 1
      comment.push(said[1])
      return
    }
    const exported = /^(?:func (?:\([^)]*\) )?|type |var |const |\t)[A-Z]\w*|^package /.test(text)
    if (comment.length > 0 && exported) check(path, begun, comment.join(' '))
    comment = []
  })
}
for (const path of files(':(glob)web/src/*.ts', ':(glob)web/src/world/*.ts')) {
  const text = readFileSync(path, 'utf8')
  for (const { 1: comment, index } of text.matchAll(/\/\*\*([^]*?)\*\//g))
    check(path, text.slice(0, index).split('\n').length, comment.replaceAll(/\n\s*\* ?/g, ' '))
}

// Every link within the repository has a target.
const headings = (path) =>
  [...readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slug(heading.replaceAll('`', '')))
for (const path of files('*.md')) {
  for (const [, to] of readFileSync(path, 'utf8').matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(to)) continue
    const [file, anchor] = to.split('#')
    const target = file === '' ? path : normalize(join(dirname(path), file))
    if (!existsSync(target)) found.push(`${path}: there is no ${to}`)
    else if (anchor && target.endsWith('.md') && !headings(target).includes(anchor))
      found.push(`${path}: ${target} has no heading #${anchor}`)
  }
}
for (const line of found) console.error(line)
if (found.length > 0) console.error(`prose: ${found.length} places to write in plain English`)
process.exit(found.length > 0 ? 1 : 0)
