// Type-checks the TypeScript in the documents: each code block is a module. Names that a text uses without defining them (the node, a peer)
// are declared for all blocks.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { webDir } from './paths.mjs'
import { blocks } from './blocks.mjs'

const DOCUMENTS = ['README.md', 'docs/typescript.md', 'docs/rooms.md', 'web/src/README.md']
const GLOBALS = `import type { Game, TomboloNode } from '@tombolo/node'
declare global {
  const node: TomboloNode
  const peer: string
  const friend: string
  const bytes: Uint8Array<ArrayBuffer>
  const game: Game
}
`
const out = `${webDir}/build/snippets`

rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
for (const document of DOCUMENTS) {
  for (const { language, line, code } of blocks(readFileSync(`${webDir}/../${document}`, 'utf8'))) {
    if (language !== 'ts' && language !== 'tsx') continue
    // Keep the document's line numbers.
    const text = '\n'.repeat(line) + code + 'export {}\n'
    writeFileSync(`${out}/${document.replaceAll('/', '_')}.${line}.${language}`, text)
  }
}
writeFileSync(`${out}/globals.d.ts`, GLOBALS)
const compilerOptions = { noUnusedLocals: false, noUnusedParameters: false, jsxImportSource: 'react' }
writeFileSync(
  `${out}/tsconfig.json`,
  JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['.'] }),
)

const tsc = fileURLToPath(new URL('bin/tsc', import.meta.resolve('typescript/package.json')))
try {
  execFileSync(process.execPath, [tsc, '--noEmit', '-p', out], { cwd: webDir, stdio: 'inherit' })
} catch {
  console.error(
    `The code in a document does not fit the API. ${DOCUMENTS.join(', ')}: the numbers are those of its lines.`,
  )
  process.exit(1)
}
