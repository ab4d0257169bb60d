import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { at, chat, connect, ledger, newKey, post, upstream } from '../client.ts'
import { storedKey, tokens } from '../config.ts'
import { managerOf } from '../manager.ts'
import { type RelayOptions, refused, relay } from '../relay-client.ts'
import type { Target } from '../target.ts'

const gatewayHeader = 'cf-aig-authorization'
const page = 'https://app.example'
const path = '/openai/chat/completions'

interface Minted {
  readonly token: string
  readonly id: string
  readonly expires_at: string
}

/** Short-lived tokens for pages: where they work, and what they cannot be stretched to. */
export function sessionTokensSuite(target: Target): void {
  const ask = (asked: unknown, parent: string = tokens.all, gateway = 'browser'): Promise<Response> =>
    post(at(target, '/tokens/session', gateway), asked, { [gatewayHeader]: `Bearer ${parent}` })
  const mint = async (asked: object = {}, parent?: string, gateway?: string): Promise<Minted> => {
    const response = await ask(asked, parent, gateway)
    expect(response.status).toBe(200)
    return response.json() as Promise<Minted>
  }
  const call = (token: string, more: CallOptions = {}): Promise<Response> => {
    const { gateway = 'browser', to = path, body = chat('hi'), headers = {} } = more
    return post(at(target, to, gateway), body, { [gatewayHeader]: `Bearer ${token}`, ...headers })
  }
  const world: World = { target, ask, mint, call }
  describe('minting', () => mintTests(world))
  describe('ways', () => wayTests(world))
  describe('limits', () => limitTests(world))
  describe('models', () => modelTests(world))
  describe('sessions', () => sessionTests(world))
}

interface CallOptions {
  readonly gateway?: string
  readonly to?: string
  readonly body?: unknown
  readonly headers?: Record<string, string>
}
interface World {
  readonly target: Target
  ask(asked: unknown, parent?: string, gateway?: string): Promise<Response>
  mint(asked?: object, parent?: string, gateway?: string): Promise<Minted>
  call(token: string, options?: CallOptions): Promise<Response>
}

/** Refused, and why. */
async function expectRefused(response: Response, status: number, reason: string): Promise<void> {
  const { message } = (await response.json()) as { message: string }
  expect([response.status, message]).toEqual([status, expect.stringContaining(reason)])
}

function mintTests({ target, ask, mint }: World): void {
  test('a gateway token makes one, which ends when it says', async () => {
    const before = Date.now()
    const { token, expires_at } = await mint({ lifetime: 300 })
    const after = Date.now()
    expect(token).toMatch(/^eyJ[\w-]+\.[\w-]+\.[\w-]+$/)
    expect(token).not.toContain(tokens.all)
    // In whole seconds, and never more than was asked for.
    expect(Date.parse(expires_at)).toBeGreaterThan(before + 299_000)
    expect(Date.parse(expires_at)).toBeLessThanOrEqual(after + 300_000)
  })

  test.each([
    [{ lifetime: 3_601 }, 'lifetime'],
    [{ lifetime: 0 }, 'lifetime'],
    [{ models: [] }, 'models'],
    [{ cost: -1 }, 'cost'],
    [{ requests: 0.5 }, 'requests'],
    [{ model: ['x'] }, 'model'],
    ['not json', ''],
  ])('what makes no sense is refused: %j', async (asked, named) => {
    await expectRefused(await ask(asked), 400, named)
  })

  test('nobody makes one without a gateway token, and none makes another', async () => {
    await expectRefused(await post(at(target, '/tokens/session', 'browser'), {}), 401, '')
    await expectRefused(await ask({}, 'wrong'), 401, '')
    await expectRefused(await ask({}, tokens.locked), 401, '')
    const { token } = await mint()
    await expectRefused(await ask({}, token), 403, 'makes no other')
  })
}

function wayTests({ target, mint, call }: World): void {
  test('it works over HTTP, as a header and in a provider’s place, and goes no further', async () => {
    const { token } = await mint()
    const key = newKey()
    expect((await call(token, { headers: upstream({ key }) })).status).toBe(200)
    const headers = { authorization: `Bearer ${token}`, ...upstream({ key }) }
    expect((await post(at(target, '/keyed/echo', 'browser'), {}, headers)).status).toBe(200)
    const entries = await ledger(target, key)
    expect(entries).toHaveLength(2)
    expect(entries[1]?.headers.authorization).toBe(`Bearer ${storedKey}`)
    expect(JSON.stringify(entries)).not.toContain(token)
  })

  test.each([[], ['trunkline.v1']])('it opens a socket as a subprotocol: %j', async (...own: string[]) => {
    const { token } = await mint()
    const line = await connect(target, {
      gateway: 'browser',
      protocols: [...own, `${gatewayHeader}.${token}`],
    })
    const item = { provider: 'openai', endpoint: 'chat/completions', query: chat('hi') }
    const frames = await line.result(line.create(item))
    expect(frames[0]?.metadata.status ?? 200).toBe(200)
    expect(JSON.stringify(frames)).toContain('You said: hi')
    line.close()
  })

  test('it opens a provider’s own socket', async () => {
    const { token } = await mint()
    const key = newKey()
    const protocols = ['realtime', `${gatewayHeader}.${token}`]
    const { socket, take } = await relay(target, '/openai?model=m', {
      gateway: 'browser',
      protocols,
      control: { key },
    })
    socket.send('hello')
    expect(await take(1)).toEqual(['hello'])
    expect(JSON.stringify(await ledger(target, key))).not.toContain(token)
    socket.close()
  })
}

function limitTests({ target, mint, call }: World): void {
  test('of another gateway', async () => {
    const { token } = await mint()
    await expectRefused(await call(token, { gateway: 'vault' }), 403, 'is for the gateway "browser"')
    await expectRefused(await call(token, { gateway: 'default' }), 403, 'is for the gateway "browser"')
  })

  test('past its lifetime', async () => {
    const { token } = await mint({ lifetime: 1 })
    await sleep(2_100)
    await expectRefused(await call(token), 401, 'has expired')
  })

  test('tampered with', async () => {
    const { token } = await mint({ models: ['cheap'] })
    const [head = '', body = '', signature = ''] = token.split('.')
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString())
    const wider = Buffer.from(JSON.stringify({ ...claims, models: ['*'] })).toString('base64url')
    const none = Buffer.from(
      JSON.stringify({ ...JSON.parse(Buffer.from(head, 'base64url').toString()), alg: 'none' }),
    ).toString('base64url')
    for (const forged of [
      `${head}.${wider}.${signature}`,
      `${head}.${body}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`,
      `${none}.${wider}.${signature}`,
    ])
      await expectRefused(await call(forged), 401, 'does not hold')
  })

  test('from a page of another origin, or from no page', async () => {
    const { token } = await mint({ origins: [page] })
    expect((await call(token, { headers: { origin: page } })).status).toBe(200)
    for (const headers of [{ origin: 'https://evil.example' }, { origin: `${page}.evil.example` }, {}])
      await expectRefused(await call(token, { headers: headers as Record<string, string> }), 403, 'origins')
    const protocols = [`${gatewayHeader}.${token}`]
    const evil = { gateway: 'browser', protocols, headers: { origin: 'https://evil.example' } }
    expect((await refused(relay(target, '/openai', evil))).body).toContain('origins')
    // What a page writes into an item is not its browser's word.
    const item = {
      provider: 'openai',
      endpoint: 'chat/completions',
      headers: { [gatewayHeader]: token, origin: page },
      query: chat('hi'),
    }
    const foreign = { origin: 'https://evil.example' }
    await expectRefused(await post(at(target, '', 'browser'), item, foreign), 403, 'origins')
  })

  test('for another provider or endpoint', async () => {
    const { token } = await mint({ providers: ['openai'], endpoints: ['chat/completions', 'models/*'] })
    expect((await call(token)).status).toBe(200)
    await expectRefused(await call(token, { to: '/groq/chat/completions' }), 403, 'the provider groq')
    await expectRefused(await call(token, { to: '/openai/responses' }), 403, 'this endpoint')
    await expectRefused(await call(token, { to: '/openai/embeddings' }), 403, 'this endpoint')
    const both = ['openai', 'groq'].map((provider) => ({
      provider,
      endpoint: 'chat/completions',
      query: chat('hi'),
    }))
    await expectRefused(await call(token, { to: '', body: both }), 403, 'the provider groq')
  })

  test('over its requests, whatever the way', async () => {
    const { token } = await mint({ requests: 3 })
    expect((await call(token)).status).toBe(200)
    const protocols = [`${gatewayHeader}.${token}`]
    const { socket } = await relay(target, '/openai', { gateway: 'browser', protocols })
    socket.close()
    expect(
      (await call(token, { to: '/compat/chat/completions', body: { ...chat('hi'), model: 'openai/m' } }))
        .status,
    ).toBe(200)
    await expectRefused(await call(token), 429, "session token's requests")
    expect((await refused(relay(target, '/openai', { gateway: 'browser', protocols }))).status).toBe(429)
    const { token: other } = await mint({ requests: 1 })
    expect((await call(other)).status).toBe(200)
  })

  test('over its cost', async () => {
    const { token } = await mint({ cost: 0.000_001 })
    const body = { ...chat('hi'), model: 'gpt-4.1' }
    expect((await call(token, { body })).status).toBe(200)
    await expect.poll(async () => (await call(token, { body })).status).toBe(429)
    await expectRefused(await call(token, { body }), 429, "session token's cost")
  })

  test('once the token that made it is gone', async () => {
    const manage = managerOf(target.url)
    const made = await manage('POST', '/tokens', { name: newKey(), permissions: ['run'] })
    const { token } = await mint({}, made.result.token)
    expect((await call(token)).status).toBe(200)
    await manage('DELETE', `/tokens/${made.result.id}`)
    await expect.poll(async () => (await call(token)).status, { timeout: 10_000 }).toBe(401)
    await expectRefused(await call(token), 401, 'no longer valid')
  })
}

function modelTests({ target, mint, call }: World): void {
  const refusedModel = 'not for the model dear'

  test('a body names its model in one way only', async () => {
    const { token } = await mint({ models: ['cheap', 'mini-*'] })
    for (const model of ['cheap', 'mini-2'])
      expect((await call(token, { body: { ...chat('hi'), model } })).status).toBe(200)
    const rest = '"messages":[{"role":"user","content":"\\"model\\":\\"cheap\\""}]'
    for (const body of [
      `{"model":"dear",${rest}}`,
      `{"model":"cheap",${rest},"model":"dear"}`,
      `{"model":"dear","model":"cheap",${rest}}`,
      `{"model":"cheap","mod\\u0065l":"dear",${rest}}`,
      `{"model":"de\\u0061r",${rest}}`,
      `{"model":"cheap","models":["cheap", "dear"],${rest}}`,
      `{"model":"cheap","tools":[{"type":"image_generation","model":"dear"}],${rest}}`,
      `{"model_id":"dear","model":"cheap",${rest}}`,
    ])
      await expectRefused(await call(token, { body }), 403, refusedModel)
    expect((await call(token, { body: `{"model":"cheap","stop":["dear"],${rest}}` })).status).toBe(200)
    for (const body of [`{${rest}}`, '{"model":{"x":"cheap"}}'])
      await expectRefused(await call(token, { body }), 403, 'names none')
    const large = `{"model":"dear","x":"${'x'.repeat(1_200_000)}"}`
    await expectRefused(await call(token, { body: large }), 403, refusedModel)
    const form = new FormData()
    form.set('model', 'dear')
    const headers = { [gatewayHeader]: token }
    const sent = await fetch(at(target, '/openai/audio/transcriptions', 'browser'), {
      method: 'POST',
      body: form,
      headers,
    })
    await expectRefused(sent, 403, 'names none')
  })

  test('paths and queries name models too, in whatever spelling', async () => {
    const { token } = await mint({ models: ['google-ai-studio/cheap'] })
    const to = (model: string): string => `/google-ai-studio/v1beta/${model}:generateContent`
    expect((await call(token, { to: to('models/cheap'), body: { contents: [] } })).status).toBe(200)
    for (const path of ['models/dear', '%6dodels/dear', 'models/%64ear'])
      await expectRefused(
        await call(token, { to: to(path), body: { model: 'models/cheap' } }),
        403,
        refusedModel,
      )
    const protocols = [`${gatewayHeader}.${token}`]
    const query = await refused(relay(target, '/openai?model=dear', { gateway: 'browser', protocols }))
    expect([query.status, query.body]).toEqual([403, expect.stringContaining(refusedModel)])
  })

  test('frames name models too', async () => {
    const { token } = await mint({ models: ['cheap'] })
    const open = (where: string, more: RelayOptions = {}) =>
      relay(target, where, { gateway: 'browser', protocols: [`${gatewayHeader}.${token}`], ...more })
    const nameless = await refused(open('/elevenlabs'))
    expect([nameless.status, nameless.body]).toEqual([403, expect.stringContaining('names none')])
    const good = await open('/google')
    const setup = (model: string): string => JSON.stringify({ setup: { model: `models/${model}` } })
    good.socket.send(setup('cheap'))
    expect(await good.take(1)).toEqual([setup('cheap')])
    for (const frame of [setup('dear'), Buffer.from(setup('dear'))]) {
      const key = newKey()
      const bad = await open('/google', { control: { key } })
      bad.socket.send(frame)
      expect(await bad.closed).toMatchObject({ code: 1008, reason: expect.stringContaining(refusedModel) })
      expect(bad.heard).toEqual([])
    }
    good.socket.send(setup('dear'))
    expect((await good.closed).code).toBe(1008)
  })
}

function sessionTests({ target, mint }: World): void {
  test('a request that it is not for ends itself, and not the socket', async () => {
    const { token } = await mint({ models: ['cheap'], providers: ['openai'] })
    const line = await connect(target, {
      gateway: 'browser',
      protocols: ['trunkline.v1', `${gatewayHeader}.${token}`],
    })
    const ask = (provider: string, model: string) =>
      line.result(line.create({ provider, endpoint: 'chat/completions', query: { ...chat('hi'), model } }))
    expect(JSON.stringify(await ask('openai', 'cheap'))).toContain('You said: hi')
    expect(JSON.stringify(await ask('openai', 'dear'))).toContain('not for the model dear')
    expect(JSON.stringify(await ask('groq', 'cheap'))).toContain('not for the provider groq')
    expect(JSON.stringify(await ask('openai', 'cheap'))).toContain('You said: hi')
    line.close()
  })

  test('an open socket ends with its token', async () => {
    const { token } = await mint({ lifetime: 4 })
    const protocols = [`${gatewayHeader}.${token}`]
    const relayed = await relay(target, '/openai', { gateway: 'browser', protocols })
    const line = await connect(target, { gateway: 'browser', protocols: ['trunkline.v1', ...protocols] })
    expect(await relayed.closed).toMatchObject({ code: 4401 })
    await sleep(300)
    line.create({ provider: 'openai', endpoint: 'chat/completions', query: chat('hi') })
    expect(await line.closed).toMatchObject({ code: 4401 })
  })
}
