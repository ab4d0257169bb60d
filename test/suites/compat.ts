import { describe, expect, test } from 'vitest'
import { at, chat, connect, ended, ledger, newKey, post, seen, upstream } from '../client.ts'
import { adminToken } from '../config.ts'
import { type CompatWire, modelOf, wires } from '../flows/compat/wires.ts'
import { managerOf } from '../manager.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'

/** Paths of the APIs, and what each is asked. */
const apis = {
  'chat/completions': (more: object) => chat('hello', more),
  messages: (more: object) => ({ ...chat('hello'), max_tokens: 100, ...more }),
  responses: (more: object) => ({ input: 'hello', ...more }),
} as const
type ApiPath = keyof typeof apis
const paths = Object.keys(apis) as ApiPath[]

/** Asks one API of `compat`. */
type Ask = (
  model: string,
  asked?: { path?: string; more?: object; headers?: Record<string, string>; gateway?: string } & Control,
) => Promise<Response>

/** `/v1/{account}/{gateway}/compat/…`. */
export function compatSuite(target: Target): void {
  const ask: Ask = (model, { path = 'chat/completions', more = {}, headers, gateway, ...control } = {}) => {
    const body = apis[path.replace(/^v1\//, '') as ApiPath] ?? apis.responses
    const told = Object.keys(control).length ? upstream(control) : {}
    return post(at(target, `/compat/${path}`, gateway), body({ model, ...more }), { ...told, ...headers })
  }
  describe('names of models', () => nameTests(target, ask))
  describe('errors', () => errorTests(target, ask))
  describe('what a provider cannot do', () => lenientTests(target, ask))
  describe('fallback', () => fallbackTests(target, ask))
  describe('ways in', () => wayTests(target, ask))
  describe('streams', () => streamTests(target, ask))
  describe('embeddings', () => embeddingTests(target, ask))
  describe('a conversation goes on with any other vendor', () => crossTests(ask))
}

const slugs = [
  ['openai/gpt-5-mini', '/openai/chat/completions'],
  ['anthropic/claude-sonnet-4-5', '/anthropic/messages'],
  ['google-ai-studio/gemini-2.5-flash', '/google-ai-studio/v1beta/models/gemini-2.5-flash:generateContent'],
  [
    'aws-bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0',
    '/aws-bedrock/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse',
  ],
  ['workers-ai/@cf/meta/llama-3.1-8b-instruct', '/workers-ai/run/@cf/meta/llama-3.1-8b-instruct'],
  ['@cf/meta/llama-3.1-8b-instruct', '/workers-ai/run/@cf/meta/llama-3.1-8b-instruct'],
  ['cohere/command-a-03-2025', '/cohere/v2/chat'],
  ['openai/gpt-5-pro', '/openai/responses'],
  ['custom-mine/own', '/mine/v1/chat/completions'],
  ['mine/own', '/mine/v1/chat/completions'],
  ...['groq', 'mistral', 'perplexity', 'perplexity-ai', 'grok', 'xai', 'deepseek', 'cerebras', 'baseten'].map(
    (slug) => [`${slug}/org/some-model`, `/${slug}/chat/completions`],
  ),
] as [model: string, path: string][]

function nameTests(target: Target, ask: Ask): void {
  test.each(slugs)('%s', async (model, path) => {
    const key = newKey()
    const response = await ask(model, { key })
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ object: 'chat.completion' })
    const [entry] = await ledger(target, key)
    expect(entry?.path).toBe(path)
    const named = (JSON.parse(entry?.body ?? '') as { model?: string }).model
    if (named !== undefined) expect(model.endsWith(named) && !model.startsWith(named)).toBe(true)
  })

  test('an alias is a list across vendors; its answer tells who served it', async () => {
    for (const name of ['fast', 'dynamic/fast']) {
      const response = await ask(name)
      expect(response.status).toBe(200)
      const told = ['cf-aig-step', 'cf-aig-provider', 'cf-aig-model'].map((header) =>
        response.headers.get(header),
      )
      expect(told).toEqual(['1', 'openai', 'gpt-5'])
    }
  })

  test('a client’s key goes where the provider looks for it; with an alias across vendors it goes to nobody', async () => {
    const [key, other] = [newKey(), newKey()]
    const headers = { authorization: 'Bearer sk-mine' }
    await ask('anthropic/claude-sonnet-5', { key, headers })
    const [entry] = await ledger(target, key)
    expect(entry?.headers).toMatchObject({ 'x-api-key': 'sk-mine', 'anthropic-version': '2023-06-01' })
    expect(entry?.headers).not.toHaveProperty('authorization')
    await ask('wide', { key: other, headers })
    for (const one of await ledger(target, other)) expect(JSON.stringify(one)).not.toContain('sk-mine')
  })

  test.each(['models', 'v1/models'])('GET %s lists aliases and models, with what they cost', async (path) => {
    const response = await fetch(at(target, `/compat/${path}`))
    const { object, data } = (await response.json()) as { object: string; data: { id: string }[] }
    expect([response.status, object]).toEqual([200, 'list'])
    expect(data).toContainEqual({ id: 'fast', object: 'model', created: 0, owned_by: 'gateway' })
    expect(data).toContainEqual({ id: 'mine/own', object: 'model', created: 0, owned_by: 'mine' })
    const priced = data.find(({ id }) => id.startsWith('openai/gpt-5'))
    expect(priced).toMatchObject({ cost_in: expect.any(Number), cost_out: expect.any(Number) })
    expect(new Set(data.map(({ id }) => id)).size).toBe(data.length)
    expect((await fetch(at(target, `/compat/${path}`, 'locked'))).status).toBe(401)
  })
}

/** What an API’s client finds in an error. */
const shapes: Record<ApiPath, (type: string, message: unknown) => object> = {
  'chat/completions': (type, message) => ({ error: { message, type } }),
  responses: (type, message) => ({ error: { message, type } }),
  messages: (type, message) => ({ type: 'error', error: { type, message } }),
}

function errorTests(target: Target, ask: Ask): void {
  const providers = ['openai/m', 'anthropic/m', 'google-ai-studio/m', 'aws-bedrock/m', 'cohere/m', '@cf/m']
  test.each(paths.flatMap((path) => providers.map((model) => [path, model] as const)))(
    '%s to %s: the provider’s status and words, in the shape of the API',
    async (path, model) => {
      const statuses = [
        [429, 'rate_limit_error'],
        [400, 'invalid_request_error'],
      ] as const
      for (const [status, type] of statuses) {
        for (const stream of [false, true]) {
          const response = await ask(model, { path, more: { stream }, status })
          expect([response.status, response.headers.get('content-type')]).toEqual([
            status,
            'application/json',
          ])
          const body = await response.json()
          const isOwn = model === 'openai/m' && path !== 'messages'
          if (isOwn) expect(body).toMatchObject({ error: { message: `emulated ${status}` } })
          else expect(body).toMatchObject(shapes[path](type, `emulated ${status}`))
        }
      }
    },
  )

  test.each(paths)('%s: the gateway’s own errors have the shape of the API, and their code', async (path) => {
    const wrong: [model: string, status: number, code: number][] = [
      ['gpt-5', 400, 2019],
      ['/gpt-5', 400, 2019],
      ['openai/', 400, 2019],
      ['nobody/gpt-5', 400, 2008],
      ['offline/m', 502, 2005],
      ['deepgram/m', 400, 2002],
      ['google-vertex-ai/anthropic/claude', 400, 2002],
    ]
    for (const [model, status, code] of wrong) {
      const response = await ask(model, { path })
      const body = (await response.json()) as { internalCode: number }
      expect([model, response.status, body.internalCode]).toEqual([model, status, code])
      const type = status < 500 ? 'invalid_request_error' : path === 'messages' ? 'api_error' : 'server_error'
      expect(body).toMatchObject(shapes[path](type, expect.any(String)))
    }
  })

  test('a field that is not what it must be is named', async () => {
    const response = await ask('anthropic/m', { more: { temperature: 'hot' } })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      error: { param: 'temperature', type: 'invalid_request_error' },
    })
  })

  test.each([
    ['POST', 'images/generations', 404],
    ['GET', 'chat/completions', 400],
    ['POST', 'models', 404],
  ])('%s %s is %i', async (method, path, status) => {
    const body = method === 'POST' ? JSON.stringify(chat('x')) : null
    expect((await fetch(at(target, `/compat/${path}`), { method, body })).status).toBe(status)
  })

  test('a stream that breaks later ends with an error event, and never as if it were whole', async () => {
    for (const path of paths) {
      const response = await ask('anthropic/m', {
        path,
        more: { stream: true },
        cut: 6,
        events: 20,
        interval: 20,
      })
      expect(response.status).toBe(200)
      let text = ''
      const whole = response.body!.pipeThrough(new TextDecoderStream())
      const read = async () => {
        for await (const part of whole) text += part
      }
      if (path === 'messages') await expect(read()).rejects.toThrow()
      else await read().catch(() => undefined)
      expect(text).not.toMatch(/\[DONE\]|message_stop|response\.completed/)
      if (path !== 'messages') expect(text).toMatch(/"message":"The provider broke off its answer/)
    }
  })
}

function lenientTests(target: Target, ask: Ask): void {
  const more = { seed: 7, n: 2, user: 'u1' }

  test('is refused, naming the field', async () => {
    const key = newKey()
    const response = await ask('anthropic/claude-sonnet-5', { more, key })
    expect(response.status).toBe(400)
    const { error } = (await response.json()) as { error: { param: string; message: string } }
    expect(error.param).toBe('seed')
    expect(error.message).toContain('anthropic')
    expect(await ledger(target, key)).toEqual([])
  })

  test.each([
    ['by the gateway’s setting', { gateway: 'lenient' }],
    ['by a header', { headers: { 'cf-aig-compat-lenient': 'true' } }],
  ])('is left out where that is allowed, and told: %s', async (_, allowed) => {
    for (const stream of [false, true]) {
      const response = await ask('anthropic/claude-sonnet-5', { more: { ...more, stream }, ...allowed })
      expect([response.status, response.headers.get('cf-aig-dropped-fields')]).toEqual([200, 'seed, n'])
      await response.text()
    }
  })

  test('a request may be stricter than its gateway', async () => {
    const headers = { 'cf-aig-compat-lenient': 'false' }
    expect((await ask('anthropic/m', { more, gateway: 'lenient', headers })).status).toBe(400)
  })

  test.each(['温度', 'a\r\nset-cookie: x', 'é'])('is told in the letters of a header: %j', async (field) => {
    const response = await ask('anthropic/m', { more: { [field]: 1 }, gateway: 'lenient' })
    expect([response.status, response.headers.get('set-cookie')]).toEqual([200, null])
    expect(response.headers.get('cf-aig-dropped-fields')).toMatch(/^[\x21-\x7e]+$/)
  })

  test('large integers are sent as they came', async () => {
    const input = { id: '$large' }
    const turns = [
      { role: 'user', content: 'hello' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'f', input }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: 'x' }] },
    ]
    const tools = [{ name: 'f', input_schema: { type: 'object' } }]
    const body = JSON.stringify({ model: 'aws-bedrock/m', max_tokens: 9, messages: turns, tools })
    const key = newKey()
    const text = body.replace('"$large"', '1234567890123456789')
    const response = await post(at(target, '/compat/messages'), text, upstream({ key }))
    expect([response.status, await response.json()]).toEqual([200, expect.anything()])
    expect((await ledger(target, key))[0]?.body).toContain('{"id":1234567890123456789}')
  })

  test('in a list, who cannot do it is passed over', async () => {
    const response = await ask('choosy', { more: { seed: 7 } })
    expect([response.status, response.headers.get('cf-aig-provider')]).toEqual([200, 'openai'])
  })
}

function fallbackTests(target: Target, ask: Ask): void {
  const manage = managerOf(target.url, adminToken)
  const logsOf = async (eventId: string) => {
    const query = `filters=${encodeURIComponent(JSON.stringify([{ key: 'event_id', operator: 'eq', value: [eventId] }]))}`
    const read = async () =>
      (await manage('GET', `/gateways/default/logs?direction=asc&${query}`)).result as Record<
        string,
        unknown
      >[]
    await expect.poll(async () => (await read()).length, { interval: 100 }).toBe(3)
    // Steps that failed within one millisecond are listed as records of one time.
    return (await read()).sort((one, other) => Number(one.step) - Number(other.step))
  }

  test.each(paths)(
    '%s: Anthropic fails before its stream, OpenAI in the first event of it, Gemini serves: one answer, three records',
    async (path) => {
      const eventId = newKey()
      const response = await ask('falling', {
        path,
        more: { stream: true },
        headers: { 'cf-aig-event-id': eventId },
      })
      expect([response.status, response.headers.get('cf-aig-step')]).toEqual([200, '2'])
      expect(response.headers.get('cf-aig-provider')).toBe('google-ai-studio')
      const text = await response.text()
      expect(text).not.toMatch(/"error":[^n]|emulated/)
      expect(textOf(path, text)).toBe('This is emulator, an emulator and not a model. You said: hello')
      const logs = await logsOf(eventId)
      const told = logs.map(({ provider, step, status_code, success }) => [
        provider,
        step,
        status_code,
        success,
      ])
      expect(told).toEqual([
        ['anthropic', 0, 529, false],
        ['openai', 1, 200, false],
        ['google-ai-studio', 2, 200, true],
      ])
      expect(logs[1]?.error).toContain('emulated 500')
      expect(new Set(logs.map(({ request_id }) => request_id)).size).toBe(1)
    },
  )

  test('the same on a socket, as frames of the client’s API', async () => {
    const line = await connect(target)
    const query = { ...chat('hello', { stream: true }), model: 'falling' }
    const frames = await line.result(line.create({ provider: 'compat', endpoint: 'chat/completions', query }))
    line.close()
    expect(frames.at(-1)).toMatchObject({ type: 'universal.done', metadata: { step: '0' } })
    const said = frames.flatMap(({ response }) => (response as Chunk | undefined)?.choices ?? [])
    expect(said.map(({ delta }) => delta.content ?? '').join('')).toContain('You said: hello')
  })

  test('where all fail, the last one’s answer is the client’s', async () => {
    const response = await ask('hopeless', { path: 'messages' })
    expect(response.status).toBe(429)
    expect(await response.json()).toMatchObject({
      type: 'error',
      error: { type: 'rate_limit_error', message: 'emulated 429' },
    })
  })
}

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string | null } }[]
}

/** The text of a stream, in any of the APIs. */
function textOf(path: ApiPath, stream: string): string {
  const events = stream
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)) as Record<string, never>)
  if (path === 'chat/completions')
    return events.map((event) => (event as unknown as Chunk).choices[0]?.delta.content ?? '').join('')
  const isText = /^(content_block_delta|response\.output_text\.delta)$/
  const deltas = events.filter(({ type }) => isText.test(String(type))).map(({ delta }) => delta as unknown)
  return deltas
    .map((delta) => (typeof delta === 'string' ? delta : (delta as { text: string }).text))
    .join('')
}

function wayTests(target: Target, ask: Ask): void {
  test.each(paths.map((path) => `v1/${path}`))('%s is the same', async (path) => {
    expect((await ask('anthropic/claude-sonnet-5', { path })).status).toBe(200)
  })

  test('as an item of a universal request, its fallbacks among it', async () => {
    const item = (model: string) => ({
      provider: 'compat',
      endpoint: 'chat/completions',
      query: { ...chat('hello'), model },
    })
    const response = await post(at(target), [item('offline/m'), item('falling')])
    expect([response.status, response.headers.get('cf-aig-step')]).toEqual([200, '1'])
    expect(await response.json()).toMatchObject({ object: 'chat.completion' })
  })

  test('as a run, which goes on without its client and is taken up again', async () => {
    const key = newKey()
    const detach = { 'cf-aig-on-disconnect': 'detach' }
    const response = await ask('anthropic/m', {
      more: { stream: true },
      headers: detach,
      key,
      interval: 5,
      events: 40,
    })
    const run = response.headers.get('cf-aig-run-id')
    await response.body!.cancel()
    expect((await ended(target, key))?.how).toBe('finished')
    const text = await (await fetch(at(target, `/run/${run}/resume?from=0`))).text()
    expect(text.match(/^data: \{/gm)?.length).toBeGreaterThan(40)
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
  })

  test('a kept answer is of its own API, and of what was asked of it', async () => {
    const key = newKey()
    const usage = { stream_options: { include_usage: true } }
    const asked = [
      { more: { stream: true } },
      { more: { stream: true, ...usage } },
      { more: { stream: true }, path: 'messages' },
      { more: { stream: true }, path: 'responses' },
    ]
    const read = async () => {
      const texts: [string | null, string][] = []
      for (const one of asked) {
        const response = await ask('google-ai-studio/gemini-3-pro', { ...one, key, gateway: 'cached' })
        texts.push([response.headers.get('cf-aig-cache-status'), await response.text()])
      }
      return texts
    }
    const [first, second] = [await read(), await read()]
    expect(first.map(([status]) => status)).toEqual(['MISS', 'MISS', 'MISS', 'MISS'])
    expect(second).toEqual(first.map(([, text]) => ['HIT', text]))
    expect(first.map(([, text]) => /"choices":\[\],"usage"/.test(text))).toEqual([false, true, false, false])
  })
}

function streamTests(target: Target, ask: Ask): void {
  const models = ['openai/m', 'anthropic/m', 'google-ai-studio/m', 'aws-bedrock/m', 'cohere/m', '@cf/m']

  test.each(models)('%s: each event is told when it comes', async (model) => {
    const key = newKey()
    const response = await ask(model, { more: { stream: true }, key, interval: 250, events: 4 })
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!/"content":"[^"]/.test(text)) {
      const { value, done } = await reader.read()
      expect(done).toBe(false)
      text += value
    }
    const { eventsSent, finishedAt } = await seen(target, key)
    expect(finishedAt).toBeUndefined()
    // Some begin with up to three events that say nothing.
    expect(eventsSent).toBeLessThanOrEqual(4)
    await reader.cancel()
    expect((await ended(target, key))?.how).toBe('client_closed')
  })

  test.each(models)('%s: however its stream is cut, the answer is the same', async (model) => {
    const read = async (control: Control) => {
      const response = await ask(model, { more: { stream: true }, ...control })
      return textOf('chat/completions', await response.text())
    }
    const whole = await read({})
    expect(whole).toContain('You said: hello')
    for (const control of [{ slice: 13 }, { crlf: true }, { comments: true }])
      expect(await read(control)).toBe(whole)
  })
}

function embeddingTests(target: Target, ask: Ask): void {
  test.each([
    ['openai/text-embedding-3-small', '/openai/embeddings'],
    ['cohere/embed-v4.0', '/cohere/v2/embed'],
    [
      'google-ai-studio/gemini-embedding-001',
      '/google-ai-studio/v1beta/models/gemini-embedding-001:batchEmbedContents',
    ],
    ['@cf/baai/bge-m3', '/workers-ai/run/@cf/baai/bge-m3'],
  ])('%s', async (model, path) => {
    for (const encoding_format of ['float', 'base64']) {
      const key = newKey()
      const more = { input: ['one', 'two'], encoding_format }
      const response = await ask(model, { path: 'embeddings', more, key })
      expect(response.status).toBe(200)
      const { data } = (await response.json()) as { data: { index: number; embedding: number[] | string }[] }
      expect(data.map(({ index }) => index)).toEqual([0, 1])
      const [{ embedding } = { embedding: '' }] = data
      const bytes = () => Uint8Array.from(atob(String(embedding)), (char) => char.charCodeAt(0))
      const numbers = encoding_format === 'float' ? embedding : [...new Float32Array(bytes().buffer)]
      expect(numbers).toEqual([0.25, -0.5, 0.75])
      expect((await ledger(target, key))[0]?.path).toBe(path)
    }
  })

  test('who has none says so', async () => {
    const response = await ask('anthropic/m', { path: 'embeddings' })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { param: 'model' } })
  })
}

/** Conversations go from any vendor to any other: what the answer of one left in them is nobody's trouble. */
function crossTests(ask: Ask): void {
  const functions = ['weather', 'clock'].map((name) => ({ name, schema: { type: 'object', properties: {} } }))
  const turns: Record<ApiPath, Turns> = {
    'chat/completions': {
      ask: (history) => ({
        messages: [{ role: 'user', content: 'Both together, please' }, ...history],
        tools: functions.map(({ name, schema }) => ({
          type: 'function',
          function: { name, parameters: schema },
        })),
      }),
      think: { reasoning_effort: 'low' },
      next: ({ choices }) => {
        const { message } = choices[0]
        const results = message.tool_calls.map(({ id }: { id: string }) => ({
          role: 'tool',
          tool_call_id: id,
          content: 'fine',
        }))
        return [message, ...results]
      },
      said: ({ choices }) => choices[0].message.content,
    },
    messages: {
      ask: (history) => ({
        max_tokens: 4_000,
        messages: [{ role: 'user', content: 'Both together, please' }, ...history],
        tools: functions.map(({ name, schema }) => ({ name, input_schema: schema })),
      }),
      think: { thinking: { type: 'enabled', budget_tokens: 2_000 } },
      next: ({ content }) => {
        const calls = content.filter(({ type }: { type: string }) => type === 'tool_use')
        const results = calls.map(({ id }: { id: string }) => ({
          type: 'tool_result',
          tool_use_id: id,
          content: 'fine',
        }))
        return [
          { role: 'assistant', content },
          { role: 'user', content: results },
        ]
      },
      said: ({ content }) => content.at(-1).text,
    },
    responses: {
      ask: (history) => ({
        store: false,
        include: ['reasoning.encrypted_content'],
        input: [{ role: 'user', content: 'Both together, please' }, ...history],
        tools: functions.map(({ name, schema }) => ({ type: 'function', name, parameters: schema })),
      }),
      think: { reasoning: { effort: 'low' } },
      next: ({ output }) => {
        const calls = output.filter(({ type }: { type: string }) => type === 'function_call')
        const results = calls.map(({ call_id }: { call_id: string }) => ({
          type: 'function_call_output',
          call_id,
          output: 'fine',
        }))
        return [...output, ...results]
      },
      said: ({ output }) => output.at(-1).content[0].text,
    },
  }

  const pairs = wires.flatMap((from) => wires.map((to) => [from, to] as const))
  test.each(paths)('%s', async (path) => {
    const { ask: toBody, think, next, said } = turns[path]
    const answer = async (wire: CompatWire, history: readonly unknown[]) => {
      const more = { ...toBody(history), ...(!wire.cannot && think) }
      const response = await ask(modelOf(wire), { path, more })
      const body = await response.json()
      expect([modelOf(wire), response.status, body]).toEqual([modelOf(wire), 200, body])
      return body
    }
    const firsts = new Map(wires.map((wire) => [wire, answer(wire, [])]))
    await Promise.all(
      pairs.map(async ([from, to]) => {
        const history = next(await firsts.get(from)!)
        const last = await answer(to, history)
        expect([from.name, to.name, said(last)]).toEqual([from.name, to.name, 'The tools said: fine; fine'])
      }),
    )
  })
}

/** How one API goes from turn to turn. */
interface Turns {
  readonly ask: (history: readonly unknown[]) => object
  readonly think: object
  // biome-ignore lint/suspicious/noExplicitAny: answers of three APIs
  readonly next: (answer: any) => readonly unknown[]
  // biome-ignore lint/suspicious/noExplicitAny: answers of three APIs
  readonly said: (answer: any) => string
}
