import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { escapeBytes } from '../../src/http/wire.js'
import { binary } from './support/bytes.js'
import { exchange, listen, serve } from './support/tcp.js'

// If two servers disagree about where a request ends, requests can be smuggled past the one that checks them. So random requests, most of
// them slightly wrong, are sent to web/src/http and to two oracles, node:http and Go's net/http. FUZZ_SECONDS sets the duration, FUZZ_SEED
// the first seed; HTTP_ORACLE is the program of native/internal/httporacle.

const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 3)
const SEED = Number(process.env['FUZZ_SEED'] ?? 1)
const ORACLE = process.env['HTTP_ORACLE']

/** How a server understood its input: the requests, and the status with which it refused the rest, if it did. */
interface Understood {
  requests: string[]
  refused: number | undefined
}

const hex = (text: string) => Buffer.from(text, 'latin1').toString('hex')
const tell = (method: string, target: string, body: string) => `@@${method} ${hex(target)} ${hex(body)}@@`

/** Returns a target as a URL writes it: a Request's target is a URL, but the oracles report theirs as received. */
function inUrl(target: string): string {
  const url = `http://a${escapeBytes(target).replaceAll('\\', '%5C')}`
  if (!URL.canParse(url)) return target
  const { pathname, search } = new URL(url)
  return pathname + search
}

async function ask(port: number, sent: string): Promise<Understood> {
  const answer = await exchange(port, sent)
  const told = [...answer.matchAll(/@@(\S+) (\S*) (\S*)@@/g)]
  const requests = told.map(([, method, target, body]) => {
    const path = Buffer.from(target!, 'hex')
      .toString('latin1')
      .replace(/^https?:\/\/[^/]*/i, '')
    return `${method} ${inUrl(path)} ${method === 'GET' ? '' : body}` // in a Request, GET has no body
  })
  const refused = /HTTP\/1\.[01] ([45]\d\d)/.exec(answer)?.[1]
  return { requests, refused: refused === undefined ? undefined : Number(refused) }
}

/** Returns a generator of numbers in [0, 1) that is the same for a seed everywhere. */
function random(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const HIDDEN = 'GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n'
const SPACE = ['', ' ', '\t', '  ', '\r\n ', '\x0b', '\x0c', '\xa0', '\0']
const END = ['\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r', '\r\r\n', '\n\r\n', '']
const INSERTED = [
  '\r',
  '\n',
  '\r\n',
  ' ',
  '\t',
  '\0',
  ':',
  ';',
  ',',
  '"',
  '\\',
  '0',
  '1',
  'a',
  '\x7f',
  '\x85',
  '\xff',
  '\r\n\r\n',
]
const LENGTH_NAMES = [
  'Content-Length',
  'content-length',
  'Content-Length ',
  'Content_Length',
  'X-Length',
  '\tContent-Length',
]
const CODING_NAMES = [
  'Transfer-Encoding',
  'transfer-encoding',
  'Transfer-Encoding ',
  'Transfer_Encoding',
  ' Transfer-Encoding',
]
const CODINGS = [
  'chunked',
  'Chunked',
  'chunked, chunked',
  'gzip, chunked',
  'chunked, gzip',
  'identity',
  'xchunked',
  '"chunked"',
  'chunked;a',
  ',chunked',
  '',
]
const EXTENSIONS = [
  ';a',
  ';a=b',
  ';a="b;c"',
  ' ;a',
  '; a',
  ';',
  ' ',
  '\t',
  ';a="\n"',
  ';a\n',
  '\n',
  ';\r',
  ';\xff',
  ';a=b\\',
  ';a = b',
]

class Generator {
  readonly #random: () => number

  constructor(seed: number) {
    this.#random = random(seed)
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n)
  }

  #one<T>(of: readonly T[]): T {
    return of[this.#below(of.length)]!
  }

  #maybe(chance: number, text: () => string): string {
    return this.#random() < chance ? text() : ''
  }

  /** Returns the usual in most cases, and one of the others in some. */
  #mostly(usual: string, others: readonly string[], chance = 0.06): string {
    return this.#random() < chance ? this.#one(others) : usual
  }

  #end = () => this.#mostly('\r\n', END)

  /** Returns a few requests for one connection, the last of which is well-formed. */
  connection(): string {
    let all = ''
    for (let n = 1 + this.#below(3); n > 0; n--) all += this.#request()
    while (this.#random() < 0.3) all = this.#mutated(all)
    return all + 'GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  }

  #mutated(text: string): string {
    const at = this.#below(text.length)
    const removed = this.#random() < 0.5 ? this.#below(3) : 0
    return text.slice(0, at) + this.#maybe(0.7, () => this.#one(INSERTED)) + text.slice(at + removed)
  }

  #request(): string {
    const method = this.#one(['GET', 'POST', 'POST', 'PUT'])
    const target = this.#mostly('/' + this.#one(['a', 'b', '/c', 'd?e']), [
      '*',
      'a',
      'http://h/x',
      'http://h',
      '//',
      '/#f',
      '/\xe9',
    ])
    const version = this.#mostly('HTTP/1.1', [
      'HTTP/1.0',
      'HTTP/1.2',
      'HTTP/2.0',
      'http/1.1',
      'HTTP/1.1 ',
      'HTTP/01.1',
      '',
    ])
    const fields = [
      this.#mostly('Host: a', ['Host: b\r\nHost: c', 'X: y', 'Host: ', 'Host: a b', 'Host: a/b', 'Host : a']),
    ]
    const body =
      this.#random() < 0.5 ? this.#sized(fields) : this.#random() < 0.8 ? this.#chunked(fields) : this.#both(fields)
    for (const other of ['X: y', 'Connection: keep-alive', 'Connection: close', 'Expect: 100-continue', 'X: a\r\n b']) {
      if (this.#random() < 0.03) fields.splice(this.#below(fields.length + 1), 0, other)
    }
    const separators = [this.#mostly(' ', SPACE, 0.02), this.#mostly(' ', SPACE, 0.02)]
    const head = method + separators[0] + target + separators[1] + version + this.#end()
    return (
      this.#maybe(0.03, this.#end) + head + fields.map((field) => field + this.#end()).join('') + this.#end() + body
    )
  }

  #field(names: readonly string[], value: string): string {
    return this.#mostly(names[0]!, names) + ':' + this.#mostly(' ', SPACE) + value + this.#mostly('', SPACE)
  }

  #sized(fields: string[]): string {
    const body = this.#one(['', 'abc', HIDDEN, 'x'.repeat(this.#below(300))])
    const n = body.length
    const odd = [
      `+${n}`,
      `0${n}`,
      `${n}, ${n}`,
      `${n},${n + 1}`,
      `0x${n.toString(16)}`,
      `${n}.0`,
      '-1',
      '',
      `${n} `,
      `${n + 1}`,
      `${n - 1}`,
      '1e1',
    ]
    fields.push(this.#field(LENGTH_NAMES, this.#mostly(`${n}`, odd, 0.15)))
    if (this.#random() < 0.05) fields.push(this.#field(LENGTH_NAMES, this.#one([`${n}`, `${n + 1}`])))
    return body
  }

  #chunked(fields: string[]): string {
    fields.push(this.#field(CODING_NAMES, this.#mostly('chunked', CODINGS, 0.1)))
    if (this.#random() < 0.03) fields.push(this.#field(CODING_NAMES, this.#one(CODINGS)))
    let body = ''
    for (let n = this.#below(4); n > 0; n--) {
      const data = this.#one(['abc', HIDDEN, '0\r\n\r\n', '\r\n', 'x'.repeat(1 + this.#below(300))])
      const size = data.length.toString(16)
      const odd = [
        `+${size}`,
        `0x${size}`,
        ` ${size}`,
        '',
        `-${size}`,
        `00000000000000000${size}`,
        'fffffffffffffffff',
        `${size}g`,
      ]
      body += this.#mostly(size, odd, 0.03) + this.#mostly('', EXTENSIONS, 0.1) + this.#end() + data + this.#end()
    }
    const trailer = this.#maybe(
      0.1,
      () => this.#one(['X: y', 'X : y', 'Content-Length: 5', ' X: y', 'X', ': y']) + this.#end(),
    )
    return (
      body +
      this.#mostly('0', ['00', '-0', '0x0', '']) +
      this.#mostly('', EXTENSIONS) +
      this.#end() +
      trailer +
      this.#end()
    )
  }

  #both(fields: string[]): string {
    const body = this.#chunked(fields)
    fields.splice(
      this.#below(fields.length + 1),
      0,
      this.#field(LENGTH_NAMES, this.#one([`${body.length}`, '0', '4', '5'])),
    )
    return body
  }
}

/**
 * What RFC 9112 demands or allows but an oracle refuses: empty lines before a request, strings and spaces in chunk extensions, HTTP/1.2.
 */
const DEMANDED = /^\r\n|;[^\r\n]*["= ]| ;|HTTP\/1\.2/

/** Returns what is wrong with how our server understood a connection, if anything is. */
function judge(sent: string, ours: Understood, oracles: Understood[]): string | undefined {
  for (const [i, request] of ours.requests.entries()) {
    for (const oracle of oracles) {
      const theirs = oracle.requests[i]
      if (theirs !== undefined && theirs !== request) return `request ${i} is understood as another by an oracle`
    }
    // A later request may follow an empty line, which the oracles refuse there.
    const refused = i === 0 && oracles.every((oracle) => oracle.requests.length === 0 && oracle.refused !== undefined)
    // A GET is answered before its body is read. A fault in the body ends the connection later.
    if (refused && !request.startsWith('GET ') && !DEMANDED.test(sent)) return `request ${i} is refused by both oracles`
  }
  return undefined
}

async function goOracle(t: { after(f: () => void): void }): Promise<number> {
  const child = spawn(ORACLE!, { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => child.stdin.end())
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  return Number(line)
}

test(
  'no request is understood as node:http and net/http do not',
  { skip: ORACLE ? false : 'HTTP_ORACLE is not set' },
  async (t) => {
    const ours = await serve(t, async (request) => {
      const { pathname, search } = new URL(request.url)
      const body = binary(new Uint8Array(await request.arrayBuffer()))
      return new Response(tell(request.method, pathname + search, body))
    })
    const node = createServer((req, res) => {
      let body = ''
      req.on('data', (part: Buffer) => (body += binary(part)))
      req.on('end', () => res.end(tell(req.method!, req.url!, body)))
      req.on('error', () => {})
    })
    Object.assign(node, { httpAllowHalfOpen: true })
    const ports = [ours.port, await listen(node, t), await goOracle(t)]
    const until = Date.now() + SECONDS * 1000
    let seed = SEED
    let understood = 0
    for (; Date.now() < until || seed < SEED + 200; seed++) {
      const sent = new Generator(seed).connection()
      const [mine, ...oracles] = await Promise.all(ports.map((port) => ask(port, sent)))
      understood += mine!.requests.length
      const wrong = judge(sent, mine!, oracles)
      if (wrong !== undefined) {
        assert.fail(
          `FUZZ_SEED=${seed}: ${wrong}\n${JSON.stringify(sent)}\n${JSON.stringify([mine, ...oracles], null, 1)}`,
        )
      }
    }
    assert.ok(understood > 50, 'most requests are understood by none')
    t.diagnostic(`${seed - SEED} connections, ${understood} requests understood`)
  },
)
