import Cloudflare from 'cloudflare'
import { expect, test } from 'vitest'
import * as z from 'zod'
import { routes } from '../../src/manage/routes.ts'
import { at, chat, connect, ledger, newKey, post, upstream } from '../client.ts'
import { adminToken, storedKey, tokens } from '../config.ts'
import { type Manage, managerOf } from '../manager.ts'
import type { Target } from '../target.ts'

const account_id = 'default'
const admin = { 'cf-aig-authorization': adminToken }
let counter = 0
/** A name no other test has, on any runtime. */
const newName = (): string => `m${process.pid}-${Date.now().toString(36)}-${counter++}`

/** What changes while running, through the API of the original and its own SDK. */
export function manageSuite(target: Target): void {
  sdkTests(target)
  gatewayTests(target)
  logTests(target)
  tokenTests(target)
  scopeTests(target)
  keyTests(target)
  providerTests(target)
  analyticsTests(target)
  documentTests(target)
}

async function makeGateway(manage: Manage, more: object = {}): Promise<string> {
  const id = newName()
  const made = await manage('POST', '/gateways', { id, ...more })
  expect(made.errors).toEqual([])
  return id
}

/** A call of a gateway with the admin's token; its log id. */
async function call(
  target: Target,
  gateway: string,
  text = 'hi',
  headers: Record<string, string> = {},
): Promise<string> {
  const response = await post(at(target, '/openai/chat/completions', gateway), chat(text), {
    ...admin,
    ...headers,
  })
  expect(response.status).toBe(200)
  await response.text()
  return response.headers.get('cf-aig-log-id')!
}

function sdkTests(target: Target): void {
  const client = () =>
    new Cloudflare({ apiToken: adminToken, baseURL: `${target.url}/client/v4`, maxRetries: 0 })

  test('cloudflare SDK: makes, changes, lists and deletes gateways', async () => {
    const { aiGateway } = client()
    const id = newName()
    const settings = {
      cache_invalidate_on_update: true,
      cache_ttl: 0,
      collect_logs: true,
      rate_limiting_interval: 0,
      rate_limiting_limit: 0,
      rate_limiting_technique: 'fixed' as const,
    }
    const made = await aiGateway.create({ account_id, id, ...settings })
    expect(made).toMatchObject({ id, ...settings, is_default: false })
    expect(Date.parse(made.created_at)).toBeGreaterThan(Date.now() - 60_000)
    const changed = await aiGateway.update(id, { account_id, ...settings, retry_max_attempts: 3 })
    expect(changed.retry_max_attempts).toBe(3)
    expect(await aiGateway.get(id, { account_id })).toEqual(changed)
    const listed: string[] = []
    for await (const one of aiGateway.list({ account_id, search: id, per_page: 1 })) listed.push(one.id)
    expect(listed).toEqual([id])
    await aiGateway.delete(id, { account_id })
    await expect(aiGateway.get(id, { account_id })).rejects.toMatchObject({ status: 404 })
  })

  test('cloudflare SDK: lists page after page until the empty one', async () => {
    const { aiGateway } = client()
    const all: string[] = []
    for await (const one of aiGateway.list({ account_id, per_page: 5 })) all.push(one.id)
    expect(all.length).toBeGreaterThan(5)
    expect(new Set(all).size).toBe(all.length)
    expect(all).toContain('locked')
  })

  test('cloudflare SDK: lists and filters logs, gives feedback, reads payloads, deletes', async () => {
    const { aiGateway } = client()
    const gateway_id = await makeGateway(managerOf(target.url))
    const texts = ['one', 'two', 'three']
    for (const text of texts)
      await call(target, gateway_id, text, { 'cf-aig-metadata': `{"text":"${text}"}` })
    const list = async (params: object) => {
      const logs = []
      for await (const log of aiGateway.logs.list(gateway_id, { account_id, per_page: 2, ...params }))
        logs.push(log)
      return logs
    }
    const all = await list({ meta_info: true })
    expect(all.map(({ metadata }) => JSON.parse(metadata!).text)).toEqual(texts.toReversed())
    expect(all[0]).toMatchObject({
      provider: 'openai',
      model: 'm',
      success: true,
      cached: false,
      status_code: 200,
    })
    const filters = [
      { key: 'metadata.value' as const, operator: 'eq' as const, value: ['one', 'three'] },
      { key: 'success' as const, operator: 'eq' as const, value: [true] },
    ]
    expect((await list({ filters })).map(({ id }) => id)).toEqual([all[0]!.id, all[2]!.id])
    expect(await list({ filters: [{ key: 'tokens_in', operator: 'gt', value: [1e6] }] })).toEqual([])
    expect(await list({ success: false })).toEqual([])
    const { id } = all[0]!
    await aiGateway.logs.edit(id, {
      account_id,
      gateway_id,
      feedback: -1,
      score: 0.25,
      metadata: { by: 'eve' },
    })
    expect(await aiGateway.logs.get(id, { account_id, gateway_id })).toMatchObject({
      feedback: -1,
      score: 0.25,
      metadata: '{"by":"eve"}',
      request_head_complete: true,
    })
    expect(await aiGateway.logs.request(id, { account_id, gateway_id })).toEqual(chat('three'))
    expect(await aiGateway.logs.response(id, { account_id, gateway_id })).toMatchObject({
      object: 'chat.completion',
    })
    expect(await aiGateway.logs.delete(gateway_id, { account_id, filters: [filters[0]!] })).toMatchObject({
      success: true,
    })
    // The newest was renamed by its new metadata.
    expect((await list({})).map((log) => log.id)).toEqual([all[0]!.id, all[1]!.id])
  })

  test('cloudflare SDK: stores a provider key, lists it, and gets a URL', async () => {
    const { aiGateway } = client()
    const gateway_id = await makeGateway(managerOf(target.url))
    const secret = 'sk-of-the-sdk-0123456789'
    const stored = await aiGateway.providerConfigs.create(gateway_id, {
      account_id,
      alias: 'default',
      default_config: true,
      provider_slug: 'openai',
      secret,
    })
    expect(stored).toMatchObject({ alias: 'default', gateway_id, secret_preview: '…6789' })
    const listed = []
    for await (const one of aiGateway.providerConfigs.list(gateway_id, { account_id })) listed.push(one)
    expect(listed.map(({ provider_slug }) => provider_slug).toSorted()).toEqual(['keyed', 'openai'])
    expect(JSON.stringify(listed)).not.toContain(secret)
    expect(await aiGateway.urls.get('openai', { account_id, gateway_id })).toBe(
      `${target.url}/v1/default/${gateway_id}/openai`,
    )
  })

  test('cloudflare SDK: makes a custom provider on a private address, and calls it', async () => {
    const { aiGateway } = client()
    const slug = newName()
    const made = await aiGateway.customProviders.create({
      account_id,
      name: 'Lab',
      slug,
      base_url: `${target.upstream}/lab`,
      enable: true,
    })
    const key = newKey()
    const url = at(target, `/custom-${slug}/echo`, 'locked')
    expect((await post(url, {}, { ...admin, ...upstream({ key }) })).status).toBe(200)
    expect((await ledger(target, key))[0]?.path).toBe('/lab/echo')
    const listed: string[] = []
    for await (const one of aiGateway.customProviders.list({ account_id })) listed.push(one.slug)
    expect(listed).toContain(slug)
    expect((await aiGateway.customProviders.get(made.id, { account_id })).name).toBe('Lab')
    await aiGateway.customProviders.delete(made.id, { account_id })
    const gone = await post(url, {}, admin)
    expect([gone.status, ((await gone.json()) as { internalCode: number }).internalCode]).toEqual([400, 2008])
  })
}

function gatewayTests(target: Target): void {
  const manage = managerOf(target.url)

  test('a gateway serves from the moment it is made until it is deleted, by HTTP and by socket', async () => {
    const id = newName()
    const url = at(target, '/openai/echo', id)
    expect((await post(url, {}, admin)).status).toBe(400)
    await manage('POST', '/gateways', { id })
    expect((await post(url, {}, admin)).status).toBe(200)
    expect((await post(url, {})).status).toBe(401)
    const line = await connect(target, { gateway: id, headers: admin })
    const item = { provider: 'openai', endpoint: 'chat/completions', query: chat('hi') }
    expect((await line.result(line.create(item))).at(-1)?.metadata.status).toBe(200)
    await manage('DELETE', `/gateways/${id}`)
    expect((await post(url, {}, admin)).status).toBe(400)
    const [refused] = await line.result(line.create(item))
    expect(refused).toMatchObject({ response: { internalCode: 2001 } })
    line.close()
  })

  test('changed settings hold from the next request on', async () => {
    const id = await makeGateway(manage, { retry_max_attempts: 1, collect_logs: true })
    const tries = async (): Promise<number> => {
      const key = newKey()
      await post(at(target, '/openai/echo', id), {}, { ...admin, ...upstream({ key, status: 500 }) })
      return (await ledger(target, key)).length
    }
    expect(await tries()).toBe(1)
    const changed = await manage('PUT', `/gateways/${id}`, { retry_max_attempts: 3, retry_delay: 1 })
    expect(changed.result).toMatchObject({ retry_max_attempts: 3, retry_delay: 1, collect_logs: true })
    expect(await tries()).toBe(3)
  })

  test('what was given back can be sent back', async () => {
    const id = await makeGateway(manage)
    const { result } = await manage('GET', `/gateways/${id}`)
    const again = await manage('PUT', `/gateways/${id}`, result)
    expect(again.result).toEqual({ ...result, modified_at: again.result.modified_at })
  })

  test('an update drops the answers kept, where it is asked to', async () => {
    const id = await makeGateway(manage, { cache_ttl: 300, cache_invalidate_on_update: true })
    const ask = async () => {
      const response = await post(at(target, '/openai/chat/completions', id), chat('same'), admin)
      await response.text()
      return response.headers.get('cf-aig-cache-status')
    }
    expect(await ask()).toBe('MISS')
    await expect.poll(ask).toBe('HIT')
    await manage('PUT', `/gateways/${id}`, { retry_delay: 5 })
    expect(await ask()).toBe('MISS')
  })

  test('what is asked before an update, and answered after it, is not given to whoever asks then', async () => {
    const id = await makeGateway(manage, { cache_ttl: 300, cache_invalidate_on_update: true })
    const ask = async (key: string) => {
      const headers = { ...admin, ...upstream({ key, delay: 700 }), 'cf-aig-cache-key': 'same' }
      const response = await post(at(target, '/openai/chat/completions', id), chat('same'), headers)
      await response.text()
      return response.headers.get('cf-aig-cache-status')
    }
    const key = newKey()
    const early = ask(key)
    await expect.poll(async () => (await ledger(target, key)).length).toBe(1)
    await manage('PUT', `/gateways/${id}`, { retry_delay: 5 })
    expect(await early).toBe('MISS')
    expect(await ask(newKey())).toBe('MISS')
    await expect.poll(() => ask(newKey())).toBe('HIT')
  })

  test('a gateway made anew has no answers of the one before', async () => {
    const id = await makeGateway(manage, { cache_ttl: 300 })
    const ask = async () => {
      const response = await post(at(target, '/openai/chat/completions', id), chat('same'), admin)
      await response.text()
      return response.headers.get('cf-aig-cache-status')
    }
    expect(await ask()).toBe('MISS')
    await expect.poll(ask).toBe('HIT')
    await manage('PUT', `/gateways/${id}`, { retry_delay: 5 })
    expect(await ask()).toBe('HIT')
    await manage('DELETE', `/gateways/${id}`)
    await manage('POST', '/gateways', { id, cache_ttl: 300, retry_delay: 5 })
    expect(await ask()).toBe('MISS')
  })

  test('what the configuration declares is seen, and is not changed here', async () => {
    const seen = await manage('GET', '/gateways/locked')
    expect(seen.result).toMatchObject({ id: 'locked', source: 'configuration', authentication: true })
    for (const [method, body] of [
      ['PUT', {}],
      ['DELETE', undefined],
    ] as const) {
      const refused = await manage(method, '/gateways/locked', body)
      expect([refused.status, refused.errors[0]?.code]).toEqual([409, 1005])
      expect(refused.errors[0]?.message).toContain('configuration')
    }
    expect((await manage('POST', '/gateways', { id: 'locked' })).status).toBe(409)
  })

  const wrong: [title: string, body: unknown, path: string, code?: number][] = [
    ['no JSON', '{"id":', 'body'],
    ['a list', [], 'body'],
    ['no id', {}, 'body.id'],
    ['an id with a slash', { id: 'a/b' }, 'body.id'],
    ['an id that is too long', { id: 'a'.repeat(65) }, 'body.id'],
    ['a word that is unknown', { id: 'x', colour: 'red' }, 'body'],
    ['a wrong type', { id: 'x', collect_logs: 'yes' }, 'body.collect_logs'],
    ['more tries than there are', { id: 'x', retry_max_attempts: 6 }, 'body.retry_max_attempts'],
    ['what is not done here', { id: 'x', zdr: true }, 'body.zdr'],
    ['guardrails', { id: 'x', guardrails: { prompt: {}, response: {} } }, 'body.guardrails'],
    ['a log push', { id: 'x', logpush: true }, 'body.logpush'],
    ['a store of secrets', { id: 'x', store_id: 's' }, 'body.store_id'],
  ]
  test.each(wrong)('a gateway with %s is refused, with the place', async (_, body, path) => {
    const refused = await manage('POST', '/gateways', body)
    expect([refused.status, refused.success, refused.result]).toEqual([400, false, null])
    expect(refused.errors[0]).toMatchObject({ code: 1002, path: path.split('.') })
  })

  test('the rest of the original’s words is taken where it asks for nothing', async () => {
    const id = await makeGateway(manage, {
      byok_only: true,
      dlp: { enabled: false, action: 'FLAG', profiles: [] },
      guardrails: null,
      log_classification: false,
      logpush: false,
      logpush_public_key: null,
      otel: [],
      store_id: null,
      stripe: null,
      workers_ai_billing_mode: 'postpaid',
      zdr: false,
      log_management: null,
      spend_limits: null,
    })
    expect((await manage('GET', `/gateways/${id}`)).status).toBe(200)
  })

  test('spend limits are taken as the SDK writes them, and hold', async () => {
    const rules = [{ limitType: 'cost', limit: 1, window: 3_600 }]
    const id = await makeGateway(manage, { spend_limits: { rules } })
    expect((await manage('GET', `/gateways/${id}`)).result.spend_limits).toEqual({
      enabled: true,
      rules: [{ ...rules[0], id: 'rule-1', technique: 'fixed' }],
    })
    expect((await manage('PUT', `/gateways/${id}`, { spend_limits: { enabled: false } })).status).toBe(200)
  })

  test('a body that is too large is refused', async () => {
    const refused = await manage('POST', '/gateways', { id: 'x', cors_origins: ['o'.repeat(1_100_000)] })
    expect(refused.status).toBe(413)
  })
}

function logTests(target: Target): void {
  const manage = managerOf(target.url)

  test('logs: every spelling of filters, the older parameters, search, order and extremes', async () => {
    const id = await makeGateway(manage)
    for (const text of ['a', 'b', 'c']) await call(target, id, text, { 'cf-aig-event-id': `event-${text}` })
    const logs = `/gateways/${id}/logs`
    const events = async (query: string) =>
      (await manage('GET', `${logs}?${query}`)).result
        .map((log: { event_id: string }) => log.event_id.slice(-1))
        .join('')
    expect(await events('')).toBe('cba')
    expect(await events('order_by_direction=asc')).toBe('abc')
    expect(await events('direction=asc&per_page=2')).toBe('ab')
    expect(await events('per_page=2&page=2')).toBe('a')
    const json = encodeURIComponent(JSON.stringify([{ key: 'event_id', operator: 'eq', value: ['event-b'] }]))
    expect(await events(`filters=${json}`)).toBe('b')
    expect(await events('filters[0][key]=event_id&filters[0][operator]=contains&filters[0][value][]=B')).toBe(
      'b',
    )
    expect(await events('filters[][key]=event_id&filters[][operator]=neq&filters[][value]=event-b')).toBe(
      'ca',
    )
    const dots = (key: string, operator: string, ...values: string[]) =>
      [
        `filters.key=${key}`,
        `filters.operator=${operator}`,
        ...values.map((value) => `filters.value=${value}`),
      ].join('&')
    expect(await events(dots('event_id', 'eq', 'event-a', 'event-c'))).toBe('ca')
    expect(await events(`${dots('event_id', 'neq', 'event-a')}&${dots('event_id', 'neq', 'event-c')}`)).toBe(
      'b',
    )
    expect(await events(dots('created_at', 'gt', '2020-01-01T00:00:00Z'))).toBe('cba')
    expect(
      await events('provider=openai&model=m&min_tokens_in=1&max_duration=60000&start_date=2020-01-01'),
    ).toBe('cba')
    expect(await events('end_date=2020-01-01T00:00:00Z')).toBe('')
    expect(await events('search=EVENT-B')).toBe('b')
    const { result_info } = await manage('GET', `${logs}?meta_info=true&per_page=1`)
    expect(result_info).toMatchObject({
      page: 1,
      per_page: 1,
      count: 1,
      total_count: 3,
      min_tokens_in: expect.any(Number),
    })
    expect(result_info!.max_duration).toBeGreaterThanOrEqual(result_info!.min_duration!)
  })

  const bad: [query: string, path: string][] = [
    ['filters=nonsense', 'filters'],
    ['filters=[{"key":"no_such","operator":"eq","value":["x"]}]', 'filters'],
    ['filters=[{"key":"request_type","operator":"eq","value":["x"]}]', 'filters'],
    ['filters=[{"key":"cost","operator":"eq","value":["dear"]}]', 'filters'],
    ['filters=[{"key":"model","operator":"eq","value":[]}]', 'filters'],
    ['filters.key=model', 'filters'],
    ['filter=x', 'query'],
    ['order_by=no_such', 'order_by'],
    ['page=0', 'page'],
    ['per_page=101', 'per_page'],
    ['success=perhaps', 'success'],
  ]
  test.each(bad)('logs: %s is refused, and deletes nothing', async (query) => {
    const id = await makeGateway(manage)
    await call(target, id)
    for (const method of ['GET', 'DELETE']) {
      const refused = await manage(method, `/gateways/${id}/logs?${query}`)
      expect([refused.status, refused.errors[0]?.code]).toEqual([400, 1002])
    }
    expect((await manage('GET', `/gateways/${id}/logs`)).result).toHaveLength(1)
  })

  test('logs: pages end where a filter of time is the better question', async () => {
    const manage = managerOf(target.url)
    expect((await manage('GET', '/gateways/locked/logs?page=200&per_page=100')).status).toBe(200)
    const refused = await manage('GET', '/gateways/locked/logs?page=201&per_page=100')
    expect([refused.status, refused.errors[0]?.path]).toEqual([400, ['query', 'page']])
  })

  test('logs: one gateway has none of another’s', async () => {
    const [mine, other] = [await makeGateway(manage), await makeGateway(manage)]
    const log = await call(target, mine)
    expect((await manage('GET', `/gateways/${other}/logs`)).result).toEqual([])
    for (const path of ['', '/request', '/response'])
      expect((await manage('GET', `/gateways/${other}/logs/${log}${path}`)).status).toBe(404)
    expect((await manage('PATCH', `/gateways/${other}/logs/${log}`, { feedback: 1 })).status).toBe(404)
    await manage('DELETE', `/gateways/${other}/logs`)
    expect((await manage('GET', `/gateways/${mine}/logs/${log}`)).status).toBe(200)
  })

  test('logs: bodies are given as what no browser runs', async () => {
    const id = await makeGateway(manage)
    const log = await call(target, id)
    const url = `${target.url}/client/v4/accounts/default/ai-gateway/gateways/${id}/logs/${log}/response`
    const { headers } = await fetch(url, { headers: { authorization: `Bearer ${adminToken}` } })
    expect(headers.get('content-security-policy')).toBe('sandbox')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
  })

  test.each([{ feedback: 2 }, { feedback: 'good' }, { model: 'x' }, { metadata: { a: {} } }])(
    'logs: the patch %j is refused',
    async (body) => {
      const id = await makeGateway(manage)
      expect((await manage('PATCH', `/gateways/${id}/logs/${await call(target, id)}`, body)).status).toBe(400)
    },
  )
}

function tokenTests(target: Target): void {
  const manage = managerOf(target.url)
  const make = async (more: object = {}): Promise<{ id: string; token: string }> =>
    (await manage('POST', '/tokens', { name: newName(), ...more })).result

  test('a token is told once, and works from then on', async () => {
    const gateway = await makeGateway(manage)
    const { id, token } = await make({ gateways: [gateway] })
    expect(token).toMatch(/^tl_[0-9a-f]{64}$/)
    for (const path of ['/tokens', `/tokens/${id}`, '/audit'])
      expect((await manage('GET', path)).text).not.toContain(token)
    const key = newKey()
    const headers = { authorization: `Bearer ${token}`, ...upstream({ key }) }
    expect((await post(at(target, '/openai/echo', gateway), {}, headers)).status).toBe(200)
    expect(JSON.stringify(await ledger(target, key))).not.toContain(token)
    expect(
      (await post(at(target, '/openai/echo', 'locked'), {}, { 'cf-aig-authorization': token })).status,
    ).toBe(401)
  })

  test('a revoked token stops working at once, and closes its sockets', { timeout: 40_000 }, async () => {
    const { id, token } = await make()
    const headers = { 'cf-aig-authorization': token }
    const own = await connect(target, { gateway: 'locked', headers, protocols: ['trunkline.v1'] })
    const base = await connect(target, { gateway: 'locked', headers })
    await own.next((frame) => frame.type === 'session.ready')
    expect((await manage('DELETE', `/tokens/${id}`)).status).toBe(200)
    expect((await post(at(target, '/openai/echo', 'locked'), {}, headers)).status).toBe(401)
    expect((await manage('GET', `/tokens/${id}`)).status).toBe(404)
    if (target.runtime === 'workers') {
      // Each socket is an object that sleeps: it learns of it at its next message.
      const item = { provider: 'openai', endpoint: 'chat/completions', query: chat('hi') }
      const ask = () => own.socket.readyState === own.socket.OPEN && own.create(item)
      const timer = setInterval(ask, 1_000)
      expect((await own.closed).code).toBe(4401)
      clearInterval(timer)
      base.close()
      return
    }
    expect((await own.closed).code).toBe(4401)
    expect((await base.closed).code).toBe(4401)
  })

  test('a token expires', async () => {
    const { token } = await make({ expires_at: new Date(Date.now() + 1_500).toISOString() })
    const ask = async () =>
      (await post(at(target, '/openai/echo', 'locked'), {}, { 'cf-aig-authorization': token })).status
    expect(await ask()).toBe(200)
    await expect.poll(ask, { timeout: 5_000 }).toBe(401)
  })

  test('a token that only reads calls no provider, and is forwarded to none', async () => {
    const { token } = await make({ permissions: ['read'] })
    const key = newKey()
    const headers = { authorization: `Bearer ${token}`, ...upstream({ key }) }
    expect((await post(at(target, '/openai/echo', 'locked'), {}, headers)).status).toBe(401)
    expect((await post(at(target, '/openai/echo'), {}, headers)).status).toBe(200)
    expect(JSON.stringify(await ledger(target, key))).not.toContain(token)
  })

  test('a token outlives no gateway it was made for', async () => {
    const gateway = await makeGateway(manage)
    const { id } = await make({ gateways: [gateway] })
    const both = await make({ gateways: [gateway, 'locked'] })
    await manage('DELETE', `/gateways/${gateway}`)
    expect((await manage('GET', `/tokens/${id}`)).status).toBe(404)
    expect((await manage('GET', `/tokens/${both.id}`)).result.gateways).toEqual(['locked'])
  })

  test('tokens of the configuration are listed without their secrets, and not revoked here', async () => {
    const { result, text } = await manage('GET', '/tokens?per_page=100')
    const own = result.find((token: { name: string }) => token.name === 'locked')
    expect(own).toMatchObject({ source: 'configuration', gateways: ['locked'], permissions: ['run'] })
    for (const secret of [...Object.values(tokens), adminToken]) expect(text).not.toContain(secret)
    expect((await manage('DELETE', `/tokens/${own.id}`)).status).toBe(409)
  })

  const wrong: [title: string, body: object][] = [
    ['no name', { permissions: ['run'] }],
    ['no permission', { name: 'x', permissions: [] }],
    ['an unknown permission', { name: 'x', permissions: ['all'] }],
    ['an unknown gateway', { name: 'x', gateways: ['nowhere'] }],
    ['an end that is past', { name: 'x', expires_at: '2020-01-01T00:00:00Z' }],
    ['an end that is no time', { name: 'x', expires_at: 'tomorrow' }],
    ['a secret of its own', { name: 'x', token: 'mine' }],
  ]
  test.each(wrong)('a token with %s is refused', async (_, body) => {
    expect((await manage('POST', '/tokens', body)).status).toBe(400)
  })

  test('a name is one token’s only', async () => {
    const name = newName()
    await manage('POST', '/tokens', { name })
    expect((await manage('POST', '/tokens', { name })).status).toBe(409)
    expect((await manage('POST', '/tokens', { name: 'locked' })).status).toBe(409)
  })
}

function scopeTests(target: Target): void {
  const manage = managerOf(target.url)
  const as = async (more: object): Promise<Manage> => {
    const { result } = await manage('POST', '/tokens', { name: newName(), ...more })
    return managerOf(target.url, result.token)
  }
  const reads = [
    '/gateways/locked',
    '/gateways/locked/logs',
    '/gateways/locked/provider_configs',
    '/gateways/locked/analytics',
    '/gateways/locked/url/openai',
  ]
  const wide = ['/tokens', '/audit', '/custom-providers']
  const edits: [method: string, path: string, body?: object][] = [
    ['POST', '/gateways', { id: 'x' }],
    ['PUT', '/gateways/locked', {}],
    ['DELETE', '/gateways/locked'],
    ['DELETE', '/gateways/locked/logs?limit=1'],
    ['PATCH', '/gateways/locked/logs/x', {}],
    ['POST', '/gateways/locked/provider_configs', { provider_slug: 'openai', secret: 'x' }],
    ['POST', '/provider_configs/rotate'],
    ['POST', '/tokens', { name: 'x' }],
    ['DELETE', '/tokens/x'],
    ['POST', '/custom-providers', { name: 'x', slug: 'x', base_url: 'http://x' }],
    ['PATCH', '/custom-providers/x', {}],
    ['DELETE', '/custom-providers/x'],
  ]

  test('nobody without a token, or with one that is unknown, gets a word', async () => {
    for (const stranger of [managerOf(target.url, null), managerOf(target.url, 'tk-unknown')]) {
      for (const path of [...reads, ...wide, '/gateways']) {
        const refused = await stranger('GET', path)
        expect([refused.status, refused.errors[0]?.code, refused.result]).toEqual([401, 10000, null])
      }
      for (const [method, path, body] of edits) expect((await stranger(method, path, body)).status).toBe(401)
    }
  })

  test('a token that runs only, reads nothing and changes nothing', async () => {
    const runner = await as({ permissions: ['run'] })
    for (const path of [...reads, ...wide]) expect((await runner('GET', path)).status).toBe(403)
    for (const [method, path, body] of edits) expect((await runner(method, path, body)).status).toBe(403)
    expect((await runner('GET', '/gateways')).result).toEqual([])
  })

  test('a token that reads changes nothing', async () => {
    const reader = await as({ permissions: ['read'] })
    for (const path of [...reads, ...wide]) expect((await reader('GET', path)).status).toBe(200)
    for (const [method, path, body] of edits) expect((await reader(method, path, body)).status).toBe(403)
  })

  test('a token makes no other that may do more, or for longer', async () => {
    const refused = (manage: Manage, more: object) => manage('POST', '/tokens', { name: newName(), ...more })
    const editor = await as({ permissions: ['edit'] })
    for (const permissions of [undefined, ['run'], ['read'], ['run', 'read', 'edit'], ['edit', 'read']]) {
      const { status, errors, text } = await refused(editor, { permissions })
      expect([status, errors[0]?.path]).toEqual([403, ['body', 'permissions']])
      expect(text).not.toContain('tl_')
    }
    expect((await refused(editor, { permissions: ['edit'] })).status).toBe(200)
    const soon = new Date(Date.now() + 60_000).toISOString()
    const brief = await as({ permissions: ['edit', 'run'], expires_at: soon })
    for (const expires_at of [undefined, null, new Date(Date.now() + 120_000).toISOString()]) {
      const { status, errors } = await refused(brief, { expires_at })
      expect([status, errors[0]?.path]).toEqual([403, ['body', 'expires_at']])
    }
    expect((await refused(brief, { expires_at: soon })).status).toBe(200)
  })

  test('a token of one gateway sees that one alone, and nothing of the account', async () => {
    const [mine, other] = [await makeGateway(manage), await makeGateway(manage)]
    const owner = await as({ permissions: ['read', 'edit'], gateways: [mine] })
    const seen = (await owner('GET', '/gateways')).result.map(({ id }: { id: string }) => id)
    expect(seen).toEqual([mine])
    expect((await owner('PUT', `/gateways/${mine}`, { retry_delay: 1 })).status).toBe(200)
    for (const path of ['', '/logs', '/provider_configs', '/analytics'])
      expect((await owner('GET', `/gateways/${other}${path}`)).status).toBe(403)
    for (const path of wide) expect((await owner('GET', path)).status).toBe(403)
    expect((await owner('POST', '/tokens', { name: newName(), permissions: ['edit'] })).status).toBe(403)
    expect((await owner('POST', '/gateways', { id: newName() })).status).toBe(403)
    expect((await owner('GET', '/gateways/no-such')).status).toBe(403)
  })

  test('another account is not there', async () => {
    const url = `${target.url}/client/v4/accounts/other/ai-gateway/gateways`
    expect((await fetch(url, { headers: { authorization: `Bearer ${adminToken}` } })).status).toBe(404)
  })

  test('pages of other origins are refused, and no page is told that it may', async () => {
    for (const origin of ['https://app.example', 'null', 'http://127.0.0.1:1']) {
      const refused = await manage('GET', '/gateways', undefined, { origin })
      expect(refused.status).toBe(403)
    }
    const preflight = await fetch(`${target.url}/client/v4/accounts/default/ai-gateway/gateways`, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    })
    expect(preflight.status).toBe(405)
    expect(preflight.headers.get('access-control-allow-origin')).toBeNull()
    expect((await manage('GET', '/gateways', undefined, { origin: target.url })).status).toBe(200)
  })

  test('every change stands in the audit trail: who, what, when, and no secret', async () => {
    const gateway = await makeGateway(manage)
    const secret = 'sk-for-the-trail-0123456789'
    await manage('POST', `/gateways/${gateway}/provider_configs`, { provider_slug: 'openai', secret })
    const { result, text } = await manage('GET', '/audit?per_page=100')
    const own = result.filter((entry: { gateway_id: string }) => entry.gateway_id === gateway)
    expect(own).toMatchObject([
      { principal: 'admin', action: 'key.create', fields: expect.arrayContaining(['secret']) },
      { principal: 'admin', action: 'gateway.create', target: `gateways/${gateway}` },
    ])
    expect(Math.abs(Date.parse(own[0].created_at) - Date.now())).toBeLessThan(60_000)
    expect(text).not.toContain(secret)
  })

  test('no change is missing from the audit trail, whatever it changes, and nothing else is in it', async () => {
    const gateway = await makeGateway(manage)
    const log = await call(target, gateway)
    const base = `/gateways/${gateway}`
    const made = async (path: string, body: object): Promise<string> =>
      (await manage('POST', path, body)).result.id
    const before = (await manage('GET', '/audit?per_page=1')).result[0].revision
    await manage('PUT', base, { retry_delay: 7 })
    await manage('PATCH', `${base}/logs/${log}`, { feedback: 1, metadata: { by: 'eve' } })
    await manage('PATCH', `${base}/logs/no-such-log`, { feedback: 1 })
    await manage('DELETE', `${base}/logs?limit=1`)
    const key = await made(`${base}/provider_configs`, {
      provider_slug: 'openai',
      secret: 'sk-of-the-trail-0123',
    })
    await manage('DELETE', `${base}/provider_configs/${key}`)
    await manage('POST', '/provider_configs/rotate')
    const token = await made('/tokens', { name: newName() })
    await manage('DELETE', `/tokens/${token}`)
    const provider = await made('/custom-providers', { name: 'x', slug: newName(), base_url: 'http://x' })
    await manage('PATCH', `/custom-providers/${provider}`, { name: 'y' })
    await manage('DELETE', `/custom-providers/${provider}`)
    await manage('DELETE', base)
    const { result } = await manage('GET', '/audit?per_page=100')
    type Entry = Readonly<
      Record<'action' | 'target' | 'principal', string> & { revision: number; fields: string[] }
    >
    const own = (result as Entry[]).filter(({ revision }) => revision > before).toReversed()
    expect(own.map(({ action, target: what }) => `${action} ${what}`)).toEqual([
      `gateway.update ${base.slice(1)}`,
      `log.update ${base.slice(1)}/logs/${log}`,
      `logs.delete ${base.slice(1)}/logs`,
      `key.create ${base.slice(1)}/provider_configs/${key}`,
      `key.delete ${base.slice(1)}/provider_configs/${key}`,
      'keys.rotate provider_configs/rotate',
      `token.create tokens/${token}`,
      `token.revoke tokens/${token}`,
      `provider.create custom-providers/${provider}`,
      `provider.update custom-providers/${provider}`,
      `provider.delete custom-providers/${provider}`,
      `gateway.delete ${base.slice(1)}`,
    ])
    expect(own[1]?.fields).toEqual(['feedback', 'metadata'])
    expect(new Set(own.map(({ principal }) => principal))).toEqual(new Set(['admin']))
  })

  test('feedback given by many at once is noted each time', async () => {
    const gateway = await makeGateway(manage)
    const log = await call(target, gateway)
    const path = `/gateways/${gateway}/logs/${log}`
    const given = Array.from({ length: 20 }, (_, score) => manage('PATCH', path, { score }))
    for (const { status } of await Promise.all(given)) expect(status).toBe(200)
    const { result } = await manage('GET', '/audit?per_page=100')
    expect(result.filter((entry: { target: string }) => entry.target === path.slice(1))).toHaveLength(20)
  })

  test('of changes made at once, none is lost', async () => {
    const ids = await Promise.all(Array.from({ length: 4 }, () => makeGateway(manage)))
    for (const id of ids) expect((await manage('GET', `/gateways/${id}`)).status).toBe(200)
  })
}

function keyTests(target: Target): void {
  const manage = managerOf(target.url)
  const store = (gateway: string, body: object) =>
    manage('POST', `/gateways/${gateway}/provider_configs`, { provider_slug: 'openai', ...body })
  /** The key with which the provider was called. */
  const keyOf = async (gateway: string, headers: Record<string, string> = {}, provider = 'openai') => {
    const key = newKey()
    const response = await post(
      at(target, `/${provider}/echo`, gateway),
      {},
      { ...admin, ...upstream({ key }), ...headers },
    )
    const [entry] = await ledger(target, key)
    return { status: response.status, body: await response.text(), sent: entry?.headers.authorization }
  }

  test('a stored key is taken where a call brings none; an alias chooses among several', async () => {
    const gateway = await makeGateway(manage)
    expect((await keyOf(gateway)).sent).toBeUndefined()
    expect((await keyOf(gateway, { 'cf-aig-byok-alias': 'default' })).sent).toBeUndefined()
    expect((await keyOf(gateway, { 'cf-aig-byok-alias': 'nobody' })).status).toBe(400)
    const [first, second, third] = ['sk-first-0123456789ab', 'sk-second-0123456789a', 'sk-third-0123456789ab']
    await store(gateway, { alias: 'default', secret: first })
    await store(gateway, { alias: 'team-b', secret: second })
    expect((await keyOf(gateway)).sent).toBe(`Bearer ${first}`)
    expect((await keyOf(gateway, { 'cf-aig-byok-alias': 'team-b' })).sent).toBe(`Bearer ${second}`)
    expect((await keyOf(gateway, { authorization: 'Bearer sk-own' })).sent).toBe('Bearer sk-own')
    const unknown = await keyOf(gateway, { 'cf-aig-byok-alias': 'nobody' })
    expect([unknown.status, JSON.parse(unknown.body).internalCode]).toEqual([400, 2040])
    expect(unknown.body).toContain('default, team-b')
    await store(gateway, { alias: 'new', default_config: true, secret: third })
    expect((await keyOf(gateway)).sent).toBe(`Bearer ${third}`)
    expect((await keyOf('locked')).sent).toBeUndefined()
  })

  test('a deleted key is not taken again', async () => {
    const gateway = await makeGateway(manage)
    const { result } = await store(gateway, { alias: 'default', secret: 'sk-short-lived-012345' })
    expect((await keyOf(gateway)).sent).toBe('Bearer sk-short-lived-012345')
    expect((await manage('DELETE', `/gateways/${gateway}/provider_configs/${result.id}`)).status).toBe(200)
    expect((await keyOf(gateway)).sent).toBeUndefined()
  })

  test('a stored key is told to nobody: not in answers, logs, lists or errors', async () => {
    const gateway = await makeGateway(manage)
    const secret = 'zk/very-odd.secret=0123456789'
    await store(gateway, { alias: 'default', secret })
    const { sent, body } = await keyOf(gateway)
    expect(sent).toBe(`Bearer ${secret}`)
    expect(body).toContain(secret) // the emulator's echo, for the caller alone
    const logs = await manage('GET', `/gateways/${gateway}/logs`)
    const response = await fetch(
      `${target.url}/client/v4/accounts/default/ai-gateway/gateways/${gateway}/logs/${logs.result[0].id}/response`,
      { headers: { authorization: `Bearer ${adminToken}` } },
    )
    const recorded = await response.text()
    expect(recorded).toContain('[redacted]')
    const again = await store(gateway, { alias: 'default', secret })
    expect(again.status).toBe(409)
    const list = await manage('GET', `/gateways/${gateway}/provider_configs`)
    for (const text of [recorded, logs.text, again.text, list.text, (await manage('GET', '/audit')).text])
      expect(text).not.toContain(secret)
  })

  test('a key of the configuration is seen by its preview, and not shadowed', async () => {
    const { result, text } = await manage('GET', '/gateways/locked/provider_configs')
    expect(result).toMatchObject([{ provider_slug: 'keyed', source: 'configuration', alias: 'default' }])
    expect(text).not.toContain(storedKey)
    const refused = await store('locked', { provider_slug: 'keyed', alias: 'default', secret: 'sk-other' })
    expect(refused.status).toBe(409)
    const gateway = await makeGateway(manage)
    await store(gateway, { provider_slug: 'keyed', alias: 'mine', secret: 'sk-mine-0123456789ab' })
    expect((await keyOf(gateway, {}, 'keyed')).sent).toBe(`Bearer ${storedKey}`)
    expect((await keyOf(gateway, { 'cf-aig-byok-alias': 'mine' }, 'keyed')).sent).toBe(
      'Bearer sk-mine-0123456789ab',
    )
  })

  const wrong: [title: string, body: object][] = [
    ['no secret', { alias: 'a' }],
    ['the id of a secret elsewhere', { alias: 'a', secret_id: 'x' }],
    ['an unknown provider', { alias: 'a', secret: 'x', provider_slug: 'nobody' }],
    ['a limit of its own', { alias: 'a', secret: 'x', rate_limit: 5 }],
    ['an alias with a space', { alias: 'a b', secret: 'x' }],
    [
      'JSON that is no service account',
      { alias: 'a', secret: '{"secret-value":1}', provider_slug: 'google-vertex-ai' },
    ],
  ]
  test.each(wrong)('a key with %s is refused, and not quoted', async (_, body) => {
    const gateway = await makeGateway(manage)
    const refused = await store(gateway, body)
    expect(refused.status).toBe(400)
    expect(refused.text).not.toContain('secret-value')
  })
}

function providerTests(target: Target): void {
  const manage = managerOf(target.url)
  const make = (more: object = {}) =>
    manage('POST', '/custom-providers', {
      name: 'Lab',
      slug: newName(),
      base_url: `${target.upstream}/lab`,
      enable: true,
      ...more,
    })
  const entryOf = async (slug: string) => {
    const key = newKey()
    await post(at(target, `/custom-${slug}/echo`, 'locked'), {}, { ...admin, ...upstream({ key }) })
    return (await ledger(target, key))[0]
  }

  test('a custom provider gets its headers, and nobody is told their values', async () => {
    const { result, text } = await make({ headers: '{"x-lab":"value-of-the-lab"}' })
    expect((await entryOf(result.slug))?.headers['x-lab']).toBe('value-of-the-lab')
    const shown = await manage('GET', `/custom-providers/${result.id}`)
    expect(JSON.parse(shown.result.headers)).toEqual({ 'x-lab': '[hidden]' })
    for (const one of [text, shown.text]) expect(one).not.toContain('value-of-the-lab')
    await manage('PATCH', `/custom-providers/${result.id}`, { name: 'Laboratory' })
    expect((await entryOf(result.slug))?.headers['x-lab']).toBe('value-of-the-lab')
  })

  test('what is sealed for an address goes to no other', async () => {
    const { result } = await make({ headers: '{"x-lab":"value-of-the-lab"}' })
    const gateway = await makeGateway(manage)
    const body = { provider_slug: `custom-${result.slug}`, alias: 'default', secret: 'sk-lab-0123456789abc' }
    const { result: key } = await manage('POST', `/gateways/${gateway}/provider_configs`, body)
    const move = (more: object) =>
      manage('PATCH', `/custom-providers/${result.id}`, { base_url: `${target.upstream}/moved`, ...more })
    const sent = async () => {
      const tag = newKey()
      await post(
        at(target, `/custom-${result.slug}/echo`, gateway),
        {},
        { ...admin, ...upstream({ key: tag }) },
      )
      const [entry] = await ledger(target, tag)
      return [entry?.path, entry?.headers['x-lab'], entry?.headers.authorization]
    }
    const bare = await move({})
    expect([bare.status, bare.errors[0]?.path]).toEqual([400, ['body', 'headers']])
    const keyed = await move({ headers: '{"x-lab":"anew"}' })
    expect([keyed.status, keyed.errors[0]?.path]).toEqual([400, ['body', 'base_url']])
    expect(await sent()).toEqual(['/lab/echo', 'value-of-the-lab', 'Bearer sk-lab-0123456789abc'])
    await manage('DELETE', `/gateways/${gateway}/provider_configs/${key.id}`)
    expect((await move({ headers: '{"x-lab":"anew"}' })).status).toBe(200)
    expect(await sent()).toEqual(['/moved/echo', 'anew', undefined])
  })

  test('a custom provider serves while it is on', async () => {
    const { result } = await make({ enable: false })
    expect(await entryOf(result.slug)).toBeUndefined()
    await manage('PATCH', `/custom-providers/${result.id}`, { enable: true })
    expect(await entryOf(result.slug)).toBeDefined()
    await manage('DELETE', `/custom-providers/${result.id}`)
    expect(await entryOf(result.slug)).toBeUndefined()
  })

  test('a custom provider takes a stored key, which goes with it', async () => {
    const { result } = await make()
    const gateway = await makeGateway(manage)
    const body = { provider_slug: `custom-${result.slug}`, alias: 'default', secret: 'sk-lab-0123456789abc' }
    expect((await manage('POST', `/gateways/${gateway}/provider_configs`, body)).status).toBe(200)
    const key = newKey()
    await post(at(target, `/custom-${result.slug}/echo`, gateway), {}, { ...admin, ...upstream({ key }) })
    expect((await ledger(target, key))[0]?.headers.authorization).toBe('Bearer sk-lab-0123456789abc')
    await manage('DELETE', `/custom-providers/${result.id}`)
    const left = (await manage('GET', `/gateways/${gateway}/provider_configs`)).result
    expect(left.map((one: { provider_slug: string }) => one.provider_slug)).toEqual(['keyed'])
  })

  test('a slug is one provider’s only, and never one of the configuration', async () => {
    const { result } = await make()
    const twice = await make({ slug: result.slug })
    expect([twice.status, twice.errors[0]]).toMatchObject([409, { code: 1003, path: ['body', 'slug'] }])
    expect((await make({ slug: 'mine' })).status).toBe(409)
  })

  test.each([
    ['an address that is none', { base_url: 'nowhere' }, 'base_url'],
    ['another scheme', { base_url: 'ftp://x' }, 'base_url'],
    ['a query in its address', { base_url: 'http://x/?a=b' }, 'base_url'],
    ['headers that are no JSON', { headers: 'x-lab: 1' }, 'headers'],
    ['a header with a line break', { headers: '{"x-lab":"a\\nb"}' }, 'headers'],
    ['a slug with a slash', { slug: 'a/b' }, 'slug'],
  ])('a custom provider with %s is refused', async (_, more, field) => {
    const refused = await make(more)
    expect([refused.status, refused.errors[0]]).toMatchObject([400, { code: 1002, path: ['body', field] }])
  })

  test('custom providers are found by what they are', async () => {
    const { result } = await make({ name: 'Weather Models', beta: true })
    const find = async (query: string) =>
      (await manage('GET', `/custom-providers?${query}`)).result.map((one: { slug: string }) => one.slug)
    expect(await find('search=WEATHER&beta=true&enable=true&order_by=name&per_page=100')).toContain(
      result.slug,
    )
    expect(await find('search=weather&enable=false&per_page=100')).not.toContain(result.slug)
    expect(await find('per_page=100')).toContain('mine')
  })
}

function analyticsTests(target: Target): void {
  const manage = managerOf(target.url)

  test('analytics: requests, tokens and errors by time and by dimension', async () => {
    const id = await makeGateway(manage)
    await call(target, id, 'a', { 'cf-aig-metadata': '{"team":"x"}' })
    await call(target, id, 'b', { 'cf-aig-metadata': '{"team":"y"}' })
    const failing = { ...admin, ...upstream({ status: 500 }) }
    await (await post(at(target, '/anthropic/v1/messages', id), chat('c'), failing)).text()
    const { result } = await manage('GET', `/gateways/${id}/analytics?bucket_seconds=31622400`)
    expect(result.points).toMatchObject([
      { requests: 3, attempts: 3, errors: 1, cached: 0, error_rate: 1 / 3, group: null },
    ])
    expect(result.points[0].tokens_in).toBeGreaterThan(0)
    expect(result.points[0].duration_p99).toBeGreaterThanOrEqual(result.points[0].duration_p50)
    const groups = async (by: string) =>
      (await manage('GET', `/gateways/${id}/analytics?bucket_seconds=31622400&by=${by}`)).result.points
        .map((point: { group: string; requests: number }) => `${point.group}:${point.requests}`)
        .toSorted()
    expect(await groups('provider')).toEqual(['anthropic:1', 'openai:2'])
    expect(await groups('metadata.team')).toEqual(['null:1', 'x:1', 'y:1'])
    expect(
      (await manage('GET', `/gateways/${id}/analytics?from=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z`))
        .result.points,
    ).toEqual([])
  })

  test('analytics: an answer kept of a later step is a request as well', async () => {
    const id = await makeGateway(manage, { cache_ttl: 300 })
    const item = (control: object) => ({
      provider: 'openai',
      endpoint: 'chat/completions',
      headers: upstream(control),
      query: chat('ü'),
    })
    const ask = async () => {
      const response = await post(at(target, '', id), [item({ status: 500 }), item({})], admin)
      await response.text()
      return response.headers.get('cf-aig-cache-status')
    }
    expect(await ask()).toBe('MISS')
    await expect.poll(ask).toBe('HIT')
    const readPoint = async () =>
      (await manage('GET', `/gateways/${id}/analytics?bucket_seconds=31622400`)).result.points[0]
    await expect.poll(async () => (await readPoint()).cached).toBeGreaterThan(0) // its record comes behind it
    const { requests, attempts } = await readPoint()
    expect(requests).toBe(attempts - 1)
    const logs = (await manage('GET', `/gateways/${id}/logs`)).result
    const bytes = new TextEncoder().encode(JSON.stringify(chat('ü'))).byteLength
    expect(new Set(logs.map((log: { request_size: number }) => log.request_size))).toEqual(new Set([bytes]))
  })

  test.each([
    'bucket_seconds=1',
    'by=id',
    'from=yesterday',
    'from=2010-01-01T00:00:00Z',
    'until=2010-01-01T00:00:00Z&from=2011-01-01T00:00:00Z',
  ])('analytics: %s is refused', async (query) => {
    expect((await manage('GET', `/gateways/locked/analytics?${query}`)).status).toBe(400)
  })
}

function documentTests(target: Target): void {
  const manage = managerOf(target.url)

  test('the description of the API names every route, with what it takes and gives', async () => {
    const document = (await (await fetch(`${target.url}/client/v4/openapi.json`)).json()) as {
      openapi: string
      paths: Record<string, Record<string, { parameters: { name: string }[]; responses: object }>>
    }
    expect(document.openapi).toBe('3.1.0')
    for (const { method, path } of routes) {
      const operation =
        document.paths[`/client/v4/accounts/{account}/ai-gateway${path}`]?.[method.toLowerCase()]
      expect(operation, `${method} ${path}`).toBeDefined()
      const names = operation!.parameters.map(({ name }) => name)
      for (const [, name] of path.matchAll(/\{(\w+)\}/g)) expect(names).toContain(name)
    }
  })

  test('answers are as the API describes them', async () => {
    const id = await makeGateway(manage)
    await call(target, id)
    const paths = [
      '/gateways',
      '/gateways/{gateway}',
      '/gateways/{gateway}/logs',
      '/gateways/{gateway}/provider_configs',
      '/gateways/{gateway}/analytics',
      '/tokens',
      '/custom-providers',
      '/audit',
    ]
    for (const path of paths) {
      const { result } = await manage('GET', path.replace('{gateway}', id))
      const one = routes.find((route) => route.method === 'GET' && route.path === path)
      const parsed = z.safeParse(one!.result!, result)
      expect(parsed.success, `${path}: ${parsed.error && z.prettifyError(parsed.error)}`).toBe(true)
    }
  })

  test('what is no route, or takes another method, is said so', async () => {
    expect((await manage('GET', '/nothing')).errors[0]?.code).toBe(7000)
    expect((await manage('PATCH', '/gateways/locked', {})).errors[0]?.code).toBe(7001)
    expect((await manage('GET', '/gateways/no-such')).errors[0]?.code).toBe(1004)
    expect((await fetch(`${target.url}/client/v5`)).status).toBe(404)
  })
}
