import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parts } from '../../adapters/parts.ts'
import { prices } from '../../adapters/prices.ts'
import { openSqlite } from '../../adapters/sqlite.ts'
import { readConfig, readHeaders } from '../../src/controls.ts'
import { createGateway, type Frame, type Gateway, parseConfig } from '../../src/index.ts'
import { estimateInput } from '../../src/observe/estimate.ts'
import { createFindPrice, type PriceList } from '../../src/observe/prices.ts'
import { createPricing } from '../../src/observe/pricing.ts'
import { createSqlLogs } from '../../src/store/sql-logs.ts'
import type { Account, Step } from '../../src/types.ts'
import { root } from '../launch.ts'

const usage = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 }
const answer = { id: 'c', object: 'chat.completion', model: 'gpt-4.1-2025-04-14', choices: [], usage }
const stream = [
  'data: {"model":"gpt-4.1-2025-04-14","choices":[{"delta":{"content":"Hi"}}],"usage":null}\n\n',
  `data: {"model":"gpt-4.1-2025-04-14","choices":[],"usage":${JSON.stringify(usage)}}\n\n`,
  'data: [DONE]\n\n',
]
/** 1,000 × $2 and 100 × $8 a million. */
const cost = { value: 0.0028, currency: 'USD', basis: 'estimated' }

const toStream = (): Response =>
  new Response(stream.join(''), { headers: { 'content-type': 'text/event-stream' } })

/** A gateway over a provider that answers as told, and the rows it has recorded, in their order. */
async function open(respond: () => Response, providers: object = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'trunkline-account-'))
  const logs = createSqlLogs(await openSqlite(folder, 'logs'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const connect = async () => new Response(null, { status: 501 })
  const runtime = { fetch: async () => respond(), connect, report: () => undefined }
  const gateway = createGateway(parseConfig({ providers }), runtime, { ...parts, logs })
  const rows = async () => {
    await gateway.drain()
    const query = {
      gateway: 'default',
      filters: [],
      orderBy: 'id',
      direction: 'asc',
      limit: 9,
      offset: 0,
    } as const
    return logs.list(query)
  }
  return { gateway, rows, logs }
}

const url = 'http://gw.example/v1/default/default'
const query = { model: 'gpt-4.1', stream: true, messages: [{ role: 'user', content: 'Hi' }] }

const asked = JSON.stringify(query)

function ask(gateway: Gateway, headers: Record<string, string> = {}, provider = 'openai'): Promise<Response> {
  return gateway.fetch(
    new Request(`${url}/${provider}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': String(asked.length), ...headers },
      body: asked,
    }),
  )
}

/** The last frame that a `trunkline.v1` client is sent. */
async function askOnSocket(gateway: Gateway): Promise<Account & { readonly outcome: string }> {
  const granted = await gateway.upgrade(
    new Request(url, { headers: { 'sec-websocket-protocol': 'trunkline.v1' } }),
  )
  if (granted instanceof Response) throw new Error(await granted.text())
  const done = Promise.withResolvers<Account & { readonly outcome: string }>()
  const socket = {
    async send(frame: Frame) {
      const { type, metadata } = JSON.parse(String(frame))
      if (type === 'universal.done') done.resolve(metadata)
    },
    close: () => undefined,
  }
  const session = gateway.open(socket, granted.start)
  const request = { eventId: 'e', provider: 'openai', endpoint: 'chat/completions', query }
  session.receive(JSON.stringify({ type: 'universal.create', request }))
  return done.promise
}

describe('the account of an answer', () => {
  test.each([
    ['streamed', toStream],
    ['single', () => Response.json(answer)],
  ])('universal.done and the record agree: %s', async (_, respond) => {
    const { gateway, rows } = await open(respond)
    const done = await askOnSocket(gateway)
    expect(done).toMatchObject({
      outcome: 'completed',
      cost,
      usage: { inputTokens: 1000, outputTokens: 100 },
    })
    const [row] = await rows()
    expect(row).toMatchObject({ tokens_in: 1000, tokens_out: 100, usage_basis: 'reported' })
    expect(row).toMatchObject({ cost: cost.value, cost_basis: 'estimated', custom_cost: false })
  })

  test('the state of a run and the record agree, and plain HTTP is recorded the same', async () => {
    const { gateway, rows } = await open(toStream)
    const detached = await ask(gateway, { 'cf-aig-on-disconnect': 'detach' })
    await detached.text()
    const state = await gateway.fetch(new Request(`${url}/run/${detached.headers.get('cf-aig-run-id')}`))
    expect(await state.json()).toMatchObject({ state: 'done', cost, usage: { inputTokens: 1000 } })
    await (await ask(gateway)).text()
    const recorded = await rows()
    expect(recorded.map((row) => [row.cost, row.tokens_in])).toEqual([
      [0.0028, 1000],
      [0.0028, 1000],
    ])
  })

  test("the client's own prices, and those of the configuration", async () => {
    const own = [{ model: 'gpt-*', per_million: { input: 1, output: 0 } }]
    const { gateway, rows } = await open(() => Response.json(answer), { openai: { prices: own } })
    const custom = JSON.stringify({ per_token_in: 0.001, per_token_out: 0.01 })
    await (await ask(gateway, { 'cf-aig-custom-cost': custom })).text()
    await (await ask(gateway)).text()
    const [mine, theirs] = await rows()
    expect(mine).toMatchObject({ cost: 2, cost_basis: 'estimated', custom_cost: true })
    expect(theirs).toMatchObject({ cost: 0.001, cost_basis: 'estimated', custom_cost: false })
  })

  test.each(['1e17', '1e400', '12.5', '-1'])(
    'of %s tokens a record is made that can be read',
    async (tokens) => {
      const odd = { prompt_tokens: 'so many', completion_tokens: 7, total_tokens: 2e17 }
      const body = JSON.stringify({ ...answer, usage: odd }).replace('"so many"', tokens)
      const { gateway, rows } = await open(
        () => new Response(body, { headers: { 'content-type': 'application/json' } }),
      )
      await (await ask(gateway)).text()
      await (await ask(gateway)).text()
      const read = await rows()
      expect(read).toHaveLength(2)
      for (const { tokens_in, tokens_out } of read)
        expect([tokens_in, tokens_out]).toEqual(tokens === '12.5' ? [13, 7] : [null, null])
    },
  )

  test('what failed costs nothing, what nobody knows the price of is unknown', async () => {
    const failing = await open(() => Response.json({ error: { message: 'no' } }, { status: 500 }))
    await (await ask(failing.gateway)).text()
    expect((await failing.rows())[0]).toMatchObject({ cost: 0, cost_basis: 'estimated', tokens_in: null })
    const lab = await open(() => Response.json({ ...answer, model: 'mine' }), {
      lab: { base_url: 'http://lab.example' },
    })
    await (await ask(lab.gateway, {}, 'lab')).text()
    expect((await lab.rows())[0]).toMatchObject({ cost: null, cost_basis: 'unknown', tokens_in: 1000 })
  })
})

describe('the bodies of a record', () => {
  const secret = 'sk-proj-4f1d9c77ab020be35f00112233'
  const events = (...texts: string[]) =>
    texts.map(
      (content) => `data: ${JSON.stringify({ model: 'm', choices: [{ index: 0, delta: { content } }] })}\n\n`,
    )
  const respond = (text: string, type = 'text/event-stream') =>
    new Response(text, { headers: { 'content-type': type } })
  const record = async (response: Response, headers: Record<string, string> = {}) => {
    const { gateway, rows, logs } = await open(() => response.clone())
    await (await ask(gateway, headers)).text()
    const [row] = await rows()
    return { row, bodies: await logs.bodies('default', row!.id) }
  }

  test('of a stream are one answer, without the secrets that its events had cut', async () => {
    const parts = ['Your key is ', secret.slice(0, 5), secret.slice(5, 20), secret.slice(20), ', keep it.']
    const { row, bodies } = await record(respond(events(...parts).join('')))
    expect(row).toMatchObject({
      streamed: true,
      model: 'gpt-4.1',
      response_size: events(...parts).join('').length,
    })
    expect(JSON.parse(bodies?.response ?? '')).toMatchObject({
      choices: [{ message: { content: 'Your key is [redacted], keep it.' } }],
    })
    expect(JSON.parse(bodies?.request ?? '')).toEqual(query)
  })

  test('hold no key that was sent along, in whatever pieces it comes back', async () => {
    const key = 'a-key-of-no-known-shape'
    const { bodies } = await record(respond(events(key.slice(0, 7), key.slice(7)).join('')), {
      authorization: `Bearer ${key}`,
    })
    expect(bodies?.response).toContain('[redacted]')
    expect(bodies?.response).not.toContain('known-shape')
  })

  test('of a long stream are whole, where its events would not fit', async () => {
    const texts = Array.from({ length: 9_000 }, (_, n) => `word ${n} `)
    const text = events(...texts).join('')
    expect(text.length).toBeLessThan(1 << 20)
    const pad = (event: string) =>
      event.replace('"model":"m"', `"model":"m","system_fingerprint":"${'f'.repeat(150)}"`)
    const long = events(...texts)
      .map(pad)
      .join('')
    expect(long.length).toBeGreaterThan(1 << 20)
    const { bodies } = await record(respond(long))
    expect(JSON.parse(bodies?.response ?? '').choices[0].message.content).toBe(texts.join(''))
  })

  test('of a stream that is not known stay as they came; bytes are not kept', async () => {
    const odd = 'data: {"odd":1}\n\n'
    expect((await record(respond(odd))).bodies?.response).toBe(odd)
    const bytes = new Response(Uint8Array.from([0xff, 0xfe]), { headers: { 'content-type': 'audio/mpeg' } })
    expect((await record(bytes)).bodies?.response).toBeNull()
  })

  test('are not kept for who does not want that, and the row is all the same', async () => {
    const { row, bodies } = await record(respond(stream.join('')), { 'cf-aig-collect-log-payload': 'false' })
    expect(bodies).toEqual({ request: null, response: null })
    expect(row).toMatchObject({ tokens_in: 1000, model: 'gpt-4.1' })
  })
})

describe('prices', () => {
  test('the list is what the pinned package makes', () => {
    const output = execFileSync('node', ['adapters/prices.mjs', '--check'], { cwd: root, encoding: 'utf8' })
    expect(output).toMatch(/^1\d{3} rules of \d+ providers/)
  })

  const find = (book: string, model: string) => createFindPrice([], prices, book)(model)?.per_million

  test.each([
    ['openai', 'gpt-4o-2024-08-06', 2.5],
    ['openai', 'gpt-4.1-2026-01-01', 2],
    ['openai', 'openai/gpt-4.1', 2],
    ['google', 'models/gemini-2.5-pro', 1.25],
    ['google', 'google/gemini-2.5-flash', 0.3],
    ['google', 'claude-sonnet-4-5@20250929', 3],
    ['anthropic', 'claude-3-5-haiku-latest', 0.8],
    ['aws', 'us.anthropic.claude-sonnet-4-5-20250929-v1:0', 3.3],
    ['aws', 'global.anthropic.claude-sonnet-4-5-20250929-v1:0', 3],
    ['aws', 'arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0', 1.1],
    ['openrouter', 'openai/gpt-4.1', 2],
    ['openrouter', 'openai/gpt-4.1:nitro', 2],
    ['cloudflare', '@cf/meta/llama-3.1-8b-instruct', 0.282],
    ['azure', 'GPT-4o', 2.5],
    ['mistral', 'mistral-large-2411', 2],
  ])('%s %s', (book, model, input) => expect(find(book, model)?.input).toBe(input))

  test.each([
    ['openai', 'no-such-model'],
    ['vllm', 'gpt-4o'],
    ['constructor', 'gpt-4o'],
  ])('none for %s %s', (book, model) => expect(find(book, model)).toBeUndefined())

  test('the rule that names most of a model counts, those of the operator before all', () => {
    const own = [
      { model: '*', per_million: { input: 1 } },
      { model: 'gpt-4*', per_million: { input: 2 } },
      { model: ['gpt-4o', 'x'], per_token: { input: 3 } },
    ]
    const of = createFindPrice(own, prices, 'openai')
    expect(of('gpt-4o')).toMatchObject({ per_token: { input: 3 } })
    expect(of('gpt-4o-2024-08-06')).toMatchObject({ per_million: { input: 2 } })
    expect(of('gpt-5')).toMatchObject({ per_million: { input: 1 } })
  })

  test('a price may change on a day, and by the hour', () => {
    const rule = {
      model: 'm',
      per_million: { input: 1 },
      when: [
        { from: '2027-01-01', per_million: { input: 2 } },
        { hours: ['22:00', '04:00'], per_million: { input: 3 } },
      ],
    }
    const list: PriceList = { source: '', date: '', books: { b: { rules: [rule] } } }
    const at = (time: string) => createFindPrice([], list, 'b')('m', new Date(time))?.per_million?.input
    expect(at('2026-12-31T12:00:00Z')).toBe(1)
    expect(at('2027-01-01T12:00:00Z')).toBe(2)
    expect([at('2026-12-31T23:00:00Z'), at('2026-12-31T03:59:00Z')]).toEqual([3, 3])
    expect(at('2026-12-31T04:00:00Z')).toBe(1)
  })

  test.each([
    [[{ model: '', per_million: { input: 1 } }], 'model'],
    [[{ model: 'm' }], 'it names no price'],
    [[{ model: 'm', per_million: { input: -1 } }], 'input'],
    [[{ model: 'm', per_million: { in: 1 } }], 'in'],
    [[{ model: 'm', per_million: { input: 1 }, per_token: { input: 1 } }], 'not both'],
  ])('a wrong price stops the start: %j', (wrong, reason) => {
    expect(() => parseConfig({ providers: { openai: { prices: wrong } } })).toThrow(reason)
  })
})

describe('cf-aig-custom-cost', () => {
  const header = (value: string) => readHeaders(new Headers({ 'cf-aig-custom-cost': value }))

  test('is JSON in a header, an object in a field', () => {
    const prices = { per_token_in: 1e-7, per_token_out: 0.5, total_cost: 0 }
    expect(header(JSON.stringify(prices))).toEqual({ customCost: prices })
    expect(readConfig({ customCost: prices })).toEqual({ customCost: prices })
  })

  test.each(['{', '[]', '1', '{"per_token_in":"1"}', '{"per_token_in":-1}'])('refuses %s', (value) => {
    expect(() => header(value)).toThrow('cf-aig-custom-cost')
  })
})

describe('what a request may cost', () => {
  const { estimateCost } = createPricing(prices, (slug) => ({ book: slug, prices: [] }))
  const step = (body: object | string, provider = 'openai'): Step => ({
    provider,
    method: 'POST',
    url: new URL('https://api.example/v1/chat/completions'),
    headers: new Headers(),
    body: typeof body === 'string' ? body : JSON.stringify(body),
    options: {},
  })

  test('is its size, and the most it lets its answer have', () => {
    const content = 'abc '.repeat(1_000)
    const asked = step({ model: 'gpt-4.1', max_tokens: 500, content })
    const tokens = estimateInput(asked)
    expect(tokens).toBeGreaterThanOrEqual(1_000)
    expect(tokens).toBeLessThan(1_020)
    expect(estimateCost(asked)).toBeCloseTo((tokens * 2 + 500 * 8) / 1e6, 12)
  })

  test('a file counts as a file', () => {
    const url = `data:image/png;base64,${'iVBORw0KGgo'.repeat(10_000)}`
    const tokens = estimateInput(step({ model: 'gpt-4.1', content: [{ image_url: { url } }] }))
    expect(tokens).toBeLessThan(1_100)
    expect(tokens).toBeGreaterThan(1_000)
  })

  test('without a price it is unknown', () => {
    expect(estimateCost(step({ model: 'm' }, 'vllm'))).toBeUndefined()
    expect(estimateCost(step('not JSON'))).toBeUndefined()
  })
})

test('a body that is left while it is read on is recorded as left', async () => {
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode(stream[0])),
  })
  const headers = { 'content-type': 'text/event-stream' }
  const { gateway, rows } = await open(() => new Response(body, { headers }))
  const asked = { method: 'POST', body: '{"model":"m","stream":true}' }
  const url = 'http://gw/v1/default/default/openai/chat/completions'
  const reader = (await gateway.fetch(new Request(url, asked))).body!.getReader()
  await reader.read()
  const rest = reader.read()
  await new Promise((resolve) => setTimeout(resolve, 10))
  await reader.cancel()
  expect(await rest).toMatchObject({ done: true })
  expect((await rows()).map(({ outcome }) => outcome)).toEqual(['cancelled'])
})

test.each([
  ['lists in lists', `${'['.repeat(20_000)}${']'.repeat(20_000)}`],
  ['objects in objects', `{"usage":${'{"prompt_tokens":1,"a":'.repeat(2_500)}1${'}'.repeat(2_500)}}`],
])('an answer of %s is recorded like any other', async (_, text) => {
  const { gateway, rows } = await open(
    () => new Response(text, { headers: { 'content-type': 'application/json' } }),
  )
  const url = 'http://gw/v1/default/default/openai/chat/completions'
  const asked = { method: 'POST', body: '{"model":"m"}' }
  for (const headers of [{}, { 'cf-aig-on-disconnect': 'detach' }] as Record<string, string>[])
    expect(await (await gateway.fetch(new Request(url, { ...asked, headers }))).text()).toBe(text)
  expect((await rows()).map(({ outcome }) => outcome)).toEqual(['completed', 'completed'])
})
