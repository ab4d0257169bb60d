import { describe, expect, test } from 'vitest'
import { anthropic } from '../../src/dialects/anthropic/dialect.ts'
import { messages } from '../../src/dialects/anthropic/messages.ts'
import { bedrock } from '../../src/dialects/bedrock/dialect.ts'
import { chat } from '../../src/dialects/chat.ts'
import { toChunks, toCompletion } from '../../src/dialects/chunks.ts'
import { cohere } from '../../src/dialects/cohere.ts'
import type { Dialect } from '../../src/dialects/dialect.ts'
import { readFailure } from '../../src/dialects/failure.ts'
import { aiStudio } from '../../src/dialects/gemini/dialect.ts'
import type { Chat, Completion, Json } from '../../src/dialects/hub.ts'
import { Notes } from '../../src/dialects/notes.ts'
import { likeOpenai, openai } from '../../src/dialects/openai/dialect.ts'
import { answerResponses } from '../../src/dialects/responses/api.ts'
import { responses } from '../../src/dialects/responses/dialect.ts'
import { createTranslation } from '../../src/dialects/translation.ts'
import { workersAi } from '../../src/dialects/workers-ai.ts'
import { table } from '../../src/providers/table.ts'
import { catchFailure } from './dialect-checks.ts'
import { base } from './dialects.ts'

const notesOf = (lenient = false) => new Notes('somebody', lenient)
const user = (content: string) => [{ role: 'user', content } as const]
const whole = (dialect: Dialect, body: unknown): Completion =>
  toCompletion(toChunks(dialect, body, base), base)
/** What the events of one stream add up to. */
const streamed = (dialect: Dialect, events: readonly unknown[]): Completion => {
  const translator = dialect.events(base)
  const chunks = events.flatMap((data) => translator.push({ data }))
  return toCompletion([...chunks, ...translator.end()], base)
}
const chunkOf = (delta: object, finish_reason: string | null = null) => ({
  choices: [{ index: 0, delta, finish_reason }],
})

describe('chats of OpenAI’s followers', () => {
  const named = (id: string, name: string, index?: number) => ({
    ...(index !== undefined && { index }),
    id,
    type: 'function',
    function: { name, arguments: '' },
  })
  const piece = (args: string, index?: number) => ({
    ...(index !== undefined && { index }),
    function: { arguments: args },
  })
  test.each([
    ['every call in the first place', 0, 0],
    ['no places', undefined, undefined],
    ['places in order', 0, 1],
    ['places that skip', 1, 3],
  ])('calls are told apart by their ids: %s', (_, first, second) => {
    const { choices } = streamed(openai, [
      chunkOf({ tool_calls: [named('a', 'weather', first)] }),
      chunkOf({ tool_calls: [piece('{"x":', first)] }),
      chunkOf({ tool_calls: [piece('1}', first)] }),
      chunkOf({ tool_calls: [named('b', 'clock', second)] }),
      chunkOf({ tool_calls: [{ ...piece('{}', second), id: 'b' }] }),
      chunkOf({}, 'stop'),
    ])
    expect(choices[0]?.message.tool_calls).toEqual([
      { id: 'a', type: 'function', function: { name: 'weather', arguments: '{"x":1}' } },
      { id: 'b', type: 'function', function: { name: 'clock', arguments: '{}' } },
    ])
    expect(choices[0]?.finish_reason).toBe('tool_calls')
  })

  test('Mistral’s thought is in a list', () => {
    const content = [
      { type: 'thinking', thinking: [{ type: 'text', text: 'Hm.' }] },
      { type: 'text', text: 'Yes.' },
    ]
    for (const answer of [
      streamed(openai, [chunkOf({ content: [content[0]] }), chunkOf({ content: [content[1]] }, 'stop')]),
      whole(openai, { choices: [{ message: { content }, finish_reason: 'stop' }] }),
    ])
      expect(answer.choices[0]?.message).toMatchObject({ content: 'Yes.', reasoning_content: 'Hm.' })
  })

  test.each([
    ['model_length', 'length'],
    ['function_call', 'tool_calls'],
    ['eos', 'stop'],
  ])('to finish for %s is to finish for %s', (theirs, ours) => {
    expect(streamed(openai, [chunkOf({ content: 'x' }, theirs)]).choices[0]?.finish_reason).toBe(ours)
  })

  test.each(['error', 'insufficient_system_resource'])('to finish for %s is to fail', (theirs) => {
    expect(catchFailure(() => streamed(openai, [chunkOf({}, theirs)]))).toMatchObject({
      status: 502,
      code: theirs,
    })
  })

  test('DeepSeek’s word for what it had cached', () => {
    const usage = { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10, prompt_cache_hit_tokens: 4 }
    const answer = whole(openai, { ...chunkOf({ content: 'x' }, 'stop'), usage })
    expect(answer.usage?.prompt_tokens_details).toEqual({ cached_tokens: 4 })
  })

  test('who refuses to be asked for usage is not asked', () => {
    const asked: Chat = {
      model: 'm',
      messages: user('x'),
      stream: true,
      stream_options: { include_usage: true },
    }
    const bodyOf = (slug: string) => table[slug]?.dialect?.request(asked, notesOf()).body
    expect(bodyOf('openai')).toHaveProperty('stream_options')
    expect(bodyOf('mistral')).not.toHaveProperty('stream_options')
  })
})

describe('a request in its provider’s own API', () => {
  test.each([
    [
      'chat',
      openai,
      { messages: [{ role: 'assistant', content: [{ type: 'text', text: 'x' }], tool_calls: [] }] },
    ],
    [
      'messages',
      anthropic,
      { messages: [{ role: 'assistant', content: [{ type: 'thinking', thinking: 'x', signature: 's' }] }] },
    ],
    [
      'responses',
      responses,
      { input: [{ type: 'reasoning', id: 'rs_68af', encrypted_content: 'gAAA' }, 'x'] },
    ],
    ['embeddings', openai, { input: 'x' }],
    ['chat', openai, { messages: 'no list' }],
    ['messages', anthropic, { messages: [null, 7, { role: 'user', content: 'x' }] }],
  ] as const)('%s: stays the very object where there is nothing to leave out', (api, dialect, body) => {
    const notes = notesOf()
    expect(dialect.tidy?.(api, body, notes)).toBe(body)
    expect(notes.dropped).toEqual([])
  })

  const marked = {
    model: 'm',
    messages: [
      { role: 'system', content: [{ type: 'text', text: 'Long.', cache_control: { type: 'ephemeral' } }] },
      {
        role: 'assistant',
        content: null,
        reasoning_content: 'Hm.',
        reasoning_details: [{ type: 'reasoning.text', text: 'Hm.' }],
        tool_calls: [
          {
            index: 0,
            id: `toolu_${'0123456789'.repeat(5)}`,
            type: 'function',
            function: { name: 'f', arguments: '{"cache_control":1}' },
            extra_content: { google: { thought_signature: 's' } },
          },
        ],
      },
      { role: 'tool', tool_call_id: `toolu_${'0123456789'.repeat(5)}`, content: 'x' },
    ],
    tools: [{ type: 'function', function: { name: 'f', parameters: { properties: { cache_control: {} } } } }],
  }

  test.each(['openai', 'azure-openai', 'mistral', 'groq', 'cerebras'])(
    '%s: what others left goes, and is told',
    (slug) => {
      const notes = notesOf()
      const body = table[slug]?.dialect?.tidy?.('chat', marked, notes) as typeof marked
      expect(body.messages[1]).toEqual({
        role: 'assistant',
        content: null,
        tool_calls: [
          {
            id: '0123456789'.repeat(4),
            type: 'function',
            function: { name: 'f', arguments: '{"cache_control":1}' },
          },
        ],
      })
      expect(body.messages[2]?.tool_call_id).toBe('0123456789'.repeat(4))
      expect(body.messages[0]?.content).toEqual([{ type: 'text', text: 'Long.' }])
      expect(body.tools).toEqual(marked.tools)
      expect(notes.dropped.toSorted()).toEqual(
        ['cache_control', 'extra_content', 'index', 'reasoning_content', 'reasoning_details'].toSorted(),
      )
    },
  )

  test.each(['deepseek', 'openrouter', 'vllm', 'xai'])('%s takes it as it is', (slug) => {
    expect(table[slug]?.dialect?.tidy).toBeUndefined()
  })

  test('Anthropic gets its own thoughts back, and no other’s', () => {
    const notes = notesOf()
    const thought = (signature: string) => ({ type: 'thinking', thinking: 'x', signature })
    const turns = [
      { role: 'user', content: 'x' },
      { role: 'assistant', content: [thought('google-gemini-v1#s'), { type: 'text', text: 'y' }] },
      { role: 'assistant', content: [thought('')] },
      {
        role: 'assistant',
        content: [thought('ErUB'), { type: 'tool_use', id: 'functions.f:0', name: 'f', input: {} }],
      },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'functions.f:0', content: 'z' }] },
    ]
    const thinking = { type: 'enabled', budget_tokens: 2_000 }
    const body = anthropic.tidy?.('messages', { model: 'm', messages: turns, thinking }, notes)
    expect(body).toEqual({
      model: 'm',
      thinking,
      messages: [
        { role: 'user', content: 'x' },
        { role: 'assistant', content: [{ type: 'text', text: 'y' }] },
        {
          role: 'assistant',
          content: [thought('ErUB'), { type: 'tool_use', id: 'functions_f_0', name: 'f', input: {} }],
        },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'functions_f_0', content: 'z' }] },
      ],
    })
    expect(notes.dropped).toEqual(['thinking'])
  })

  test('OpenAI gets its own reasoning back, and no other’s', () => {
    const item = (id: string, encrypted_content: string | null) => ({
      type: 'reasoning',
      id,
      summary: [],
      encrypted_content,
    })
    const input = [
      item('rs_68a', 'gAAA'),
      item('rs_0_msg', null),
      item('rs_1', 'anthropic-claude-v1/signature#s'),
      item('rs_68b', null),
    ]
    const body = openai.tidy?.('responses', { input }, notesOf()) as { input: unknown }
    expect(body.input).toEqual([input[0], input[3]])
  })
})

describe('Gemini', () => {
  test('the calls of several choices are counted by themselves', () => {
    const call = (name: string) => ({ functionCall: { name, args: {} } })
    const candidates = [0, 1].map((index) => ({
      index,
      content: { parts: [call(`a${index}`), call(`b${index}`)] },
      finishReason: 'STOP',
    }))
    const { choices } = whole(aiStudio, { candidates })
    expect(choices.map(({ message }) => message.tool_calls?.map((one) => one.function.name))).toEqual([
      ['a0', 'b0'],
      ['a1', 'b1'],
    ])
    expect(choices.map(({ finish_reason }) => finish_reason)).toEqual(['tool_calls', 'tool_calls'])
    const ids = choices.flatMap(({ message }) => message.tool_calls ?? []).map(({ id }) => id)
    expect(new Set(ids).size).toBe(4)
  })

  test.each([
    ['MAX_TOKENS', 'length'],
    ['SAFETY', 'content_filter'],
    ['RECITATION', 'content_filter'],
    ['PROHIBITED_CONTENT', 'content_filter'],
    ['IMAGE_SAFETY', 'content_filter'],
    ['STOP', 'stop'],
    ['FUNCTION_CALL', 'stop'],
    ['OTHER', 'length'],
    ['NO_IMAGE', 'length'],
    ['FINISH_REASON_UNSPECIFIED', 'length'],
  ])('to finish for %s is to finish for %s', (finishReason, ours) => {
    const answer = { candidates: [{ content: { parts: [{ text: 'x' }] }, finishReason }] }
    expect(whole(aiStudio, answer).choices[0]?.finish_reason).toBe(ours)
  })

  test.each(['MALFORMED_FUNCTION_CALL', 'UNEXPECTED_TOOL_CALL', 'MISSING_THOUGHT_SIGNATURE'])(
    'to finish for %s is to fail',
    (finishReason) => {
      const answer = { candidates: [{ finishReason }] }
      expect(catchFailure(() => whole(aiStudio, answer))).toMatchObject({ status: 502, code: finishReason })
    },
  )

  test('the id of a call that has none is short enough for whoever comes next', () => {
    const long = { ...base, id: 'chatcmpl-0199aaaa-0000-7000-8000-0123456789ab' }
    const answer = {
      candidates: [{ content: { parts: [{ functionCall: { name: 'f' } }] }, finishReason: 'STOP' }],
    }
    const [chunk] = toChunks(aiStudio, answer, long)
    expect(chunk?.choices[0]?.delta.tool_calls?.[0]?.id).toMatch(/^[\w-]{10,40}$/)
  })

  test('a result of no call is refused here', () => {
    const asked = { model: 'm', messages: [{ role: 'tool', tool_call_id: 'x', content: 'y' } as const] }
    expect(catchFailure(() => aiStudio.request(asked, notesOf()))).toMatchObject({
      status: 400,
      param: 'messages.tool_call_id',
    })
  })
})

describe('Workers AI', () => {
  test('a token of digits comes as a number', () => {
    const { choices } = whole(workersAi, { result: { response: 42 } })
    expect(choices[0]?.message.content).toBe('42')
  })
})

describe('Converse', () => {
  test('points in the cache stand beside a result', () => {
    const content = [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral' } }] as const
    const asked: Chat = { model: 'claude', messages: [{ role: 'tool', tool_call_id: 'a', content }] }
    expect(bedrock.request(asked, notesOf()).body).toMatchObject({
      messages: [
        {
          role: 'user',
          content: [
            { toolResult: { toolUseId: 'a', content: [{ text: 'x' }] } },
            { cachePoint: { type: 'default' } },
          ],
        },
      ],
    })
  })

  test.each([
    ['none', undefined],
    ['minimal', 'low'],
    ['max', 'high'],
    ['medium', 'medium'],
  ] as const)('Nova’s word for the effort %s', (reasoning_effort, ours) => {
    const { body } = bedrock.request(
      { model: 'us.amazon.nova-2-lite-v1:0', messages: user('x'), reasoning_effort },
      notesOf(),
    )
    const { reasoningConfig } = (body.additionalModelRequestFields ?? {}) as { reasoningConfig?: Json }
    expect(reasoningConfig?.maxReasoningEffort).toBe(ours)
  })

  test('names of documents hold what AWS allows', () => {
    const file = { file_data: 'data:application/pdf;base64,JVBERi0=', filename: 'my  paper_v2.1 (é).pdf' }
    const asked: Chat = { model: 'm', messages: [{ role: 'user', content: [{ type: 'file', file }] }] }
    expect(JSON.stringify(bedrock.request(asked, notesOf()).body)).toContain('"name":"my paper v2 1 ( )"')
  })
})

describe('Cohere', () => {
  test('the sources of a plan are none of the text’s', () => {
    const citation = (type: string) => ({ type, start: 0, end: 3, text: 'abc', sources: [{ id: 's' }] })
    const answer = {
      message: { content: [{ text: 'abc' }], citations: ['PLAN', 'TEXT_CONTENT'].map(citation) },
      finish_reason: 'COMPLETE',
    }
    expect(whole(cohere, answer).choices[0]?.message.annotations).toHaveLength(1)
  })
})

describe('what a client says', () => {
  test.each([
    ['chat', chat, { messages: [{ role: 'user', content: 'x', name: 'Ann' }] }, undefined, ['messages.name']],
    [
      'chat',
      chat,
      { messages: [{ role: 'assistant', content: 'x', function_call: { name: 'f' } }] },
      'messages.function_call',
    ],
    ['chat', chat, { messages: [{ role: 'assistant', audio: { id: 'a' } }] }, 'messages.audio'],
    [
      'chat',
      chat,
      { messages: [{ role: 'assistant', content: 'x', refusal: null, audio: null, annotations: [] }] },
      undefined,
      [],
    ],
    [
      'messages',
      messages,
      { messages: [], max_tokens: 9, tools: [{ name: 'f', input_schema: {}, defer_loading: true }] },
      'tools.0.defer_loading',
    ],
    [
      'messages',
      messages,
      {
        messages: [],
        max_tokens: 9,
        tools: [{ type: 'web_search_20250305', name: 'web_search', max_uses: 2 }],
      },
      'tools.0.max_uses',
    ],
    [
      'messages',
      messages,
      { messages: [], max_tokens: 9, thinking: { type: 'between_tools' } },
      'thinking.type',
    ],
    [
      'responses',
      answerResponses,
      { input: [], tools: [{ type: 'file_search', vector_store_ids: [] }] },
      'tools.0.type',
    ],
    ['responses', answerResponses, { input: [], previous_response_id: 'resp_1' }, 'previous_response_id'],
  ] as const)('%s: is passed on, told or refused: %#', (_, api, body, refused, dropped = []) => {
    const notes = notesOf()
    const ask = () => api.request({ model: 'm', ...body }, notes)
    if (refused) {
      expect(catchFailure(ask)).toMatchObject({ status: 400, param: refused })
      return
    }
    ask()
    expect(notes.dropped).toEqual(dropped)
  })

  test('images by an id of another vendor are refused', () => {
    const source = { type: 'file', file_id: 'file_1' }
    const asked = {
      model: 'm',
      max_tokens: 9,
      messages: [{ role: 'user', content: [{ type: 'image', source }] }],
    }
    expect(catchFailure(() => messages.request(asked, notesOf()))).toMatchObject({ status: 400 })
    const input = [{ role: 'user', content: [{ type: 'input_image', file_id: 'file_1' }] }]
    expect(catchFailure(() => answerResponses.request({ model: 'm', input }, notesOf()))).toMatchObject({
      status: 400,
    })
  })

  test('a result’s mark to cache is on its last part', () => {
    const cache_control = { type: 'ephemeral' }
    const content = [{ type: 'tool_result', tool_use_id: 'a', content: 'x', cache_control }]
    const read = messages.request(
      { model: 'm', max_tokens: 9, messages: [{ role: 'user', content }] },
      notesOf(),
    )
    expect(read.messages[0]?.content).toEqual([{ type: 'text', text: 'x', cache_control }])
  })
})

describe('Anthropic', () => {
  test.each([
    ['claude-3-haiku-20240307', 4_096],
    ['claude-3-7-sonnet-latest', 8_192],
    ['claude-opus-4-1', 32_000],
    ['claude-sonnet-5', 32_000],
  ])('the maximum of %s where none is asked for', (model, max_tokens) => {
    expect(anthropic.request({ model, messages: user('x') }, notesOf()).body).toMatchObject({ max_tokens })
  })

  test('files of text are texts', () => {
    const file = { file_data: `data:text/csv;base64,${btoa('a,b')}`, filename: 'a.csv' }
    const asked: Chat = { model: 'm', messages: [{ role: 'user', content: [{ type: 'file', file }] }] }
    expect(anthropic.request(asked, notesOf()).body).toMatchObject({
      messages: [
        { content: [{ type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'a,b' } }] },
      ],
    })
  })
})

test.each([
  ['overloaded_error', 529],
  ['RESOURCE_EXHAUSTED', 429],
  ['throttlingException', 429],
  ['insufficient_quota', 429],
  ['UNAVAILABLE', 503],
  ['DEADLINE_EXCEEDED', 504],
  ['modelTimeoutException', 504],
  ['request_too_large', 413],
  ['FAILED_PRECONDITION', 400],
  ['validationException', 400],
  ['context_length_exceeded', 400],
  ['something', 500],
])('an error inside a stream that is called %s has the status %i', (type, status) => {
  expect(readFailure({ error: { type, message: 'x' } }).status).toBe(status)
})

test('translations are of one name where they make the same', () => {
  const nameOf = (api: typeof chat, asked: Partial<Chat>) =>
    createTranslation({ api, dialect: anthropic, chat: { model: 'm', messages: [], ...asked }, base }).name()
  expect(nameOf(chat, { stream: true })).toBe(nameOf(chat, { stream: true, temperature: 1 }))
  expect(nameOf(chat, { stream: true, stream_options: { include_usage: true } })).not.toBe(
    nameOf(chat, { stream: true }),
  )
  expect(nameOf(answerResponses, { temperature: 1 })).not.toBe(nameOf(answerResponses, {}))
  expect(nameOf(answerResponses, {})).not.toBe(nameOf(messages, {}))
})

test('a follower that is nobody’s takes what it is sent', () => {
  expect(likeOpenai().tidy).toBeUndefined()
  expect(likeOpenai({ isStrict: true }).tidy).toBeDefined()
})
