import { describe, expect, test } from 'vitest'
import { completion, createCompat, readAll, sse } from './compat-kit.ts'

const messages = [{ role: 'user', content: 'a' }]

describe('fields that are left out', () => {
  const anthropic = () =>
    Response.json({ id: 'm', content: [{ type: 'text', text: 'x' }], stop_reason: 'end_turn', usage: {} })
  const lenient = createCompat(anthropic, { gateway: { compat_lenient: true } })

  test.each([
    ['温度', '??'],
    ['a\r\nset-cookie: x', 'a??set-cookie??x'],
    ['é', '?'],
    ['a, b', 'a??b'],
    ['x'.repeat(300), 'x'.repeat(80)],
  ])('are told in the letters that a header may have: %j', async (field, told) => {
    const response = await lenient('chat/completions', { model: 'anthropic/c', messages, [field]: 1 })
    expect([response.status, response.headers.get('cf-aig-dropped-fields')]).toEqual([200, told])
  })

  test('are told up to a length', async () => {
    const fields = Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`field${index}`, 1]))
    const response = await lenient('chat/completions', { model: 'anthropic/c', messages, ...fields })
    expect(response.status).toBe(200)
    const told = response.headers.get('cf-aig-dropped-fields') ?? ''
    expect(told).toMatch(/^field0, field1, .*field\d+, \.\.\.$/)
    expect(told.length).toBeLessThan(1_010)
  })
})

describe('long conversations', () => {
  const refuse = createCompat(() => Response.json({ error: { message: 'no' } }, { status: 418 }))
  const turns = (count: number, turn: object) => Array.from({ length: count }, () => turn)
  const user = { role: 'user', content: 'a' }
  const assistant = { role: 'assistant', content: 'a' }

  // Copying what came before with each turn took half a minute.
  test.each([
    ['chat/completions', { model: 'anthropic/c', messages: turns(40_000, user) }],
    ['chat/completions', { model: 'google-ai-studio/gemini-3-pro', messages: turns(40_000, user) }],
    ['messages', { model: 'google-ai-studio/gemini-3-pro', max_tokens: 9, messages: turns(40_000, user) }],
    ['responses', { model: 'groq/x', input: turns(40_000, assistant) }],
  ])('of one side cost no more than their length: %s %#', async (path, body) => {
    const began = performance.now()
    expect((await refuse(path, body)).status).toBe(418)
    expect(performance.now() - began).toBeLessThan(10_000)
  })

  test.each([
    ['chat/completions', { model: 'anthropic/c', messages: turns(100_001, user) }],
    ['messages', { model: 'groq/x', max_tokens: 9, messages: turns(100_001, user) }],
    ['responses', { model: 'groq/x', input: turns(100_001, user) }],
  ])('are bounded: %s', async (path, body) => {
    const response = await refuse(path, body)
    expect(response.status).toBe(400)
    expect(JSON.stringify(await response.json())).toMatch(/messages|input/)
  })
})

/** A body in such pieces. */
const toBody = (pieces: readonly string[]) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece))
      controller.close()
    },
  })
const chunk = (delta: object, finish_reason: string | null = null) => ({
  id: 'x',
  object: 'chat.completion.chunk',
  model: 'm',
  choices: [{ index: 0, delta, finish_reason }],
})
const role = chunk({ role: 'assistant', content: '' })
const half = {
  chat: [role, chunk({ content: 'half an ans' })],
  messages: [
    { type: 'message_start', message: { id: 'm' } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'half an ans' } },
  ],
  responses: [
    { type: 'response.created', response: { id: 'r' } },
    { type: 'response.output_text.delta', delta: 'half an ans' },
  ],
}
const asked = { stream: true, max_tokens: 9, messages }

describe('streams in the client’s own API', () => {
  const cases = [
    ['chat/completions', { ...asked, model: 'openai/gpt-4o' }, half.chat],
    ['messages', { ...asked, model: 'anthropic/c' }, half.messages],
    ['responses', { model: 'openai/gpt-5', stream: true, input: 'a' }, half.responses],
  ] as const
  const wholeOf = {
    'chat/completions': [...half.chat, chunk({}, 'stop')],
    messages: [...half.messages, { type: 'message_delta', delta: {} }, { type: 'message_stop' }],
    responses: [
      ...half.responses,
      // What it repeats is no short event.
      { type: 'response.completed', response: { id: 'r', output: ['x'.repeat(10_000)] } },
    ],
  }

  test.each(cases)(
    '%s: one that ends before its end is broken off, and not kept',
    async (path, body, half) => {
      let count = 0
      const post = createCompat(
        () => {
          count += 1
          return sse(half, { isDone: false })
        },
        { gateway: { cache_ttl: 300 } },
      )
      for (const calls of [1, 2]) {
        const response = await post(path, body)
        expect([response.status, response.headers.get('cf-aig-cache-status')]).toEqual([200, 'MISS'])
        const { text, isBroken } = await readAll(response)
        expect(text).toContain('half an ans')
        expect(isBroken || text.includes('broke off')).toBe(true)
        expect(text).not.toMatch(/DONE|message_stop|completed/)
        expect(count).toBe(calls)
      }
    },
  )

  test.each(cases)('%s: one that is whole passes as it is', async (path, body) => {
    for (const isDone of path === 'chat/completions' ? [true, false] : [false]) {
      const text = await sse(wholeOf[path], { isDone }).text()
      for (const size of [1, 7, 100, text.length]) {
        const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, index) =>
          text.slice(index * size, (index + 1) * size),
        )
        const post = createCompat(
          () =>
            new Response(toBody(pieces), {
              headers: { 'content-type': 'text/event-stream' },
            }),
        )
        expect(await readAll(await post(path, body))).toEqual({ text, isBroken: false })
      }
    }
  })

  test('one that is cut inside of its last event is broken off', async () => {
    const text = await sse(wholeOf.responses, { isDone: false }).text()
    const post = createCompat(() => new Response(text.slice(0, -40)))
    const { isBroken } = await readAll(await post('responses', cases[2][1]))
    expect(isBroken).toBe(true)
  })

  test('what is said is no end', async () => {
    const said = chunk({ content: '\n\ndata: [DONE]\n\n"finish_reason":"stop"' })
    const post = createCompat(() => sse([said], { isDone: false }))
    const { text } = await readAll(await post('chat/completions', cases[0][1]))
    expect(text).toContain('broke off')
  })

  test('one of several choices that ends is not the end', async () => {
    const events = [...half.chat, chunk({}, 'stop')]
    const post = createCompat(() => sse(events, { isDone: false }))
    const { text } = await readAll(await post('chat/completions', { ...cases[0][1], n: 2 }))
    expect(text).toContain('broke off')
  })

  test('one that fails is not kept, and its error is told once', async () => {
    let count = 0
    const events = [...half.chat, { error: { message: 'too much', type: 'server_error' } }]
    const post = createCompat(
      () => {
        count += 1
        return sse(events)
      },
      { gateway: { cache_ttl: 300 } },
    )
    for (const calls of [1, 2]) {
      const { text } = await readAll(await post('chat/completions', cases[0][1]))
      expect(text.match(/"error"/g)).toHaveLength(1)
      expect(count).toBe(calls)
    }
  })
})

describe('whole answers in the client’s own API', () => {
  test.each([
    ['a page', () => new Response('<html>Sign in</html>'), 502],
    ['nothing', () => new Response(''), 502],
    [
      'a way elsewhere',
      () => new Response('', { status: 302, headers: { location: 'https://x.test' } }),
      502,
    ],
    ['an error', () => Response.json({ error: { message: 'No credit', code: 402 } }), 402],
  ])('%s is none', async (_, answer, status) => {
    const post = createCompat(answer)
    for (const [path, model] of [
      ['chat/completions', 'groq/x'],
      ['messages', 'groq/x'],
      ['embeddings', 'openai/x'],
    ] as const) {
      const said = path === 'embeddings' ? { input: 'a' } : { max_tokens: 9, messages }
      const response = await post(path, { model, ...said })
      expect([path, response.status, response.headers.get('location')]).toEqual([path, status, null])
      expect(await response.json()).toMatchObject({
        error: { message: status === 402 ? 'No credit' : expect.stringContaining('provider') },
      })
    }
  })
})

describe('a list of providers', () => {
  const failing = {
    'an error': [role, { error: { message: 'overloaded', type: 'server_error' } }],
    'its end': [role],
    'nothing but an end': [],
  }
  const config = { aliases: { fast: ['openai/gpt-4o', 'groq/x'] } }

  test.each(
    (['chat/completions', 'messages', 'responses'] as const).flatMap((path) =>
      Object.entries(failing).map(([what, events]) => [path, what, events] as const),
    ),
  )('%s: goes on where an answer has begun with a role, and then has %s', async (path, _, events) => {
    const hosts: string[] = []
    const post = createCompat(
      ({ url }) => {
        hosts.push(url.host)
        if (url.host !== 'openai.test') return sse([role, chunk({ content: 'whole' }), chunk({}, 'stop')])
        if (path !== 'responses') return sse(events, { isDone: events.length === 0 })
        return sse([{ type: 'response.created', response: { id: 'r' } }], { isDone: false })
      },
      { config },
    )
    const said = path === 'responses' ? { input: 'a', stream: true } : asked
    const response = await post(path, { ...said, model: 'fast' })
    const { text, isBroken } = await readAll(response)
    expect([hosts, isBroken]).toEqual([['openai.test', 'groq.test'], false])
    expect(text).toContain('whole')
    expect(text).not.toContain('"error":{')
  })

  test('goes on after an answer of Anthropic that only began', async () => {
    const begun = [{ type: 'message_start', message: { id: 'm' } }, { type: 'ping' }]
    const post = createCompat(
      ({ url }) =>
        url.host === 'anthropic.test'
          ? sse([...begun, { type: 'error', error: { type: 'overloaded_error', message: 'O' } }])
          : sse([chunk({ content: 'whole' }, 'stop')]),
      { config: { aliases: { fast: ['anthropic/c', 'groq/x'] } } },
    )
    const { text } = await readAll(await post('messages', { ...asked, model: 'fast' }))
    expect(text).toContain('whole')
  })

  test('what says nothing is held for a few events only', async () => {
    let sent = 0
    const post = createCompat(
      () =>
        new Response(
          new ReadableStream(
            {
              pull(controller) {
                sent += 1
                controller.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(role)}\n\n`))
              },
            },
            { highWaterMark: 0 },
          ),
        ),
    )
    for (const path of ['chat/completions', 'messages']) {
      sent = 0
      const response = await post(path, { ...asked, model: 'groq/x' })
      expect(response.status).toBe(200)
      expect(sent).toBeLessThan(20)
      await response.body?.cancel()
    }
  })
})

test('a whole answer in OpenAI’s wire is one in Messages', async () => {
  const response = await createCompat(() => completion('x'))('messages', {
    ...asked,
    stream: false,
    model: 'groq/x',
  })
  expect(await response.json()).toMatchObject({ stop_reason: 'end_turn', content: [{ text: 'x' }] })
})

describe('answers that never ended', () => {
  const json = (body: unknown) => () => Response.json(body)
  const said = { type: 'message', content: [{ type: 'output_text', text: 'half' }] }
  const gemini = (index: number, text: string, finishReason?: string) => ({
    candidates: [{ index, content: { parts: [{ text }] }, finishReason }],
  })

  test.each([
    ['anthropic/c', { status: 'ok' }, 502],
    ['anthropic/c', { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }, 529],
    ['anthropic/c', { content: [{ type: 'text', text: 'half' }] }, 502],
    ['cohere/c', { status: 'ok' }, 502],
    ['cohere/c', { message: { content: [{ text: 'half' }] } }, 502],
    ['@cf/m', { status: 'ok' }, 502],
    ['@cf/m', { success: false, errors: [{ message: 'boom', code: 3 }], result: null }, 500],
    ['google-ai-studio/gemini-3-pro', { status: 'ok' }, 502],
    ['google-ai-studio/gemini-3-pro', gemini(0, 'half'), 502],
    ['openai/gpt-5-pro', { status: 'ok' }, 502],
    ['openai/gpt-5-pro', { status: 'in_progress', output: [said] }, 502],
    ['openai/gpt-5-pro', { status: 'cancelled', output: [said] }, 502],
  ])('%s: a whole one is none: %j', async (model, body, status) => {
    const response = await createCompat(json(body))('chat/completions', { model, messages })
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ error: { message: expect.any(String) } })
  })

  test.each([
    [{ status: 'ok' }],
    [{ choices: [] }],
    [{ choices: [{ message: { role: 'assistant', content: 'half' } }] }],
  ])('OpenAI’s wire: a whole one is none: %j', async (body) => {
    const response = await createCompat(json(body))('messages', { ...asked, stream: false, model: 'groq/x' })
    expect(response.status).toBe(502)
  })

  test.each([
    ['messages', 'groq/x', [], true],
    ['messages', 'groq/x', [chunk({ role: 'assistant', content: 'half' })], true],
    [
      'chat/completions',
      'google-ai-studio/gemini-3-pro',
      [gemini(0, 'A whole', 'STOP'), gemini(1, 'half of B')],
      false,
    ],
    ['chat/completions', '@cf/m', [], true],
    [
      'chat/completions',
      'anthropic/c',
      [
        { type: 'content_block_start', index: 0, content_block: { type: 'text', text: 'half' } },
        { type: 'message_stop' },
      ],
      false,
    ],
    ['chat/completions', 'cohere/c', [{ type: 'message-end', delta: {} }], false],
  ] as const)('%s of %s: a stream says that it broke: %#', async (path, model, events, isDone) => {
    const n = model.includes('gemini') ? { n: 2 } : {}
    const { text } = await readAll(
      await createCompat(() => sse(events, { isDone }))(path, { ...asked, ...n, model }),
    )
    expect(text).toContain('broke off')
    expect(text).not.toMatch(/DONE|message_stop/)
  })

  test.each([
    ['anthropic/c', { content: [{ type: 'text', text: 'x' }], stop_reason: 'pause_turn' }],
    ['anthropic/c', { content: [{ type: 'text', text: 'x' }], stop_reason: 'what_is_new' }],
    ['cohere/c', { message: { content: [{ text: 'x' }] }, finish_reason: 'USER_CANCEL' }],
    ['openai/gpt-5-pro', { status: 'incomplete', incomplete_details: { reason: 'new' }, output: [said] }],
    ['@cf/m', { result: { response: 'x', usage: { completion_tokens: 3 } } }],
  ])('%s: an end that is none of those that are known is no success: %j', async (model, body) => {
    const asks = { model, messages, max_tokens: 3 }
    const response = await createCompat(json(body))('chat/completions', asks)
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ choices: [{ finish_reason: 'length' }] })
  })

  test.each([
    ['google-ai-studio/gemini-embedding-001', {}],
    ['google-ai-studio/gemini-embedding-001', { embeddings: [{ values: [1] }] }],
    ['google-ai-studio/gemini-embedding-001', { embeddings: [{ values: [1] }, {}] }],
    ['cohere/embed-v4.0', {}],
    ['@cf/baai/bge-m3', { result: { data: [[1]] } }],
  ])('%s: as many vectors as texts: %j', async (model, body) => {
    const response = await createCompat(json(body))('embeddings', { model, input: ['a', 'b'] })
    expect(response.status).toBe(502)
  })
})

describe('the data of tools', () => {
  const large = '{"id":1234567890123456789}'
  const call = (args: string, more: object = { id: 'c' }) => ({
    ...more,
    type: 'function',
    function: { name: 'f', arguments: args },
  })
  const calling = (...calls: object[]) =>
    Response.json({
      choices: [{ message: { role: 'assistant', tool_calls: calls }, finish_reason: 'tool_calls' }],
    })
  const whole = { ...asked, stream: false }
  /** What a provider is sent. */
  const sent = async (path: string, body: unknown): Promise<string> => {
    let text = ''
    await createCompat((request) => {
      text = String(request.body)
      return Response.json({}, { status: 400 })
    })(path, body)
    return text
  }

  test.each(['{"x": tru', '[1]', '7'])('that is no JSON object is no call: %s', async (args) => {
    const response = await createCompat(() => calling(call(args)))('messages', { ...whole, model: 'groq/x' })
    expect(response.status).toBe(502)
    expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining('tool') } })
  })

  test('keeps its large integers in an answer', async () => {
    const openai = createCompat(() => calling(call(large)))
    expect(await (await openai('messages', { ...whole, model: 'groq/x' })).text()).toContain(large)
    const content = `[{"type":"tool_use","id":"a","name":"f","input":${large}}]`
    const anthropic = createCompat(() => new Response(`{"content":${content},"stop_reason":"tool_use"}`))
    const answer = (await (
      await anthropic('chat/completions', { ...whole, model: 'anthropic/c' })
    ).json()) as {
      choices: { message: { tool_calls: { function: { arguments: string } }[] } }[]
    }
    expect(answer.choices[0]?.message.tool_calls[0]?.function.arguments).toBe(large)
  })

  const turns = [
    ...messages,
    { role: 'assistant', tool_calls: [call(large)] },
    { role: 'tool', tool_call_id: 'c', content: large },
  ]
  test.each(['anthropic/c', 'google-ai-studio/gemini-3-pro', 'cohere/c', 'openai/m'])(
    'keeps its large integers in a request: %s',
    async (model) => {
      const text = (await sent('chat/completions', { model, messages: turns })).replaceAll('\\', '')
      expect(text.match(/1234567890123456789\b/g)).toHaveLength(2)
      expect(text).not.toContain('12345678901234568')
    },
  )

  test('as a result with such integers is a text for Gemini', async () => {
    const text = await sent('chat/completions', { model: 'google-ai-studio/gemini-3-pro', messages: turns })
    expect(text).toContain(`"output":${JSON.stringify(large)}`)
  })

  test('any other large integer too', async () => {
    const body = '{"model":"openai/x","seed":9007199254740993,"messages":[]}'
    expect(await sent('chat/completions', body)).toContain('9007199254740993')
    const input = `[{"type":"tool_use","id":"a","name":"f","input":${large}}]`
    const asks = `{"model":"groq/x","max_tokens":9,"messages":[{"role":"assistant","content":${input}}]}`
    expect(await sent('messages', asks)).toContain('1234567890123456789')
  })

  test('has an id for each call, whose provider gives none', async () => {
    const post = createCompat(() => calling(call('{}', {}), call('{}', { id: '' })))
    const { content } = (await (await post('messages', { ...whole, model: 'groq/x' })).json()) as {
      content: { id: string }[]
    }
    expect(new Set(content.map(({ id }) => id)).size).toBe(2)
    for (const { id } of content) expect(id).toMatch(/^call_/)
  })
})

test('a key of the cache is of one API, and of streams or not', async () => {
  const post = createCompat((request) =>
    String(request.body).includes('"stream":true') ? sse([chunk({ content: 'x' }, 'stop')]) : completion('x'),
  )
  const headers = { 'cf-aig-cache-key': 'k', 'cf-aig-cache-ttl': '60' }
  const cases = [
    ['chat/completions', { ...asked, model: 'groq/x', stream: false }, 'chat.completion"'],
    ['chat/completions', { ...asked, model: 'groq/x' }, 'chat.completion.chunk"'],
    ['messages', { ...asked, model: 'groq/x', stream: false }, '"type":"message"'],
    ['messages', { ...asked, model: 'groq/x' }, 'message_stop'],
  ] as const
  for (const status of ['MISS', 'HIT'])
    for (const [path, body, own] of cases) {
      const response = await post(path, body, headers)
      const text = await response.text()
      expect(response.headers.get('cf-aig-cache-status')).toBe(status)
      if (own !== 'chat.completion"') expect(text).toContain(own)
    }
})

describe('errors', () => {
  const post = createCompat(() => completion('x'))
  const locked = createCompat(() => completion('x'), { gateway: { authentication: true } })
  const isShaped = (path: string, type: string) =>
    path.startsWith('messages')
      ? { type: 'error', error: { type, message: expect.any(String) } }
      : { error: { type, message: expect.any(String), code: expect.any(String) } }

  test.each(['chat/completions', 'messages', 'responses'])(
    '%s: those of the way in have the API’s shape',
    async (path) => {
      const body = { ...asked, model: 'openai/x' }
      const refused = await locked(path, body)
      expect(refused.status).toBe(401)
      expect(await refused.json()).toMatchObject(isShaped(path, 'authentication_error'))
      const wrong = await post(path, body, { 'cf-aig-max-attempts': 'abc' })
      expect(wrong.status).toBe(400)
      expect(await wrong.json()).toMatchObject(isShaped(path, 'invalid_request_error'))
      const type = path === 'messages' ? 'not_found_error' : 'invalid_request_error'
      const lost = await post(`${path}/count_tokens`, body)
      expect(lost.status).toBe(404)
      expect(await lost.json()).toMatchObject(isShaped(path, type))
    },
  )

  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`
  test.each([
    [
      'a schema',
      `{"model":"anthropic/c","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"a":${deep}}}}]}`,
    ],
    ['what passes', `{"model":"openai/c","messages":[],"metadata":${deep}}`],
    ['large integers', `{"model":"openai/c","seed":9007199254740993,"messages":[],"metadata":${deep}}`],
    [
      'no base64',
      JSON.stringify({
        model: 'anthropic/c',
        messages: [
          { role: 'user', content: [{ type: 'file', file: { file_data: 'data:text/plain;base64,!!!' } }] },
        ],
      }),
    ],
  ])('%s that cannot be sent is the client’s fault', async (_, body) => {
    const response = await post('chat/completions', body)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { type: 'invalid_request_error' } })
  })

  test('a model’s failure keeps its words', async () => {
    const candidates = [{ finishReason: 'MALFORMED_FUNCTION_CALL', finishMessage: 'Malformed: x(' }]
    const body = { model: 'google-ai-studio/gemini-3-pro', messages }
    const response = await createCompat(() => Response.json({ candidates }))('chat/completions', body)
    expect(response.status).toBe(502)
    expect(await response.json()).toMatchObject({
      error: { message: 'Malformed: x(', code: 'MALFORMED_FUNCTION_CALL' },
    })
  })
})

describe('seals', () => {
  const call = (id: string, thoughtSignature?: string) => ({
    functionCall: { id, name: 'f', args: {} },
    thoughtSignature,
  })
  const answer = {
    candidates: [{ content: { parts: [call('g1', 'SG1'), call('g2', 'SG2')] }, finishReason: 'STOP' }],
  }
  const model = 'google-ai-studio/gemini-3-pro'
  type Turn = Record<'content' | 'output', { type: string }[]>
  const ways = {
    messages: [
      { ...asked, stream: false, model, tools: [{ name: 'f', input_schema: { type: 'object' } }] },
      ({ content }: Turn) => ({
        ...asked,
        stream: false,
        model,
        messages: [
          ...messages,
          { role: 'assistant', content },
          {
            role: 'user',
            content: ['g1', 'g2'].map((id) => ({ type: 'tool_result', tool_use_id: id, content: 'x' })),
          },
        ],
      }),
    ],
    responses: [
      { model, input: 'a', tools: [{ type: 'function', name: 'f', parameters: {} }] },
      ({ output }: Turn) => ({
        model,
        input: [
          { role: 'user', content: 'a' },
          ...output,
          ...['g1', 'g2'].map((call_id) => ({ type: 'function_call_output', call_id, output: 'x' })),
        ],
      }),
    ],
  } as const

  test.each(['messages', 'responses'] as const)('%s: each call gets its own back', async (path) => {
    let sent = ''
    const post = createCompat(({ body }) => {
      sent = String(body)
      return Response.json(answer)
    })
    const [first, next] = ways[path]
    const turn = (await (await post(path, first)).json()) as Turn
    expect((await post(path, next(turn))).status).toBe(200)
    const { contents } = JSON.parse(sent) as { contents: { role: string; parts: unknown[] }[] }
    expect(contents.find(({ role }) => role === 'model')?.parts).toEqual([
      call('g1', 'SG1'),
      call('g2', 'SG2'),
    ])
  })

  test('of who is nobody here are told, and go to nobody', async () => {
    let sent = ''
    const post = createCompat(({ body }) => {
      sent = String(body)
      return Response.json({ content: [], stop_reason: 'end_turn' })
    })
    const details = [{ type: 'reasoning.encrypted', data: 'XAI', format: 'xai-responses-v1' }]
    const turns = [...messages, { role: 'assistant', content: 'b', reasoning_details: details }, ...messages]
    const response = await post('chat/completions', { model: 'anthropic/c', messages: turns })
    expect(response.headers.get('cf-aig-dropped-fields')).toBe('reasoning_details')
    expect(sent).not.toContain('XAI')
  })
})

describe('answers of great length', () => {
  test('sources are placed in one pass', async () => {
    const text = `${'é'.repeat(200_000)}😀${'a'.repeat(1_000)}`
    const segment = { startIndex: 400_000, endIndex: 400_004 }
    const supports = Array.from({ length: 8_000 }, () => ({ segment, groundingChunkIndices: [0] }))
    const groundingMetadata = {
      groundingChunks: [{ web: { uri: 'u', title: 't' } }],
      groundingSupports: supports,
    }
    const body = { candidates: [{ content: { parts: [{ text }] }, groundingMetadata, finishReason: 'STOP' }] }
    const post = createCompat(() => Response.json(body))
    const began = performance.now()
    const response = await post('chat/completions', { model: 'google-ai-studio/gemini-3-pro', messages })
    const { choices } = (await response.json()) as {
      choices: { message: { annotations: { url_citation: object }[] } }[]
    }
    expect(choices[0]?.message.annotations).toHaveLength(8_000)
    expect(choices[0]?.message.annotations[7_999]?.url_citation).toMatchObject({
      start_index: 200_000,
      end_index: 200_002,
    })
    expect(performance.now() - began).toBeLessThan(10_000)
  })

  test('so are citations in Messages', async () => {
    const url_citation = { url: 'u', title: 't', start_index: 0, end_index: 1 }
    const annotations = Array.from({ length: 60_000 }, () => ({ type: 'url_citation', url_citation }))
    const message = { role: 'assistant', content: 'x', annotations }
    const post = createCompat(() => Response.json({ choices: [{ message, finish_reason: 'stop' }] }))
    const began = performance.now()
    const response = await post('messages', { ...asked, stream: false, model: 'groq/x' })
    const { content } = (await response.json()) as { content: { citations: object[] }[] }
    expect(content[0]?.citations).toHaveLength(60_000)
    expect(performance.now() - began).toBeLessThan(10_000)
  })

  test.each([
    ['responses', 'groq/x', (text: string) => chunk({ content: text })],
    [
      'chat/completions',
      'anthropic/c',
      (thinking: string) => ({ type: 'content_block_delta', index: 0, delta: { thinking } }),
    ],
  ] as const)('%s of %s: what is kept has a limit', async (path, model, toEvent) => {
    const begun = { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '' } }
    const event = `data: ${JSON.stringify(toEvent('x'.repeat(1_000_000)))}\n\n`
    let sent = 0
    const post = createCompat(
      () =>
        new Response(
          new ReadableStream<Uint8Array>(
            {
              pull(controller) {
                const text = sent === 0 ? `data: ${JSON.stringify(begun)}\n\n` : event
                sent += 1
                controller.enqueue(new TextEncoder().encode(text))
              },
            },
            { highWaterMark: 0 },
          ),
        ),
    )
    const said = path === 'responses' ? { input: 'a' } : { messages }
    const response = await post(path, { ...said, stream: true, model })
    const { text } = await readAll(response)
    expect(text.slice(-500)).toContain('An answer is over 33554432 characters')
    expect(sent).toBeLessThan(40)
  })
})

describe('fields that a provider has no word for', () => {
  const user = { role: 'user', content: 'a' }
  /** What a provider is sent, or the field that is refused; and what is told. */
  const sent = async (path: string, body: object) => {
    let text: string | undefined
    const response = await createCompat((request) => {
      text = String(request.body)
      return Response.json({ error: { message: 'no' } }, { status: 418 })
    })(path, body)
    const { error } = (await response.json()) as { error: { message: string; param?: string } }
    return { body: text && JSON.parse(text), error, told: response.headers.get('cf-aig-dropped-fields') }
  }
  const document = (more: object) => ({
    type: 'document',
    source: { type: 'text', media_type: 'text/plain', data: 'x' },
    ...more,
  })

  test.each([
    [
      'messages',
      'google-ai-studio/gemini-3-pro',
      [document({ context: 'IMPORTANT' })],
      'messages.document.context',
    ],
    ['messages', 'groq/x', [{ type: 'text', text: 'x', wish: 1 }], 'messages.text.wish'],
    ['chat/completions', 'anthropic/c', [{ type: 'text', text: 'x', wish: 1 }], 'messages.content.wish'],
  ])('%s to %s: parts: %s', async (path, model, content, field) => {
    const { error } = await sent(path, { model, max_tokens: 9, messages: [{ role: 'user', content }] })
    expect(error.message).toContain(field)
  })

  test.each([
    ['chat/completions', { messages: [user], enable_thinking: false }, 'enable_thinking'],
    ['chat/completions', { messages: [user], include_reasoning: false }, 'include_reasoning'],
    [
      'chat/completions',
      { messages: [user], tools: [{ type: 'function', function: { name: 'f' }, defer_loading: true }] },
      'tools.defer_loading',
    ],
    [
      'chat/completions',
      { messages: [user], tools: [{ type: 'function', function: { name: 'f', input_examples: [1] } }] },
      'tools.function.input_examples',
    ],
    [
      'responses',
      { input: 'x', tools: [{ type: 'function', name: 'f', parameters: {}, defer_loading: true }] },
      'tools.0.defer_loading',
    ],
    ['responses', { input: 'x', reasoning: { effort: 'low', wish: 1 } }, 'reasoning.wish'],
    ['responses', { input: 'x', text: { wish: 1 } }, 'text.wish'],
  ])('%s: are refused: %j', async (path, body, field) => {
    const { error } = await sent(path, { model: 'anthropic/claude-opus-4-7', ...body })
    expect(error.param).toBe(field)
  })

  test.each([
    ['responses', { input: 'x', reasoning: { effort: 'low', summary: 'detailed' } }, 'reasoning.summary'],
    [
      'messages',
      {
        max_tokens: 9,
        messages: [
          user,
          {
            role: 'assistant',
            content: [
              { type: 'tool_use', id: 't', name: 'f', input: {}, cache_control: { type: 'ephemeral' } },
            ],
          },
        ],
      },
      'messages.tool_use.cache_control',
    ],
  ])('%s: are told where they change nothing: %#', async (path, body, field) => {
    const { told } = await sent(path, { model: 'cohere/command-a-reasoning', ...body })
    expect(told).toBe(field)
  })

  test.each([
    ['google-ai-studio/gemini-2.5-flash', { generationConfig: { thinkingConfig: { thinkingBudget: 0 } } }],
    ['openai/gpt-5.1', { reasoning_effort: 'none' }],
    ['cohere/command-a-reasoning', { thinking: { type: 'disabled' } }],
  ])('%s: not to think is told to a model that would', async (model, wanted) => {
    const asks = { model, max_tokens: 9, thinking: { type: 'disabled' }, messages: [user] }
    expect((await sent('messages', asks)).body).toMatchObject(wanted)
  })

  test('not to think is nothing to a model that does not', async () => {
    const asks = { model: 'openai/gpt-4o', max_tokens: 9, thinking: { type: 'disabled' }, messages: [user] }
    expect((await sent('messages', asks)).body).not.toHaveProperty('reasoning_effort')
  })

  test.each(['anthropic/c', 'google-ai-studio/gemini-3-pro', 'cohere/c', 'openai/gpt-5-pro', '@cf/m'])(
    '%s: what was refused is said in the next turn',
    async (model) => {
      const turns = [user, { role: 'assistant', content: null, refusal: 'I will not' }, user]
      expect(JSON.stringify((await sent('chat/completions', { model, messages: turns })).body)).toContain(
        'I will not',
      )
    },
  )
})

test.each([
  [undefined, true],
  [true, true],
  [false, false],
])(
  'a provider whose stream_usage is %j is asked for usage by no other API: %j',
  async (stream_usage, isAsked) => {
    let sent = ''
    const mine = { base_url: 'https://mine.test/v1', ...(stream_usage !== undefined && { stream_usage }) }
    const post = createCompat(
      ({ body }) => {
        sent = String(body)
        return sse([chunk({ content: 'x' }, 'stop')])
      },
      { config: { providers: { mine } } },
    )
    const { isBroken } = await readAll(await post('messages', { ...asked, model: 'mine/x' }))
    expect([isBroken, sent.includes('stream_options')]).toEqual([false, isAsked])
  },
)
