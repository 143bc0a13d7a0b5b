import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'

const QUALITY = Number(process.env['BROTLI_QUALITY'] ?? 11)

export interface Compressed {
  br: Buffer
  gzip: Buffer
}

/** Smaller files are not compressed. */
export const MIN_BYTES = 1024

/**
 * Compresses bytes with brotli and gzip at their highest levels, both at once. Brotli 11 takes about a minute for the 24 MB of the program,
 * so results are cached in a folder by content hash. (`BROTLI_QUALITY=9` takes five seconds and makes the result a sixth larger, for those
 * who build often.)
 */
export async function compress(bytes: Buffer, cacheDir: string): Promise<Compressed> {
  await mkdir(cacheDir, { recursive: true })
  const hash = createHash('sha256').update(bytes).digest('hex')
  const [br, gz] = await Promise.all([
    cached(`${cacheDir}/${hash}.q${QUALITY}.br`, () => toBrotli(bytes)),
    cached(`${cacheDir}/${hash}.gz`, () => promisify(gzip)(bytes, { level: 9 })),
  ])
  return { br, gzip: gz }
}

function toBrotli(bytes: Buffer): Promise<Buffer> {
  return promisify(brotliCompress)(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: QUALITY,
      [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  })
}

async function cached(path: string, make: () => Promise<Buffer>): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch {
    const made = await make()
    await writeFile(`${path}.part`, made)
    await rename(`${path}.part`, path)
    return made
  }
}
