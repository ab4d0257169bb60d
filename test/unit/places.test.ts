import { describe, expect, test } from 'vitest'
import { parts } from '../../adapters/parts.ts'
import { createGateway, type Gateway, parseConfig } from '../../src/index.ts'

const runId = '0199aaaa-0000-7000-8000-000000000000-0'
const isHome = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const token = { 'cf-aig-authorization': 'Bearer tk' }
const detach = { 'cf-aig-on-disconnect': 'detach' }

const refuse = () => Promise.reject(new Error('nothing is asked'))

const gateway: Gateway = createGateway(
  parseConfig({
    gateways: [
      { id: 'open', authentication: false },
      { id: 'locked', authentication: true },
      { id: 'cached', authentication: true, cache_ttl: 300 },
    ],
    tokens: [{ name: 't', token: 'tk' }],
    providers: { openai: { base_url: 'http://127.0.0.1:9/v1' } },
  }),
  { fetch: refuse, connect: refuse, report: () => undefined },
  parts,
)

const item = (headers: object = {}): object => ({
  provider: 'openai',
  endpoint: 'models',
  query: {},
  headers,
})

async function homeOf(path: string, headers: object = {}, body?: unknown): Promise<string | undefined> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const request = new Request(`http://gw/v1/default/${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { ...headers, ...(text && { 'content-length': String(text.length) }) },
    ...(text && { body: text }),
  })
  const place = await gateway.placeOf(request)
  if (place instanceof Response) throw new Error(`refused with ${place.status}`)
  if (text) expect(await place.request.text()).toBe(text)
  return place.home
}

describe('the home of a request', () => {
  test('is that of the run it names, for those who may come in', async () => {
    const home = runId.slice(0, 36)
    expect(await homeOf(`open/run/${runId}/resume?from=3`)).toBe(home)
    expect(await homeOf(`locked/run/${runId}`, token)).toBe(home)
    for (const headers of [{}, { 'cf-aig-authorization': 'other' }, { authorization: 'Bearer sk' }])
      expect(await homeOf(`locked/run/${runId}`, headers)).toBeUndefined()
    expect(await homeOf(`nowhere/run/${runId}`)).toBeUndefined()
  })

  test('is new for a run that it starts, wherever it says so', async () => {
    expect(await homeOf('open/openai/models', detach)).toMatch(isHome)
    expect(await homeOf('locked/openai/chat/completions', { ...token, ...detach }, 'bytes')).toMatch(isHome)
    expect(await homeOf('locked', token, [item(detach), item()])).toMatch(isHome)
    expect(await homeOf('locked/', {}, item({ ...detach, ...token }))).toMatch(isHome)
    expect(await homeOf('locked', { ...token, ...detach }, item())).toMatch(isHome)
    const none: [path: string, headers: object, body: unknown][] = [
      ['locked', {}, item(detach)],
      ['locked', detach, item()],
      ['locked', token, [item(), item(detach)]],
      ['locked', token, item({ 'x-a': 'cf-aig-on-disconnect: detach' })],
      ['locked', token, '{"cf-aig-on-disconnect":'],
      ['locked/openai/chat/completions', detach, 'bytes'],
      ['locked/openai/chat/completions', { ...token, 'cf-aig-on-disconnect': 'never' }, 'bytes'],
    ]
    for (const [path, headers, body] of none)
      expect(await homeOf(path, headers, body), JSON.stringify([path, headers, body])).toBeUndefined()
  })

  test('is the same for those that ask the same, where answers are kept', async () => {
    const ask = (more: object, body: string) => homeOf('cached/openai/chat/completions', more, body)
    const home = await ask(token, '{"a":1}')
    expect(home).toMatch(isHome)
    expect(await ask(token, '{"a":1}')).toBe(home)
    expect(await ask(token, '{"a":2}')).not.toBe(home)
    expect(await ask({}, '{"a":1}')).toBeUndefined()
    expect(await ask({ ...token, 'cf-aig-skip-cache': 'true' }, '{"a":1}')).toBeUndefined()
    expect(await ask(token, 'x'.repeat(2 << 20))).toBeUndefined()
    expect(await homeOf('cached', token, item())).toMatch(isHome)
    expect(await homeOf('cached', {}, item())).toBeUndefined()
    const homes = await Promise.all(Array.from({ length: 100 }, (_, number) => ask(token, `{"a":${number}}`)))
    expect(new Set(homes).size).toBeGreaterThan(8)
    expect(new Set(homes).size).toBeLessThanOrEqual(16)
  })

  test('is none for whatever else', async () => {
    expect(await homeOf('open/openai/models')).toBeUndefined()
    expect(await homeOf('open', {}, item())).toBeUndefined()
    expect(await homeOf('open/openai/files', {}, 'x'.repeat(2 << 20))).toBeUndefined()
  })
})
