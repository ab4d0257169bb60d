import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ended, ledger, newKey } from '../client.ts'
import { tokens } from '../config.ts'
import { closeFrame, rawUpgrade, refused, relay } from '../relay-client.ts'
import type { Target } from '../target.ts'
import type { Entry } from '../upstream/ledger.ts'

const canary = 'sk-canary-e0b7d214'
/** Of close frames: what stands for no code at all, what nobody has given a meaning, what is out of range. */
const illegalCodes = [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65_535]

/** Peers that do not keep to the rules, and providers that keep to them in their own way. */
export function realtimeEdgesSuite(target: Target): void {
  handshakeTests(target)
  credentialTests(target)
  closeTests(target)
}

interface Handshake {
  readonly key: string
  readonly offer?: string
  readonly host?: string
}

/** The status line that answers a handshake with a host and an offer of subprotocols as they stand here; empty for none. */
async function answerTo(target: Target, { key, offer, ...own }: Handshake): Promise<string> {
  const at = new URL(target.url)
  const { hostname, port } = at
  const { host = at.host } = own
  const socket = connect(Number(port), hostname)
  const lines = [
    `GET /v1/default/default/openai HTTP/1.1`,
    `host: ${host}`,
    'connection: upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    `sec-websocket-key: ${randomBytes(16).toString('base64')}`,
    ...(offer === undefined ? [] : [`sec-websocket-protocol: ${offer}`]),
    `x-upstream: ${JSON.stringify({ key })}`,
  ]
  socket.on('error', () => undefined).write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'))
  const line = await new Promise<string>((resolve) => {
    socket.once('data', (data) => resolve(data.toString('latin1').slice(0, 12)))
    socket.once('close', () => resolve(''))
  })
  socket.destroy()
  return line
}

function handshakeTests(target: Target): void {
  test('a provider may select nothing of what it is offered; the client still hears its first name', async () => {
    const { socket, take } = await relay(target, '/openai', {
      protocols: ['realtime', 'other'],
      control: { select: '' },
    })
    expect(socket.protocol).toBe('realtime')
    socket.send('hello')
    expect(await take(1)).toEqual(['hello'])
    socket.close()
  })

  test('what a provider selects is selected; what it was not offered is its fault', async () => {
    const protocols = ['one', 'two']
    const { socket } = await relay(target, '/openai', { protocols, control: { select: 'two' } })
    expect(socket.protocol).toBe('two')
    socket.close()
    const other = relay(target, '/openai', { protocols, control: { select: 'three' } })
    expect((await refused(other)).status).toBe(502)
  })

  test('an offer that is no list of different names is refused, and nobody is dialled', async () => {
    const key = newKey()
    for (const offer of ['one, one', 'one,,two', 'one, b@d', 'one,', 'one, \u00e9'])
      expect(await answerTo(target, { offer, key })).toBe('HTTP/1.1 400')
    expect(await ledger(target, key)).toEqual([])
    expect(await answerTo(target, { offer: 'one,two', key })).toBe('HTTP/1.1 101')
  })

  test.each(['a@b', 'a:b@127.0.0.1', 'a:b:c', '127.0.0.1:99999', '1.2.3.999', 'a b'])(
    'a handshake for the host “%s” ends itself, and nothing else',
    async (host) => {
      const key = newKey()
      const answer = await answerTo(target, { host, key })
      if (target.runtime === 'node') expect(answer).toBe('HTTP/1.1 400')
      expect(await answerTo(target, { key })).toBe('HTTP/1.1 101')
    },
  )

  test.each([600, 999])('a provider that refuses with the status %i has failed', async (status) => {
    expect((await refused(relay(target, '/openai', { control: { status } }))).status).toBe(502)
    const { socket } = await relay(target, '/openai')
    socket.close()
  })

  test('a provider that refuses and never ends its answer is heard once the time is over', async () => {
    const headers = { 'cf-aig-request-timeout': '300' }
    const asked = relay(target, '/openai', { headers, control: { status: 401, hang: 'body' } })
    const { status, body } = await refused(asked)
    expect(status).toBe(401)
    expect(body).toContain('emulated 401')
  })
}

function credentialTests(target: Target): void {
  const header = 'cf-aig-authorization'

  test.each(['%0D%0Ax-evil:%201', '%00', '%C3%A9', '%F0%9F%98%80', '%7F'])(
    'a key in the query that no header can hold (%s) is refused, and not repeated',
    async (tail) => {
      const key = newKey()
      for (const path of [`/openai?api_key=${canary}${tail}`, `/google?key=${canary}${tail}`]) {
        const { status, body } = await refused(relay(target, path, { control: { key } }))
        expect([status, body]).toEqual([400, expect.stringContaining('what no header may')])
        expect(body).not.toContain(canary)
      }
      expect(await ledger(target, key)).toEqual([])
    },
  )

  test('a gateway token goes no further, however many stand in its place', async () => {
    const key = newKey()
    const path = `/cartesia?access_token=x&access_token=${tokens.locked}&cartesia_version=1`
    const { socket } = await relay(target, path, { gateway: 'locked', control: { key } })
    expect((await ledger(target, key))[0]?.path).toBe('/cartesia/tts/websocket?cartesia_version=1')
    socket.close()
  })

  test('what a provider has handed out is not for the one that stands in for it', async () => {
    const key = newKey()
    const path = `/cartesia?access_token=${canary}&cartesia_version=1`
    const headers = { [header]: tokens.all, 'x-api-key': canary, authorization: `Bearer ${canary}` }
    const protocols = ['realtime', `their-secret.${canary}`]
    const control = { key, statuses: [503, 101] }
    const { socket } = await relay(target, path, { headers, protocols, control })
    const [first, second] = (await ledger(target, key)) as [Entry, Entry]
    expect(first.path).toContain(canary)
    expect(second.path).toBe('/keyed?cartesia_version=1')
    expect(second.headers['sec-websocket-protocol']).toBe('realtime')
    expect(JSON.stringify(second)).not.toContain(canary)
    socket.close()
  })
}

function closeTests(target: Target): void {
  test.each(illegalCodes)('a provider that closes with %i is lost', async (code) => {
    const raw = closeFrame(code, 'why').toString('hex')
    const { closed } = await relay(target, '/openai', { control: { raw } })
    expect(await closed).toMatchObject({ code: 1011, reason: 'provider lost' })
  })

  test('a provider that sends what is no frame is lost', async () => {
    const { closed } = await relay(target, '/openai', { control: { raw: 'f10141' } })
    expect(await closed).toMatchObject({ code: 1011, reason: 'provider lost' })
  })

  test.each(illegalCodes)('a client that closes with %i is lost', async (code) => {
    const key = newKey()
    const { socket, text } = rawUpgrade(target, '/openai', { key })
    await expect.poll(text).toContain('\r\n\r\n')
    socket.write(closeFrame(code, 'why', true))
    expect(await ended(target, key)).toMatchObject({ closeCode: 1001, closeReason: 'client lost' })
    socket.destroy()
  })

  test('a client that leaves just as its provider answers leaves nothing open', {
    timeout: 30_000,
  }, async () => {
    const key = newKey()
    for (let index = 0; index < 40; index += 1) {
      const { socket } = rawUpgrade(target, '/openai', { key, delay: 60 })
      setTimeout(() => socket.resetAndDestroy(), 55 + (index % 20))
      await sleep(5)
    }
    const open = async () =>
      (await ledger(target, key)).filter(({ closedAt, finishedAt }) => (closedAt ?? finishedAt) === undefined)
    // Far sooner than a client that was granted its socket is given up.
    await expect.poll(open, { timeout: 7_000 }).toEqual([])
  })
}
