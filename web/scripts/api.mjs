// Compares the public API of the package, as TypeScript declares it, with the record in api.d.ts, so that it cannot change by accident:
// `npm run api -- --write` updates the record. The record holds all that index.d.ts exports, one file after another, without comments and
// private members.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { format } from 'prettier'
import { webDir } from './paths.mjs'

const RECORD = `${webDir}/api.d.ts`
const out = `${webDir}/build/api`

rmSync(out, { recursive: true, force: true })
const tsc = fileURLToPath(new URL('bin/tsc', import.meta.resolve('typescript/package.json')))
execFileSync(
  process.execPath,
  [tsc, '-p', 'tsconfig.npm.json', '--emitDeclarationOnly', '--removeComments', '--outDir', out],
  { cwd: webDir, stdio: 'inherit' },
)

/** The files whose declarations users see: index.d.ts and the files that it imports, sorted by name. */
const reached = new Set()
const follow = (path) => {
  if (reached.has(path) || !existsSync(path)) return
  reached.add(path)
  const text = readFileSync(path, 'utf8')
  for (const [, from] of text.matchAll(/(?:from|import\() ?['"](\.[^'"]+)['"]/g))
    follow(resolve(dirname(path), from.replace(/\.[jt]s$/, '.d.ts')))
}
follow(`${out}/index.d.ts`)

let text =
  '// The public API of @tombolo/node, recorded by `npm run api -- --write`. See CHANGELOG.md for what a change of it means.\n'
for (const path of [...reached].sort()) {
  const declared = readFileSync(path, 'utf8').replace(/^ *(?:#private|private .*);\n/gm, '')
  text += `\n// ${path.slice(out.length + 1)}\n${declared}`
}
text = await format(text, { parser: 'typescript', semi: false, singleQuote: true, printWidth: 120 })

if (process.argv.includes('--write')) writeFileSync(RECORD, text)
else if (readFileSync(RECORD, 'utf8') !== text) {
  writeFileSync(`${out}/now.d.ts`, text)
  try {
    execFileSync('diff', ['-u', RECORD, `${out}/now.d.ts`], { stdio: 'inherit' })
  } catch {
    // The two differ, and diff has shown how.
  }
  console.error(
    'The public API differs from web/api.d.ts: if that is on purpose, run `npm run api -- --write`, and say so in CHANGELOG.md.',
  )
  process.exit(1)
}
