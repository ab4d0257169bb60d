import { Anthropic } from '@anthropic-ai/sdk'
import { EventStreamCodec } from '@smithy/eventstream-codec'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { assemble } from '../../src/observe/assemble/assemble.ts'
import { messages } from '../upstream/anthropic.ts'
import { gemini } from '../upstream/gemini.ts'
import { chat } from '../upstream/openai.ts'
import { responses } from '../upstream/responses.ts'
import type { Wire } from '../upstream/wires.ts'
import { workersAi } from '../upstream/workers-ai.ts'

const sse = 'text/event-stream; charset=utf-8'
const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

function toText(events: readonly { event?: string; data: unknown }[]): string {
  const blocks = events.map(
    ({ event, data }) => `${event ? `event: ${event}\n` : ''}data: ${JSON.stringify(data)}\n\n`,
  )
  return `: hello\n\n${blocks.join('')}data: [DONE]\n\n`
}

const made = (text: string, type = sse): unknown => JSON.parse(assemble(type, encode(text)) ?? 'null')
const madeOf = (...events: object[]): unknown => made(toText(events.map((data) => ({ data }))))

describe('a stream’s events come to the answer that the same provider gives in one piece', () => {
  const say = { words: ['one ', 'twö ', '"three"\n', '🙂'], calls: [], thought: '', model: 'm' }
  const wires: [string, Wire][] = [
    ['OpenAI chat', chat],
    ['OpenAI responses', responses],
    ['Anthropic messages', messages],
    ['Gemini', gemini],
    ['Workers AI', workersAi],
  ]

  test.each(wires)('%s', (_, wire) => {
    const body = { model: 'm', stream: true, stream_options: { include_usage: true } }
    const single = JSON.parse(JSON.stringify(wire.single(say, body)), (key, value) =>
      key === 'annotations' || key === 'citations' ? undefined : value,
    )
    expect(made(toText(wire.stream(say, body)))).toMatchObject(single)
  })

  test.each(wires)('%s, cut anywhere: what came, and never a fault', (_, wire) => {
    const bytes = encode(toText(wire.stream(say, { stream: true })))
    for (let end = 0; end < bytes.length; end += 1) {
      const text = assemble(sse, bytes.subarray(0, end))
      if (text === undefined) continue
      expect(() => JSON.parse(text)).not.toThrow()
    }
    const half = assemble(sse, bytes.subarray(0, Math.ceil(bytes.length * 0.6)))
    expect(half).toContain('one')
  })
})

const chunk = (delta: object, more: object = {}) => ({
  id: 'c',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [{ index: 0, delta, logprobs: null, finish_reason: null, ...more }],
})
const toolChunks = [
  chunk({ role: 'assistant', content: null }),
  chunk({ tool_calls: [{ index: 0, id: 'a', type: 'function', function: { name: 'add', arguments: '' } }] }),
  chunk({ tool_calls: [{ index: 0, function: { arguments: '{"x":' } }] }),
  chunk({
    tool_calls: [{ index: 1, id: 'b', type: 'function', function: { name: 'sub', arguments: '{}' } }],
  }),
  chunk({ tool_calls: [{ index: 0, function: { arguments: '1}' } }] }),
  chunk({}, { finish_reason: 'tool_calls' }),
]

describe('OpenAI', () => {
  test('tool calls: what the official SDK makes of the same chunks', async () => {
    const client = new OpenAI({
      apiKey: 'k',
      fetch: async () =>
        new Response(toText(toolChunks.map((data) => ({ data }))), { headers: { 'content-type': sse } }),
    })
    const runner = client.chat.completions.stream({ model: 'm', messages: [] })
    const [choice] = (await runner.finalChatCompletion()).choices
    const own = madeOf(...toolChunks) as OpenAI.ChatCompletion
    expect(own.object).toBe('chat.completion')
    expect(own.choices[0]?.finish_reason).toBe(choice?.finish_reason)
    expect(own.choices[0]?.message.tool_calls).toEqual(
      choice?.message.tool_calls?.map((call) => ({
        id: call.id,
        type: call.type,
        function: call.type === 'function' && {
          name: call.function.name,
          arguments: call.function.arguments,
        },
      })),
    )
  })

  test('reasoning, refusals, several choices and logprobs', () => {
    const one = { object: 'chat.completion.chunk', choices: [{ index: 1, delta: { content: 'b' } }] }
    const own = madeOf(
      chunk({ role: 'assistant', reasoning_content: 'let ' }),
      chunk({ reasoning_content: 'me' }),
      one,
      chunk({ content: 'x' }, { logprobs: { content: [{ token: 'x' }] } }),
      chunk(
        { content: 'y', refusal: 'no' },
        { logprobs: { content: [{ token: 'y' }] }, finish_reason: 'stop' },
      ),
      { ...one, choices: [], usage: { prompt_tokens: 1 } },
    )
    expect(own).toMatchObject({
      choices: [
        {
          index: 0,
          message: { role: 'assistant', reasoning_content: 'let me', content: 'xy', refusal: 'no' },
          logprobs: { content: [{ token: 'x' }, { token: 'y' }] },
          finish_reason: 'stop',
        },
        { index: 1, message: { content: 'b' } },
      ],
      usage: { prompt_tokens: 1 },
    })
  })

  test('responses that were cut: items, arguments and summaries as far as they came', () => {
    const own = madeOf(
      { type: 'response.created', response: { id: 'r', status: 'in_progress', output: [] } },
      { type: 'response.output_item.added', output_index: 0, item: { type: 'reasoning', summary: [] } },
      {
        type: 'response.reasoning_summary_part.added',
        output_index: 0,
        summary_index: 0,
        part: { text: '' },
      },
      { type: 'response.reasoning_summary_text.delta', output_index: 0, summary_index: 0, delta: 'hm' },
      { type: 'response.output_item.added', output_index: 1, item: { type: 'function_call', arguments: '' } },
      { type: 'response.function_call_arguments.delta', output_index: 1, delta: '{"a"' },
      { type: 'response.output_item.added', output_index: 2, item: { type: 'message', content: [] } },
      {
        type: 'response.content_part.added',
        output_index: 2,
        content_index: 0,
        part: { type: 'output_text', text: '' },
      },
      { type: 'response.output_text.delta', output_index: 2, content_index: 0, delta: 'He' },
    )
    expect(own).toEqual({
      id: 'r',
      status: 'in_progress',
      output: [
        { type: 'reasoning', summary: [{ text: 'hm' }] },
        { type: 'function_call', arguments: '{"a"' },
        { type: 'message', content: [{ type: 'output_text', text: 'He' }] },
      ],
    })
  })
})

const messageEvents = [
  {
    type: 'message_start',
    message: {
      id: 'm',
      type: 'message',
      role: 'assistant',
      model: 'c',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: 5, output_tokens: 1 },
    },
  },
  { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'So' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: ' …' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 'sig' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'content_block_start', index: 1, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 1, delta: { type: 'text_delta', text: 'Hi' } },
  { type: 'content_block_stop', index: 1 },
  {
    type: 'content_block_start',
    index: 2,
    content_block: { type: 'tool_use', id: 't', name: 'add', input: {} },
  },
  { type: 'content_block_delta', index: 2, delta: { type: 'input_json_delta', partial_json: '{"x":' } },
  { type: 'content_block_delta', index: 2, delta: { type: 'input_json_delta', partial_json: ' 1}' } },
  { type: 'content_block_stop', index: 2 },
  {
    type: 'message_delta',
    delta: { stop_reason: 'tool_use', stop_sequence: null },
    usage: { output_tokens: 30 },
  },
  { type: 'message_stop' },
]

describe('Anthropic', () => {
  const named = (events: readonly { type: string }[]) =>
    toText(events.map((data) => ({ event: data.type, data })))

  test('thinking and tool use: what the official SDK makes of the same events', async () => {
    const client = new Anthropic({
      apiKey: 'k',
      fetch: async () => new Response(named(messageEvents), { headers: { 'content-type': sse } }),
    })
    const message = await client.messages.stream({ model: 'c', max_tokens: 9, messages: [] }).finalMessage()
    const { parsed_output: _, ...expected } = JSON.parse(JSON.stringify(message))
    expect(made(named(messageEvents))).toEqual(expected)
  })

  test('a call that was cut keeps the text of its input, an error its reason', () => {
    const error = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }
    const own = made(named([...messageEvents.slice(0, 11), error])) as { content: unknown[]; error: unknown }
    expect(own.content[2]).toEqual({ type: 'tool_use', id: 't', name: 'add', input: '{"x":' })
    expect(own.error).toEqual(error.error)
  })
})

describe('others', () => {
  test('Gemini: thoughts apart from texts, calls between them', () => {
    const piece = (...parts: object[]) => ({ candidates: [{ content: { role: 'model', parts }, index: 0 }] })
    const call = { functionCall: { name: 'f', args: { x: 1 } } }
    const own = madeOf(
      piece({ text: 'hm', thought: true }),
      piece({ text: ' …', thought: true }),
      piece({ text: 'A' }),
      piece({ text: 'B', thoughtSignature: 's' }),
      piece(call),
      { ...piece({ text: 'C' }), usageMetadata: { promptTokenCount: 1 }, modelVersion: 'g' },
    )
    expect(own).toEqual({
      candidates: [
        {
          content: {
            role: 'model',
            parts: [
              { text: 'hm …', thought: true },
              { text: 'AB', thoughtSignature: 's' },
              call,
              { text: 'C' },
            ],
          },
          index: 0,
        },
      ],
      usageMetadata: { promptTokenCount: 1 },
      modelVersion: 'g',
    })
  })

  test('Cohere: its second version with a tool call, and lines of its first', () => {
    const tool = { id: 't', type: 'function', function: { name: 'f', arguments: '' } }
    const own = madeOf(
      {
        type: 'message-start',
        id: 'i',
        delta: { message: { role: 'assistant', content: [], tool_plan: '', tool_calls: [], citations: [] } },
      },
      { type: 'tool-plan-delta', delta: { message: { tool_plan: 'I ' } } },
      { type: 'tool-plan-delta', delta: { message: { tool_plan: 'will' } } },
      { type: 'tool-call-start', index: 0, delta: { message: { tool_calls: tool } } },
      {
        type: 'tool-call-delta',
        index: 0,
        delta: { message: { tool_calls: { function: { arguments: '{}' } } } },
      },
      { type: 'tool-call-end', index: 0 },
      { type: 'content-start', index: 0, delta: { message: { content: { type: 'text', text: '' } } } },
      { type: 'content-delta', index: 0, delta: { message: { content: { text: 'Hi' } } } },
      { type: 'content-delta', index: 0, delta: { message: { content: { text: '!' } } } },
      { type: 'message-end', delta: { finish_reason: 'COMPLETE', usage: { tokens: { input_tokens: 1 } } } },
    )
    expect(own).toEqual({
      id: 'i',
      message: {
        role: 'assistant',
        content: [{ type: 'text', text: 'Hi!' }],
        tool_plan: 'I will',
        tool_calls: [{ ...tool, function: { name: 'f', arguments: '{}' } }],
        citations: [],
      },
      finish_reason: 'COMPLETE',
      usage: { tokens: { input_tokens: 1 } },
    })
    const lines = [
      { event_type: 'stream-start', generation_id: 'g' },
      { event_type: 'text-generation', text: 'Hi' },
    ].map((line) => JSON.stringify(line))
    expect(made(lines.join('\n'), 'application/stream+json')).toMatchObject({
      generation_id: 'g',
      text: 'Hi',
    })
    lines.push(JSON.stringify({ event_type: 'stream-end', response: { text: 'Hi', meta: {} } }))
    expect(made(lines.join('\n'), 'application/stream+json')).toEqual({ text: 'Hi', meta: {} })
  })

  const codec = new EventStreamCodec((bytes) => new TextDecoder().decode(bytes as Uint8Array), encode)
  const frames = (...events: object[]) =>
    Buffer.concat(events.map((event) => codec.encode({ headers: {}, body: encode(JSON.stringify(event)) })))
  const binary = 'application/vnd.amazon.eventstream'

  test('Converse: text, tool use and reasoning out of binary frames', () => {
    const body = frames(
      { role: 'assistant', p: 'abc' },
      { contentBlockIndex: 0, delta: { reasoningContent: { text: 'h' } } },
      { contentBlockIndex: 0, delta: { reasoningContent: { text: 'm' } } },
      { contentBlockIndex: 0, delta: { reasoningContent: { signature: 's' } } },
      { contentBlockIndex: 1, delta: { text: 'He' } },
      { contentBlockIndex: 1, delta: { text: 'llo' } },
      { contentBlockIndex: 2, start: { toolUse: { toolUseId: 't', name: 'f' } } },
      { contentBlockIndex: 2, delta: { toolUse: { input: '{"x"' } } },
      { contentBlockIndex: 2, delta: { toolUse: { input: ':1}' } } },
      { stopReason: 'tool_use' },
      { usage: { inputTokens: 1, outputTokens: 2, totalTokens: 3 }, metrics: { latencyMs: 9 } },
    )
    expect(JSON.parse(assemble(binary, body) ?? '')).toEqual({
      output: {
        message: {
          role: 'assistant',
          content: [
            { reasoningContent: { reasoningText: { text: 'hm', signature: 's' } } },
            { text: 'Hello' },
            { toolUse: { toolUseId: 't', name: 'f', input: { x: 1 } } },
          ],
        },
      },
      stopReason: 'tool_use',
      usage: { inputTokens: 1, outputTokens: 2, totalTokens: 3 },
      metrics: { latencyMs: 9 },
    })
    for (let end = 0; end < body.length; end += 7)
      expect(() => assemble(binary, body.subarray(0, end))).not.toThrow()
  })

  test('InvokeModel of Anthropic’s shape; of an unknown one the events, a line each', () => {
    const packed = (event: object) => ({
      bytes: Buffer.from(JSON.stringify(event)).toString('base64'),
      p: 'x',
    })
    const own = assemble(binary, frames(...messageEvents.map(packed)))
    expect(JSON.parse(own ?? '')).toMatchObject({
      stop_reason: 'tool_use',
      usage: { input_tokens: 5, output_tokens: 30 },
    })
    expect(assemble(binary, frames(packed({ generation: 'Hi' }), packed({ generation: '!' })))).toBe(
      '{"generation":"Hi"}\n{"generation":"!"}\n',
    )
  })

  test.each([
    [sse, 'data: {"some":"thing"}\n\n'],
    [sse, 'data: text\n\n'],
    ['application/json', '{"choices":[]}'],
    ['text/plain', 'data: {"choices":[]}'],
  ])('what is not known stays as it came: %s %j', (type, text) => {
    expect(assemble(type, encode(text))).toBeUndefined()
  })
})
