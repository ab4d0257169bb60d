import { get } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chat, connect } from './client.ts'
import { freePort, type RuntimeName, runtimes, type Started, startEmulator, startGateway } from './launch.ts'
import { managerOf } from './manager.ts'

const masterKey = (byte: number): string => Buffer.alloc(32, byte).toString('base64')
const token = 'tk-of-the-operator'

let emulator: Started
beforeAll(async () => {
  emulator = await startEmulator()
})
afterAll(() => emulator.stop())
const config = () => ({ providers: { openai: { base_url: `${emulator.url}/openai` } } })
const echo = (url: string, gateway = 'default', headers: Record<string, string> = {}) =>
  fetch(`${url}/v1/default/${gateway}/openai/echo`, { method: 'POST', headers })

/** Ask with a Host header of one's own. */
function askAs(url: string, host: string, headers: Record<string, string> = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    get(
      `${url}/client/v4/accounts/default/ai-gateway/gateways`,
      { headers: { host, ...headers } },
      (response) => {
        response.resume()
        resolve(response.statusCode ?? 0)
      },
    ).on('error', reject)
  })
}

describe('a gateway without any token', () => {
  for (const runtime of runtimes) {
    test(`${runtime}: is set up by whoever asks by a loopback name, and by no page`, async () => {
      const gateway = await startGateway(runtime, config())
      const manage = managerOf(gateway.url, null)
      expect((await manage('GET', '/gateways')).result).toMatchObject([
        { id: 'default', source: 'api', is_default: true },
      ])
      const port = new URL(gateway.url).port
      expect(await askAs(gateway.url, `localhost:${port}`)).toBe(200)
      expect(await askAs(gateway.url, `evil.example:${port}`)).toBe(401)
      expect(
        await askAs(gateway.url, `evil.example:${port}`, { origin: `http://evil.example:${port}` }),
      ).toBe(401)
      expect(await askAs(gateway.url, `127.0.0.1:${port}`, { origin: 'https://evil.example' })).toBe(403)
      expect(await askAs(gateway.url, `127.0.0.1:${port}`, { origin: 'null' })).toBe(403)
      await gateway.stop()
    })
  }

  test('has a first token that can make the others', async () => {
    const gateway = await startGateway('node', config())
    const open = managerOf(gateway.url, null)
    const all = { permissions: ['run', 'read', 'edit'] }
    const less = [{}, { permissions: ['read'] }, { ...all, gateways: ['default'] }]
    for (const wish of [...less, { ...all, expires_at: '2100-01-01T00:00:00Z' }]) {
      const { status, errors } = await open('POST', '/tokens', { name: 'x', ...wish })
      expect([status, errors[0]?.message]).toEqual([400, expect.stringMatching(/the first token must have/)])
    }
    expect((await echo(gateway.url)).status).toBe(200)
    await gateway.stop()
  })

  test('is closed by its first token, and is open again without it', async () => {
    const gateway = await startGateway('node', config())
    const open = managerOf(gateway.url, null)
    expect((await echo(gateway.url)).status).toBe(200)
    const { result } = await open('POST', '/tokens', { name: 'first', permissions: ['run', 'read', 'edit'] })
    expect((await open('GET', '/gateways')).status).toBe(401)
    expect((await echo(gateway.url)).status).toBe(401)
    const own = managerOf(gateway.url, result.token)
    expect((await own('DELETE', `/tokens/${result.id}`)).status).toBe(200)
    expect((await echo(gateway.url)).status).toBe(200)
    await gateway.stop()
  })

  test('refuses to store a key without a master key, and says how to make one', async () => {
    const gateway = await startGateway('node', config())
    const manage = managerOf(gateway.url, null)
    const body = { provider_slug: 'openai', alias: 'default', secret: 'sk-secret-value' }
    const refused = await manage('POST', '/gateways/default/provider_configs', body)
    expect(refused.status).toBe(503)
    expect(refused.errors[0]?.message).toContain('TRUNKLINE_MASTER_KEY=$(openssl rand -base64 32)')
    const headers = { name: 'x', slug: 'x', base_url: 'http://x', headers: '{"a":"b"}' }
    expect((await manage('POST', '/custom-providers', headers)).status).toBe(503)
    await gateway.stop()
  })
})

describe('a gateway with the token of its start', () => {
  for (const runtime of runtimes) {
    test(`${runtime}: is set up with it, and is the same after a restart`, async () => {
      const env = { TRUNKLINE_TOKEN: token, TRUNKLINE_MASTER_KEY: masterKey(1) }
      const first = await startGateway(runtime, config(), env)
      const manage = managerOf(first.url, token)
      await manage('POST', '/gateways', { id: 'kept' })
      await manage('POST', '/gateways/kept/provider_configs', {
        provider_slug: 'openai',
        alias: 'default',
        secret: 'sk-kept-0123456789',
      })
      const { result } = await manage('POST', '/tokens', { name: 'kept', gateways: ['kept'] })
      expect((await manage('PUT', '/gateways/default', { retry_delay: 7 })).result.retry_delay).toBe(7)
      await first.terminate()
      const second = await startGateway(runtime, config(), env, [], first)
      const answer = await echo(second.url, 'kept', { 'cf-aig-authorization': result.token })
      expect([answer.status, await answer.text()]).toEqual([
        200,
        expect.stringContaining('Bearer sk-kept-0123456789'),
      ])
      expect((await managerOf(second.url, token)('GET', '/gateways/default')).result.retry_delay).toBe(7)
      await second.stop()
    })
  }

  test('opens no gateway to everyone', async () => {
    const gateway = await startGateway('node', config(), { TRUNKLINE_TOKEN: token })
    const manage = managerOf(gateway.url, token)
    const refused = await manage('POST', '/gateways', { id: 'open', authentication: false })
    expect([refused.status, refused.errors[0]?.path]).toEqual([400, ['body', 'authentication']])
    expect((await manage('PUT', '/gateways/default', { authentication: false })).status).toBe(400)
    await gateway.stop()
  })

  test('stops with a master key that is none, naming it and not its value', async () => {
    const starting = startGateway('node', config(), { TRUNKLINE_MASTER_KEY: 'not-a-secret-value' })
    await expect(starting).rejects.toThrow(/TRUNKLINE_MASTER_KEY: 32 bytes/)
    await expect(starting).rejects.not.toThrow(/not-a-secret-value/)
  })
})

test('keys are read under an older master key, and sealed anew under the newest', async () => {
  const old = { TRUNKLINE_TOKEN: token, TRUNKLINE_MASTER_KEY: masterKey(1) }
  const both = {
    TRUNKLINE_TOKEN: token,
    TRUNKLINE_MASTER_KEY: masterKey(2),
    TRUNKLINE_MASTER_KEYS_OLD: masterKey(1),
  }
  const newest = { TRUNKLINE_TOKEN: token, TRUNKLINE_MASTER_KEY: masterKey(2) }
  const sent = async ({ url }: Started) => {
    const response = await echo(url, 'default', { 'cf-aig-authorization': token })
    return { status: response.status, text: await response.text() }
  }
  const first = await startGateway('node', config(), old)
  const secret = 'sk-rotated-0123456789'
  const body = { provider_slug: 'openai', alias: 'default', secret }
  await managerOf(first.url, token)('POST', '/gateways/default/provider_configs', body)
  await managerOf(first.url, token)('POST', '/custom-providers', {
    name: 'x',
    slug: 'x',
    base_url: 'http://x',
    headers: '{"a":"b"}',
  })
  await first.terminate()

  const without = await startGateway('node', config(), newest, [], first)
  const failed = await sent(without)
  expect([failed.status, failed.text]).toEqual([500, expect.not.stringContaining(secret)])
  await expect.poll(() => without.output()).toContain('cannot be read')
  expect((await managerOf(without.url, token)('POST', '/provider_configs/rotate')).result).toEqual({
    sealed: 0,
    unreadable: 2,
  })
  await without.terminate()

  const second = await startGateway('node', config(), both, [], first)
  expect((await sent(second)).text).toContain(secret)
  const rotate = () => managerOf(second.url, token)('POST', '/provider_configs/rotate')
  expect((await rotate()).result).toEqual({ sealed: 2, unreadable: 0 })
  expect((await rotate()).result).toEqual({ sealed: 0, unreadable: 0 })
  await second.terminate()

  const third = await startGateway('node', config(), newest, [], first)
  expect((await sent(third)).text).toContain(secret)
  await third.stop()
})

test('two processes of different runtimes share a store, each knowing of the other’s changes within 30 s', {
  timeout: 90_000,
}, async () => {
  const env = { TRUNKLINE_TOKEN: token, TRUNKLINE_MASTER_KEY: masterKey(1) }
  const one = await startGateway('node', config(), env)
  const other = await startBeside(one, 'bun', env)
  const [here, there] = [managerOf(one.url, token), managerOf(other.url, token)]
  expect((await echo(other.url, 'shared', { 'cf-aig-authorization': token })).status).toBe(400)

  await here('POST', '/gateways', { id: 'shared' })
  const { result } = await here('POST', '/tokens', { name: 'shared', gateways: ['shared'] })
  const headers = { 'cf-aig-authorization': result.token }
  const began = Date.now()
  await expect
    .poll(async () => (await echo(other.url, 'shared', headers)).status, { timeout: 30_000, interval: 500 })
    .toBe(200)
  expect((await there('GET', '/tokens')).result).toHaveLength(2)

  const target = {
    runtime: 'bun' as const,
    url: other.url,
    ws: other.url.replace('http', 'ws'),
    upstream: emulator.url,
  }
  const line = await connect(target, { gateway: 'shared', headers })
  const revoked = Date.now()
  await here('DELETE', `/tokens/${result.id}`)
  expect((await line.closed).code).toBe(4401)
  expect(Date.now() - revoked).toBeLessThan(30_000)
  expect((await echo(other.url, 'shared', headers)).status).toBe(401)

  // Both change at once, and neither loses a change.
  const ids = Array.from({ length: 6 }, (_, index) => `both-${index}`)
  const made = await Promise.all(
    ids.map((id, index) => (index % 2 ? here : there)('POST', '/gateways', { id })),
  )
  expect(made.map(({ status }) => status)).toEqual(ids.map(() => 200))
  const seen = (await there('GET', '/gateways?search=both&per_page=100')).result.map(
    ({ id }: { id: string }) => id,
  )
  expect(seen.toSorted()).toEqual(ids)
  console.log(`seen elsewhere after ${revoked - began} ms, closed elsewhere after ${Date.now() - revoked} ms`)
  await other.terminate()
  await one.stop()
})

test('what one process must forget of the cache, the other forgets within 30 s', {
  timeout: 90_000,
}, async () => {
  const env = { TRUNKLINE_TOKEN: token }
  const one = await startGateway('node', config(), env)
  const other = await startBeside(one, 'deno', env)
  const manage = managerOf(one.url, token)
  const settings = { id: 'kept', cache_ttl: 3_600 }
  await manage('POST', '/gateways', settings)
  const ask = async ({ url }: Started) => {
    const response = await fetch(`${url}/v1/default/kept/openai/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(chat('same')),
      headers: { 'content-type': 'application/json', 'cf-aig-authorization': token },
    })
    await response.text()
    return response.headers.get('cf-aig-cache-status') ?? response.status
  }
  await expect.poll(() => ask(other), { timeout: 30_000, interval: 500 }).toBe('HIT')
  expect(await ask(one)).toBe('HIT')
  await manage('DELETE', '/gateways/kept')
  await manage('POST', '/gateways', settings)
  await expect.poll(() => ask(other), { timeout: 30_000, interval: 500 }).toBe('MISS')
  await expect.poll(() => ask(other)).toBe('HIT')
  await manage('PUT', '/gateways/kept', { cache_invalidate_on_update: true })
  await expect.poll(() => ask(other), { timeout: 30_000, interval: 500 }).toBe('MISS')
  await other.terminate()
  await one.stop()
})

/** A process on another port, with the folder of one that runs. */
async function startBeside(
  one: Started,
  runtime: RuntimeName,
  env: Record<string, string>,
): Promise<Started> {
  return startGateway(runtime, config(), env, [], { ...one, url: `http://127.0.0.1:${await freePort()}` })
}
