import { describe, expect, test } from 'vitest'
import { parts } from '../../adapters/parts.ts'
import { createGateway, parseConfig } from '../../src/index.ts'

/** 1,000 tokens in and 100 out of gpt-4.1: $0.0028. */
const usage = { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 }
const answer = (): Response => Response.json({ model: 'gpt-4.1-2025-04-14', usage })
const refuse = () => Promise.reject(new Error('no sockets here'))

interface Asking {
  readonly headers?: Record<string, string>
  readonly body?: object | string
  readonly provider?: string
  readonly search?: string
}

/** A gateway with such settings, over a provider that answers as told; asks it, and tells statuses. */
function open(settings: object, respond: () => Response | Promise<Response> = answer) {
  const config = parseConfig({
    gateways: [{ id: 'default', authentication: false, ...settings }],
    providers: { openai: { api_key: 'sk-own' } },
  })
  const runtime = { fetch: async () => respond(), connect: refuse, report: () => undefined }
  const gateway = createGateway(config, runtime, parts)
  const ask = async ({ headers = {}, body = {}, provider = 'openai', search = '' }: Asking = {}) => {
    const text = typeof body === 'string' ? body : JSON.stringify({ model: 'gpt-4.1', ...body })
    const request = new Request(`http://gw/v1/default/default/${provider}/chat/completions${search}`, {
      method: 'POST',
      body: text,
      headers: { 'content-type': 'application/json', 'content-length': String(text.length), ...headers },
    })
    const response = await gateway.fetch(request)
    await response.text()
    return response.status
  }
  const times = async (count: number, asking?: Asking): Promise<number> => {
    let served = 0
    for (let index = 0; index < count; index += 1) if ((await ask(asking)) !== 429) served += 1
    return served
  }
  return { ask, times }
}

const spend = (more: object = {}, limit = 0.01) => ({
  spend_limits: {
    enabled: true,
    rules: [{ id: 'r', limitType: 'cost', limit, window: 86_400, technique: 'fixed', ...more }],
  },
})

describe('what may be spent', () => {
  test('is what was really used, and one answer more at the most', async () => {
    // $0.01 is passed by the fourth.
    expect(await open(spend()).times(10)).toBe(4)
  })

  test.each([400, 30, 6])(
    'is not undone by a request for a number of tokens of %s digits that is refused',
    async (length) => {
      let isRefusing = false
      const { ask, times } = open(spend(), () => (isRefusing ? Response.json({}, { status: 400 }) : answer()))
      expect(await times(2)).toBe(2)
      isRefusing = true
      await ask({ body: `{"model":"gpt-4.1","max_tokens":${'9'.repeat(length)}}` })
      isRefusing = false
      expect(await times(10)).toBe(2)
    },
  )

  test.each<[string, Asking]>([
    ['its own prices', { headers: { 'cf-aig-custom-cost': '{"total_cost":0}' } }],
    ['another spelling of the provider', { provider: 'custom-openai' }],
  ])('is not stretched by a client with %s', async (_, asking) => {
    const rule = { provider: { mode: 'filter', values: ['openai'] } }
    expect(await open(spend(rule)).times(10, asking)).toBe(4)
  })

  test.each<[string, Asking]>([
    ['another model in the query', { search: '?model=other' }],
    ['another model before it', { body: '{"metadata":{"model":"other"},"model":"gpt-4.1"}' }],
    ['another type of its body', { headers: { 'content-type': 'text/plain' } }],
  ])('on one model is not stretched by %s', async (_, asking) => {
    const rule = { model: { mode: 'filter', values: ['openai/gpt-4.1'] } }
    expect(await open(spend(rule)).times(10, asking)).toBe(4)
  })

  test('on one model leaves others alone', async () => {
    const rule = { model: { mode: 'filter', values: ['openai/gpt-4.1'] } }
    expect(await open(spend(rule)).times(10, { body: { model: 'gpt-4o' } })).toBe(10)
  })
})

test('tokens of answers that outlast their window count in the one they end in', async () => {
  const slow = async () => {
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    return answer()
  }
  const { ask } = open(
    { rate_limiting_interval: 1, rate_limiting_tokens: 50, rate_limiting_technique: 'sliding' },
    slow,
  )
  expect(await ask()).toBe(200)
  expect(await ask()).toBe(429)
})
