/**
 * Returns the methods with which the tests of messages control a node. Arguments and results are JSON. The native messenger
 * (native/internal/messenger) has the same methods. The function uses nothing from its surroundings, so that it can run in a page.
 *
 * @param {import('@tombolo/node').TomboloNode} node
 */
export function messenger(node) {
  const encode = (text) => new TextEncoder().encode(text)
  const decode = (bytes) => new TextDecoder().decode(bytes)
  const LIMIT = 30_000

  /** Collects what has arrived so far, and waits for more. */
  function journal() {
    const entries = []
    let wake = () => {}
    return {
      entries,
      add(entry) {
        entries.push(entry)
        wake()
      },
      async until(enough) {
        const limit = AbortSignal.timeout(LIMIT)
        while (!enough(entries)) {
          if (limit.aborted) throw new Error(`it did not come; there is ${JSON.stringify(entries).slice(0, 2000)}`)
          await new Promise((resolve) => {
            wake = resolve
            limit.addEventListener('abort', resolve, { once: true })
          })
        }
        return entries
      },
    }
  }

  const inboxes = new Map()
  const presences = new Map()
  const aborted = journal()

  return {
    async subscribe(type, options) {
      const subscription = await node.subscribe(type, options)
      const inbox = journal()
      inboxes.set(type, { subscription, inbox })
      void (async () => {
        for await (const { data, ...rest } of subscription) inbox.add({ ...rest, text: decode(data) })
      })().catch((error) => inbox.add({ error: String(error) }))
    },
    unsubscribe: (type) => inboxes.get(type).subscription.close(),
    /** Resolves to all messages of a subscription once there are `count`. */
    received: (type, count) => inboxes.get(type).inbox.until((all) => all.length >= count),
    broadcast: (type, text, options) => node.broadcast(type, encode(text), options),
    send: (peer, type, text) => node.send(peer, type, encode(text)),
    sendTo: (filter, type, text) => node.sendTo(filter, type, encode(text)),
    request: async (peer, type, text, ms) =>
      decode(await node.request(peer, type, encode(text), { signal: AbortSignal.timeout(ms ?? LIMIT) })),
    /** Answers requests: `shout` in capitals, `fail` with an error; `hang` does not answer until it is aborted. */
    async respond(type, how) {
      const answers = {
        shout: (request) => encode(decode(request.data).toUpperCase()),
        fail: (request) => {
          throw new Error(`no ${decode(request.data)} today`)
        },
        hang: (request, { signal }) =>
          new Promise((_, reject) =>
            signal.addEventListener('abort', () => {
              aborted.add(decode(request.data))
              reject(signal.reason)
            }),
          ),
      }
      await node.respond(type, answers[how])
    },
    /** Resolves to the requests that were aborted, once this one is among them. */
    aborted: (text) => aborted.until((all) => all.includes(text)),
    validate: async (type, refuse) => {
      await node.validate(type, (message) => (decode(message.data) === refuse ? 'reject' : 'accept'))
    },
    keepHistory: (type) => node.keepHistory(type),
    recover: (type) => node.recover(type, { signal: AbortSignal.timeout(LIMIT) }),
    async watch(type) {
      const presence = await node.presence(type)
      const changes = journal()
      presences.set(type, { presence, changes })
      void (async () => {
        for await (const change of presence) changes.add(change)
      })()
    },
    /** Waits until a peer has joined a type, or left it. */
    async seen(type, peer, joined) {
      const { presence, changes } = presences.get(type)
      await changes.until((all) => all.findLast((change) => change.peer === peer)?.joined === joined)
      return presence.now()
    },
    connect: (addr) => node.connect(addr),
    stats: () => node.stats(),
    close: () => node.close(),
  }
}
