import { expect, test } from 'vitest'
import { at, chat, connect, ledger, newKey, post, Refused, upstream } from '../client.ts'
import { readingToken, storedKey, tokens } from '../config.ts'
import type { Target } from '../target.ts'
import type { Entry } from '../upstream/ledger.ts'

const gatewayHeader = 'cf-aig-authorization'
const friend = 'https://app.example'
const stranger = 'https://evil.example'
const secrets = [...Object.values(tokens), readingToken]
const credentials: readonly [string, string][] = [
  ['the gateway’s token as a bearer', `Bearer ${tokens.locked}`],
  ['the gateway’s token without a scheme', tokens.locked],
  ['a token of all gateways as a bearer', `Bearer ${tokens.all}`],
  ['a token of all gateways without a scheme', tokens.all],
]
const wrong: readonly [string, string][] = [
  ['an unknown token', 'Bearer tk-unknown'],
  ['no token behind the scheme', 'Bearer '],
  ['another scheme', `Basic ${tokens.locked}`],
  ['a token with more behind it', `Bearer ${tokens.locked}x`],
  ['a token in capitals', `Bearer ${tokens.locked.toUpperCase()}`],
  ['a token twice', `Bearer ${tokens.locked}, Bearer ${tokens.locked}`],
]

/** No gateway token in a text that others read. */
function expectNoSecret(text: string): void {
  for (const secret of secrets) expect(text).not.toContain(secret)
}

/** The single request with a key, which holds no gateway token anywhere. */
async function only(target: Target, key: string): Promise<Entry> {
  const entries = await ledger(target, key)
  expect(entries).toHaveLength(1)
  expectNoSecret(JSON.stringify(entries))
  return entries[0]!
}

/** Refused for want of a token, without a word about the one shown, and nothing asked of a provider. */
async function expectUnauthorized(target: Target, key: string, response: Response): Promise<void> {
  const text = await response.text()
  expect(response.status).toBe(401)
  expect(JSON.parse(text)).toMatchObject({ success: false, httpCode: 401, internalCode: 2009 })
  expectNoSecret(text + JSON.stringify([...response.headers]))
  expect(await ledger(target, key)).toEqual([])
}

/** How an upgrade was refused. */
async function refusal(connecting: Promise<unknown>): Promise<Refused> {
  const result = await connecting.catch((error: unknown) => error)
  expect(result).toBeInstanceOf(Refused)
  return result as Refused
}

/** A universal item for the emulator. */
const item = (key: string, headers: Record<string, string> = {}, provider = 'openai'): object => ({
  provider,
  endpoint: 'chat/completions',
  headers: { ...upstream({ key }), ...headers },
  query: chat('hi'),
})

/** Who may use a gateway, what becomes of credentials, and which pages may call it. */
export function authSuite(target: Target): void {
  headerTests(target)
  universalTests(target)
  socketTests(target)
  slotTests(target)
  ownKeyTests(target)
  preflightTests(target)
  originTests(target)
  socketOriginTests(target)
}

function headerTests(target: Target): void {
  const url = at(target, '/openai/echo', 'locked')

  test.each(credentials)('%s opens a locked gateway and goes no further', async (_, value) => {
    const key = newKey()
    const response = await post(url, {}, { [gatewayHeader]: value, ...upstream({ key }) })
    expect(response.status).toBe(200)
    expect((await only(target, key)).headers).not.toHaveProperty(gatewayHeader)
  })

  test('a locked gateway refuses a request without a token', async () => {
    const key = newKey()
    await expectUnauthorized(target, key, await post(url, {}, upstream({ key })))
  })

  test.each(wrong)('a locked gateway refuses %s', async (_, value) => {
    const key = newKey()
    const headers = { [gatewayHeader]: value, ...upstream({ key }) }
    await expectUnauthorized(target, key, await post(url, {}, headers))
  })

  test('a good token in a provider’s slot does not make up for a wrong one shown to the gateway', async () => {
    const key = newKey()
    const authorization = `Bearer ${tokens.locked}`
    const headers = { [gatewayHeader]: 'Bearer tk-unknown', authorization, ...upstream({ key }) }
    await expectUnauthorized(target, key, await post(url, {}, headers))
  })

  test('a token of one gateway does not open another', async () => {
    const key = newKey()
    const headers = { [gatewayHeader]: `Bearer ${tokens.locked}`, ...upstream({ key }) }
    await expectUnauthorized(target, key, await post(at(target, '/openai/echo', 'vault'), {}, headers))
    const options = { gateway: 'vault', headers: { [gatewayHeader]: tokens.locked } }
    expect((await refusal(connect(target, options))).status).toBe(401)
    const open = { [gatewayHeader]: `Bearer ${tokens.all}`, ...upstream({ key }) }
    expect((await post(at(target, '/openai/echo', 'vault'), {}, open)).status).toBe(200)
  })

  test('an open gateway serves with another gateway’s token too, and forwards none', async () => {
    const value = `Bearer ${tokens.locked}`
    for (const name of [gatewayHeader, 'authorization', 'x-api-key']) {
      const key = newKey()
      const response = await post(at(target, '/openai/echo'), {}, { [name]: value, ...upstream({ key }) })
      expect(response.status).toBe(200)
      expect((await only(target, key)).headers).not.toHaveProperty(name)
    }
  })
}

function universalTests(target: Target): void {
  const url = at(target, '', 'locked')

  test('a universal request needs a token as well', async () => {
    const key = newKey()
    await expectUnauthorized(target, key, await post(url, [item(key)]))
  })

  test.each(wrong)('a universal item with %s is refused', async (_, value) => {
    const key = newKey()
    await expectUnauthorized(target, key, await post(url, [item(key, { [gatewayHeader]: value })]))
  })

  test.each(credentials)('%s may come in a universal item, and goes no further', async (_, value) => {
    const key = newKey()
    const response = await post(url, [item(key, { [gatewayHeader]: value })])
    expect(response.status).toBe(200)
    expect((await only(target, key)).headers).not.toHaveProperty(gatewayHeader)
  })

  test('a token in the authorization of a universal item makes room for the stored key', async () => {
    const key = newKey()
    const response = await post(url, item(key, { authorization: `Bearer ${tokens.locked}` }, 'keyed'))
    expect(response.status).toBe(200)
    expect((await only(target, key)).headers.authorization).toBe(`Bearer ${storedKey}`)
  })
}

function socketTests(target: Target): void {
  test.each(Object.values(tokens))(
    'a locked socket opens with a token as subprotocol (%#)',
    async (token) => {
      const key = newKey()
      const line = await connect(target, { gateway: 'locked', protocols: [`${gatewayHeader}.${token}`] })
      await line.result(line.create(item(key)))
      await only(target, key)
      expectNoSecret(JSON.stringify(line.frames))
      line.close()
    },
  )

  test('a subprotocol without a secret is selected before the token’s own', async () => {
    const protocols = [`${gatewayHeader}.${tokens.locked}`, 'chat.v2']
    const line = await connect(target, { gateway: 'locked', protocols })
    expect(line.protocol).toBe('chat.v2')
    line.close()
  })

  test.each(credentials)('%s opens a socket to a locked gateway', async (_, value) => {
    const line = await connect(target, { gateway: 'locked', headers: { [gatewayHeader]: value } })
    line.close()
    await line.closed
  })

  test('a socket to a locked gateway is refused without a token, or with a wrong one', async () => {
    const headers = wrong.map(([, value]) => ({ headers: { [gatewayHeader]: value } }))
    const protocols = [
      `${gatewayHeader}.tk-unknown`,
      `${gatewayHeader}.`,
      `${gatewayHeader}.${tokens.locked}x`,
    ]
    const offers = protocols.map((name) => ({ protocols: [name] }))
    for (const options of [{}, ...headers, ...offers]) {
      const { status, body } = await refusal(connect(target, { gateway: 'locked', ...options }))
      expect(status, JSON.stringify(options)).toBe(401)
      expect(JSON.parse(body)).toMatchObject({ httpCode: 401, internalCode: 2009 })
      expectNoSecret(body)
    }
  })
}

function slotTests(target: Target): void {
  const slots = ['authorization', 'x-api-key', 'x-goog-api-key', 'api-key']
  const cases = slots.flatMap((slot): [string, string][] => [
    [slot, tokens.locked],
    [slot, `Bearer ${tokens.all}`],
  ])
  const url = at(target, '/keyed/echo', 'locked')

  test.each(cases)('a gateway token in %s makes room for the stored key (%#)', async (slot, value) => {
    const key = newKey()
    const response = await post(url, {}, { [slot]: value, ...upstream({ key }) })
    expect(response.status).toBe(200)
    const { headers } = await only(target, key)
    expect(headers.authorization).toBe(`Bearer ${storedKey}`)
    expect(slots.filter((name) => name in headers)).toEqual(['authorization'])
  })

  test.each(slots)('a gateway token beside a provider’s key in %s is taken out of it', async (slot) => {
    const key = newKey()
    const value = `Bearer ${tokens.locked}, Bearer sk-client`
    const response = await post(url, {}, { [slot]: value, ...upstream({ key }) })
    expect(response.status).toBe(200)
    expect((await only(target, key)).headers[slot]).toBe('Bearer sk-client')
  })

  test.each(slots)('a token that may call nothing opens nothing in %s, and goes no further', async (slot) => {
    const key = newKey()
    const headers = { [slot]: `Bearer ${readingToken}`, ...upstream({ key }) }
    await expectUnauthorized(target, key, await post(url, {}, headers))
    for (const [gateway, more] of [
      ['default', {}],
      ['locked', { [gatewayHeader]: tokens.locked }],
    ] as const) {
      const other = newKey()
      const both = { ...headers, ...more, ...upstream({ key: other }) }
      expect((await post(at(target, '/openai/echo', gateway), {}, both)).status).toBe(200)
      expect((await only(target, other)).headers).not.toHaveProperty(slot)
    }
  })

  test.each(slots)('something else in %s does not open a locked gateway', async (slot) => {
    const key = newKey()
    const headers = { [slot]: 'Bearer sk-client', ...upstream({ key }) }
    await expectUnauthorized(target, key, await post(url, {}, headers))
  })

  test.each(slots)('with a token shown to the gateway, %s goes to the provider untouched', async (slot) => {
    const key = newKey()
    const headers = { [gatewayHeader]: `Bearer ${tokens.locked}`, [slot]: 'Bearer  sk-client' }
    await post(at(target, '/openai/echo', 'locked'), {}, { ...headers, ...upstream({ key }) })
    expect((await only(target, key)).headers[slot]).toBe('Bearer  sk-client')
  })
}

function ownKeyTests(target: Target): void {
  test('the stored key is used where the client brings none', async () => {
    const key = newKey()
    await post(at(target, '/keyed/echo'), {}, upstream({ key }))
    expect((await only(target, key)).headers.authorization).toBe(`Bearer ${storedKey}`)
  })

  test('a client’s own key wins over the stored one', async () => {
    const key = newKey()
    await post(at(target, '/keyed/echo'), {}, { authorization: 'Bearer sk-client', ...upstream({ key }) })
    const entry = await only(target, key)
    expect(entry.headers.authorization).toBe('Bearer sk-client')
    expect(JSON.stringify(entry)).not.toContain(storedKey)
  })
}

function preflightTests(target: Target): void {
  const ask = (gateway: string, path: string, origin: string): Promise<Response> => {
    const wanted = {
      'access-control-request-method': 'POST',
      'access-control-request-headers': gatewayHeader,
    }
    return fetch(at(target, path, gateway), { method: 'OPTIONS', headers: { origin, ...wanted } })
  }

  test.each(['', '/openai/chat/completions'])(
    'a page of a listed origin may ask first: “%s”',
    async (path) => {
      const response = await ask('pages', path, friend)
      expect(response.status).toBe(204)
      expect(response.headers.get('access-control-allow-origin')).toBe(friend)
      expect(response.headers.get('access-control-allow-methods')).toBe('POST')
      expect(response.headers.get('access-control-allow-headers')).toBe(gatewayHeader)
    },
  )

  test('a page of any other origin is refused when it asks first', async () => {
    const others = [stranger, 'http://app.example', `${friend}.evil.example`, `${friend}:8443`, 'null']
    const asked = [...others.map((origin) => ['pages', origin]), ['default', friend], ['locked', friend]]
    for (const [gateway, origin] of asked as [string, string][]) {
      const response = await ask(gateway, '/openai/echo', origin)
      expect(response.status, `${gateway} ${origin}`).toBe(403)
      expect(response.headers.has('access-control-allow-origin')).toBe(false)
    }
  })
}

function originTests(target: Target): void {
  const cases: readonly [string, string, Record<string, string>, number, string | null][] = [
    ['pages', friend, {}, 200, friend],
    ['pages', stranger, {}, 403, null],
    ['default', stranger, {}, 403, null],
    ['locked', stranger, { [gatewayHeader]: tokens.locked }, 200, null],
    ['locked', stranger, {}, 401, null],
  ]
  test.each(cases)('%s answers a page of %s (%o) with %i', async (gateway, origin, more, status, shared) => {
    const key = newKey()
    const headers = { origin, ...more, ...upstream({ key }) }
    const response = await post(at(target, '/openai/echo', gateway), {}, headers)
    expect(response.status).toBe(status)
    expect(response.headers.get('access-control-allow-origin')).toBe(shared)
    expect(response.headers.get('vary')?.toLowerCase()).toContain('origin')
    expect(await ledger(target, key)).toHaveLength(status === 200 ? 1 : 0)
  })

  test('a foreign page’s universal request to an open gateway is refused', async () => {
    const key = newKey()
    const response = await post(at(target), item(key), { origin: stranger, 'content-type': 'text/plain' })
    expect(response.status).toBe(403)
    expect(await ledger(target, key)).toEqual([])
  })
}

function socketOriginTests(target: Target): void {
  test('a socket of a listed origin opens', async () => {
    const line = await connect(target, { gateway: 'pages', headers: { origin: friend } })
    line.close()
    await line.closed
  })

  test('a socket of any other origin is refused, with a token too', async () => {
    const headers = { origin: stranger, [gatewayHeader]: tokens.locked }
    for (const gateway of ['pages', 'default', 'locked'])
      expect((await refusal(connect(target, { gateway, headers }))).status, gateway).toBe(403)
  })
}
