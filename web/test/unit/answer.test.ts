import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answer, type Fetcher } from '../../src/gateway/answer.js'
import { PEER } from './support/tcp.js'

const ORIGIN = 'http://localhost:8080'
const BELOW = `${ORIGIN}/p2p/${PEER}/x/site/http`
const SITE = { folder: '/p2p/', rights: 'trusted' } as const

/** Requests a page through the service worker's gateway from a service that answers with the given headers. */
async function through(path: string, sent: Record<string, string>, headers: Record<string, string> = {}) {
  const asked: { path: string; headers: Headers }[] = []
  const fetcher: Fetcher = (_, __, path, init) => {
    asked.push({ path, headers: new Headers(init.headers) })
    return Promise.resolve(new Response('', { headers }))
  }
  const ask = { method: 'GET', url: BELOW + path, headers: Object.entries(sent), body: false }
  const response = await answer(fetcher, ask, null, SITE, new AbortController().signal)
  return { ...asked[0]!, response }
}

test('a service gets the path as it was asked for', async () => {
  for (const path of ['/', '//admin?x', '/a%2Fb', '/?']) assert.equal((await through(path, {})).path, path)
})

test('what a request says of its own address is true of the service', async () => {
  const cases: [string, string, string][] = [
    [`${BELOW}/a%2Fb?c`, `http://${PEER}/a%2Fb?c`, `http://${PEER}/a%2Fb?c`],
    [BELOW, `http://${PEER}/`, `http://${PEER}/`],
    [`${BELOW}?`, `http://${PEER}/?`, `http://${PEER}/?`],
    [`${BELOW}/a?#b`, `http://${PEER}/a?`, `http://${PEER}/a?`],
    [`${ORIGIN}/p2p/other/http/`, `http://${PEER}/`, `${ORIGIN}/p2p/other/http/`],
    ['https://elsewhere.example/a', 'https://elsewhere.example/a', 'https://elsewhere.example/a'],
    ['no URL', 'no URL', 'no URL'],
  ]
  for (const [ref, referer, destination] of cases) {
    const { headers } = await through('/', { origin: ORIGIN, referer: ref, destination: ref })
    const got = ['origin', 'referer', 'destination'].map((name) => headers.get(name))
    assert.deepEqual(got, [`http://${PEER}`, referer, destination])
  }
  assert.equal((await through('/', {})).headers.get('origin'), null)
})

test('links and refreshes of a service lead to it', async () => {
  const cases: [string, string, string][] = [
    ['link', '</a>; rel=next', `<${BELOW}/a>; rel=next`],
    ['link', '</a>; title="</b>, \\"</c>", < /d >', `<${BELOW}/a>; title="</b>, \\"</c>", <${BELOW}/d>`],
    ['link', '<https://elsewhere.example/>', '<https://elsewhere.example/>'],
    ['refresh', '5; url=/a', `5; url=${BELOW}/a`],
    ['refresh', "0;URL = '/a' x", `0;URL = '${BELOW}/a' x`],
    ['refresh', '1.5, "/a', `1.5, "${BELOW}/a`],
    ['refresh', '5', '5'],
    ['sourcemap', '/a.map', `${BELOW}/a.map`],
    ['location', `http://${PEER}//two`, `${BELOW}//two`],
  ]
  for (const [name, from, to] of cases) {
    assert.equal((await through('/', {}, { [name]: from })).response.headers.get(name), to)
  }
})
