import assert from 'node:assert/strict'
import { test } from 'node:test'
import { locate, parsePath, servicePath } from '../../src/gateway/path.js'

const PEER = '12D3KooWDU78xikYC3tf4vMyprye3XW1DH2X3tPrry89EsBNcaDp'
const FOLDER = '/p2p/'

test('a path below the folder names a peer, a protocol and a path of the service', () => {
  const cases: [string, string, string, string][] = [
    [`${PEER}/http/a/b`, '/http', `/p2p/${PEER}/http`, '/a/b'],
    [`${PEER}/http`, '/http', `/p2p/${PEER}/http`, ''],
    [`${PEER}/x/site/http/`, '/x/site/http', `/p2p/${PEER}/x/site/http`, '/'],
    [`${PEER}/x/a/b/http/c`, '/x/a/b/http', `/p2p/${PEER}/x/a/b/http`, '/c'],
    [`${PEER}/x/a%2Fb/http/%2e%20`, '/x/a/b/http', `/p2p/${PEER}/x/a%2Fb/http`, '/%2e%20'],
    [`${PEER}/x/http/http/`, '/x/http/http', `/p2p/${PEER}/x/http/http`, '/'],
    [`${PEER}/x/site/http//admin`, '/x/site/http', `/p2p/${PEER}/x/site/http`, '//admin'],
  ]
  for (const [below, protocol, prefix, path] of cases) {
    assert.deepEqual(parsePath(FOLDER + below, FOLDER), { peer: PEER, protocol, prefix, path })
  }
})

test('a path that names no service is refused, with the reason', () => {
  const cases: [string, RegExp][] = [
    ['', /not of the form/],
    [PEER, /not of the form/],
    ['short/http/', /not a peer ID/],
    [`${PEER}/y/site/http/`, /not "y"/],
    [`${PEER}/x/site/`, /no \/http\//],
    [`${PEER}/x//http/`, /empty segment/],
    [`${PEER}/x/%/http/`, /badly escaped/],
  ]
  for (const [below, why] of cases) assert.throws(() => parsePath(FOLDER + below, FOLDER), why)
})

test('the path of a service leads back to it', () => {
  for (const protocol of [
    '/http',
    '/x/site/http',
    '/x/a/b/http',
    '/x/http/http',
    '/x/a/http/b/http',
    '/x/ä ?#%/http',
  ]) {
    const { pathname } = new URL(FOLDER + servicePath(PEER, protocol) + '/rest', 'http://localhost')
    const target = parsePath(pathname, FOLDER)
    assert.deepEqual([target.protocol, target.path], [protocol, '/rest'])
  }
  for (const protocol of ['/x/ssh', '/x/./http', '/x/../http', '/tombolo/msg/2.0.0']) {
    assert.equal(servicePath(PEER, protocol), undefined)
  }
})

test('a reference to a path of the service leads below its prefix, and any other stays', () => {
  const here = new URL(`http://localhost:8080/p2p/${PEER}/x/site/http/dir/page`)
  const target = parsePath(here.pathname, FOLDER)
  const below = `http://localhost:8080/p2p/${PEER}/x/site/http`
  const cases: [string, string][] = [
    ['/other?q#f', `${below}/other?q#f`],
    ['other', `${below}/dir/other`],
    ['/caf\xc3\xa9?\xc3\xa9', `${below}/caf%C3%A9?%C3%A9`],
    ['//cdn.example/a', 'http://cdn.example/a'],
    [`http://${PEER.toLowerCase()}/a`, `${below}/a`],
    ['https://localhost:8080/a', `${below}/a`],
    [`/p2p/${PEER}/x/site/http/a`, `${below}/a`],
    ['https://elsewhere.example/a', 'https://elsewhere.example/a'],
    ['mailto:a@b.example', 'mailto:a@b.example'],
    ['http://[', 'http://['],
  ]
  for (const [ref, to] of cases) assert.equal(locate(ref, target, here), to)
  assert.equal(locate('b', { ...target, path: '//admin/a' }, here), `${below}//admin/b`)
  assert.equal(locate('?q', { ...target, path: '//admin/a' }, here), `${below}//admin/a?q`)
  const secure = new URL(here.href.replace('http:', 'https:'))
  assert.equal(locate('//cdn.example/a', target, secure), 'https://cdn.example/a')
  assert.equal(locate('/a', target, secure), `${below.replace('http:', 'https:')}/a`)
})
