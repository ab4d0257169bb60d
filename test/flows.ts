import { createOpenAI } from '@ai-sdk/openai'
import Anthropic from '@anthropic-ai/sdk'
import { generateText, jsonSchema, streamText, tool } from 'ai'
import OpenAI from 'openai'
import type { Fetch } from '../src/client/index.ts'
import type { Control } from './upstream/control.ts'
import type { Entry } from './upstream/ledger.ts'

/** Through what an SDK reaches the emulator, and where the emulator tells what it saw. */
export interface Way {
  /** Base URL of a provider. */
  url(provider: string): string
  readonly fetch: Fetch
  /** URL of the emulator itself. */
  readonly upstream: string
  /** A label that no other flow has, for the ledger. */
  newKey(): string
}

/** What one SDK does for its users; rejects where that fails. Runs in any runtime, a page included. */
export interface Flow {
  readonly name: string
  run(way: Way): Promise<void>
}

const cancelMs = 100
const model = 'm'
const user = (content: string): [{ role: 'user'; content: string }] => [{ role: 'user', content }]
const said = 'You said: hello'

function check(holds: boolean, what: unknown): void {
  if (!holds) throw new Error(`not as expected: ${JSON.stringify(what)}`)
}

/** What a call rejects with. */
async function faultOf(
  work: PromiseLike<unknown>,
): Promise<{ status?: number; name: string; statusCode?: number }> {
  try {
    await work
  } catch (error) {
    return error as Error
  }
  throw new Error('did not fail')
}

/** Headers with which the emulator does as it is told. */
const told = (control: Control): Record<string, string> => ({ 'x-upstream': JSON.stringify(control) })

/** The provider's connection has closed within 100 ms of `left`. */
async function checkStopped({ upstream }: Way, key: string, left: number): Promise<void> {
  const response = await fetch(`${upstream}/ledger/closed?key=${key}&timeout=5000`)
  const entry = (await response.json()) as Entry | null
  check(entry?.how === 'client_closed' && (entry.closedAt ?? Number.NaN) - left <= cancelMs, entry)
}

const now = (): number => performance.timeOrigin + performance.now()
const endless = (key: string): string => `emulate?interval=20&events=500&key=${key}`

const openaiOf = ({ url, fetch }: Way, more: object = {}): OpenAI =>
  new OpenAI({
    apiKey: 'k',
    maxRetries: 0,
    baseURL: url('openai'),
    fetch,
    dangerouslyAllowBrowser: true,
    ...more,
  })

const call = { name: 'weather', arguments: '{"city":"Oslo"}' }
const toolChat = {
  id: 'c',
  object: 'chat.completion',
  created: 1,
  model,
  choices: [
    {
      index: 0,
      finish_reason: 'tool_calls',
      message: {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 't1', type: 'function', function: call }],
      },
    },
  ],
}
const toolChunks = [
  {
    role: 'assistant',
    tool_calls: [{ index: 0, id: 't1', type: 'function', function: { ...call, arguments: '' } }],
  },
  { tool_calls: [{ index: 0, function: { arguments: '{"city":' } }] },
  { tool_calls: [{ index: 0, function: { arguments: '"Oslo"}' } }] },
].map((delta) => ({
  id: 'c',
  object: 'chat.completion.chunk',
  created: 1,
  model,
  choices: [{ index: 0, delta }],
}))
const toolEnd = { ...toolChunks[0], choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] }
const json = { 'content-type': 'application/json' }
const sse = { 'content-type': 'text/event-stream' }
const streamOf = (events: readonly object[], named = false): string =>
  events
    .map(
      (data) => `${named && 'type' in data ? `event: ${data.type}\n` : ''}data: ${JSON.stringify(data)}\n\n`,
    )
    .join('')
const toolStream = `${streamOf([...toolChunks, toolEnd])}data: [DONE]\n\n`
const chatTools = [
  {
    type: 'function' as const,
    function: { name: 'weather', parameters: { type: 'object', properties: {} } },
  },
]

const openaiFlows: Flow[] = [
  {
    name: 'openai: chat, streamed and not',
    async run(way) {
      const client = openaiOf(way)
      const whole = await client.chat.completions.create({ model, messages: user('hello') })
      check(whole.choices[0]?.message.content?.includes(said) === true, whole)
      let text = ''
      for await (const chunk of await client.chat.completions.create({
        model,
        messages: user('hello'),
        stream: true,
      }))
        text += chunk.choices[0]?.delta.content ?? ''
      check(text === whole.choices[0]?.message.content, text)
    },
  },
  {
    name: 'openai: responses, embeddings, models and files',
    async run(way) {
      const client = openaiOf(way)
      const stream = client.responses.stream({ model, input: 'hello' })
      check((await stream.finalResponse()).output_text.includes(said), 'responses')
      const embedding = await client.embeddings.create({ model, input: 'x' })
      check(String(embedding.data[0]?.embedding) === '0.25,-0.5,0.75', embedding)
      check((await client.models.list()).data[0]?.object === 'model', 'models')
      const file = new File([Uint8Array.from({ length: 100_000 }, (_, index) => index)], 'a.bin')
      const echo = (await client.files.create({ file, purpose: 'user_data' })) as unknown as {
        bodyBytes: number
      }
      check(echo.bodyBytes > 100_000, echo)
    },
  },
  {
    name: 'openai: tool calls, streamed and not',
    async run(way) {
      const asked = { model, messages: user('hello'), tools: chatTools }
      const single = openaiOf(way, {
        defaultHeaders: told({ text: JSON.stringify(toolChat), headers: json }),
      })
      const whole = await single.chat.completions.create(asked)
      const [found] = whole.choices[0]?.message.tool_calls ?? []
      check(found?.type === 'function' && found.function.arguments === call.arguments, whole)
      const streaming = openaiOf(way, { defaultHeaders: told({ text: toolStream, headers: sse }) })
      const final = await streaming.chat.completions.stream(asked).finalChatCompletion()
      const [streamed] = final.choices[0]?.message.tool_calls ?? []
      check(streamed?.type === 'function' && streamed.function.arguments === call.arguments, final)
    },
  },
  {
    name: 'openai: an aborted stream, and an aborted wait, stop the provider',
    async run(way) {
      const client = openaiOf(way)
      const [key, hung] = [way.newKey(), way.newKey()]
      const stream = await client.chat.completions.create({
        model: endless(key),
        messages: user('x'),
        stream: true,
      })
      for await (const _ of stream) break
      await checkStopped(way, key, now())
      const controller = new AbortController()
      const asked = client.chat.completions.create(
        { model: `emulate?hang=headers&key=${hung}`, messages: user('x') },
        { signal: controller.signal },
      )
      await fetch(`${way.upstream}/ledger/seen?key=${hung}`)
      controller.abort()
      const left = now()
      check((await faultOf(asked)) instanceof OpenAI.APIUserAbortError, 'abort')
      await checkStopped(way, hung, left)
    },
  },
  {
    name: "openai: errors are the SDK's own",
    async run(way) {
      const client = openaiOf(way)
      for (const status of [400, 401, 429, 500]) {
        const fault = await faultOf(
          client.chat.completions.create({ model: `emulate?status=${status}`, messages: user('x') }),
        )
        check(fault instanceof OpenAI.APIError && fault.status === status, fault)
      }
      const nobody = openaiOf(way, { baseURL: way.url('nobody') })
      check((await faultOf(nobody.models.list())).status === 400, 'the gateway’s own')
      const cut = await client.chat.completions.create({
        model: 'emulate?cut=3',
        messages: user('a b c d e f'),
        stream: true,
      })
      await faultOf(
        (async () => {
          for await (const _ of cut);
        })(),
      )
    },
  },
]

const anthropicOf = ({ url, fetch }: Way, more: object = {}): Anthropic =>
  new Anthropic({
    apiKey: 'k',
    maxRetries: 0,
    baseURL: url('anthropic'),
    fetch,
    dangerouslyAllowBrowser: true,
    ...more,
  })
const message = { model, max_tokens: 100, messages: user('hello') }
const toolUse = { type: 'tool_use', id: 't1', name: 'weather', input: {} }
const toolMessage = {
  id: 'm1',
  type: 'message',
  role: 'assistant',
  model,
  content: [],
  stop_reason: null,
  stop_sequence: null,
  usage: { input_tokens: 1, output_tokens: 1 },
}
const toolEvents = [
  { type: 'message_start', message: toolMessage },
  { type: 'content_block_start', index: 0, content_block: toolUse },
  ...['{"city":', '"Oslo"}'].map((partial_json) => ({
    type: 'content_block_delta',
    index: 0,
    delta: { type: 'input_json_delta', partial_json },
  })),
  { type: 'content_block_stop', index: 0 },
  {
    type: 'message_delta',
    delta: { stop_reason: 'tool_use', stop_sequence: null },
    usage: { output_tokens: 9 },
  },
  { type: 'message_stop' },
]

const anthropicFlows: Flow[] = [
  {
    name: 'anthropic: messages, streamed and not',
    async run(way) {
      const client = anthropicOf(way)
      const whole = await client.messages.create(message)
      check(JSON.stringify(whole.content).includes(said), whole)
      const final = await client.messages.stream(message).finalMessage()
      check(JSON.stringify(final.content) === JSON.stringify(whole.content), final)
    },
  },
  {
    name: 'anthropic: tool use',
    async run(way) {
      const client = anthropicOf(way, {
        defaultHeaders: told({ text: streamOf(toolEvents, true), headers: sse }),
      })
      const tools = [{ name: 'weather', input_schema: { type: 'object' as const } }]
      const final = await client.messages.stream({ ...message, tools }).finalMessage()
      check(final.stop_reason === 'tool_use', final)
      check(JSON.stringify(final.content[0]).includes('"input":{"city":"Oslo"}'), final)
    },
  },
  {
    name: "anthropic: an aborted stream stops the provider, errors are the SDK's own",
    async run(way) {
      const client = anthropicOf(way)
      const key = way.newKey()
      const stream = await client.messages.create({ ...message, model: endless(key), stream: true })
      for await (const _ of stream) break
      await checkStopped(way, key, now())
      const fault = await faultOf(client.messages.create({ ...message, model: 'emulate?status=529' }))
      check(fault instanceof Anthropic.APIError && fault.status === 529, fault)
    },
  },
]

const aiFlows: Flow[] = [
  {
    name: 'ai: generateText and streamText, chat and responses',
    async run({ url, fetch }) {
      const openai = createOpenAI({ apiKey: 'k', baseURL: url('openai'), fetch })
      for (const one of [openai.chat('m'), openai.responses('m')]) {
        const { text } = await generateText({ model: one, prompt: 'hello', maxRetries: 0 })
        check(text.includes(said), text)
        check((await streamText({ model: one, prompt: 'hello', maxRetries: 0 }).text) === text, 'the stream')
      }
    },
  },
  {
    name: 'ai: tool calls',
    async run({ url, fetch }) {
      const headers = told({ text: toolStream, headers: sse })
      const openai = createOpenAI({ apiKey: 'k', baseURL: url('openai'), fetch, headers })
      const weather = tool({ inputSchema: jsonSchema<{ city: string }>({ type: 'object' }) })
      const result = streamText({
        model: openai.chat('m'),
        prompt: 'hello',
        maxRetries: 0,
        tools: { weather },
      })
      const [found] = await result.toolCalls
      check(JSON.stringify(found?.input) === call.arguments, found)
    },
  },
  {
    name: "ai: an aborted stream stops the provider, errors are the SDK's own",
    async run(way) {
      const openai = createOpenAI({ apiKey: 'k', baseURL: way.url('openai'), fetch: way.fetch })
      const [key, controller] = [way.newKey(), new AbortController()]
      const { textStream } = streamText({
        model: openai.chat(endless(key)),
        prompt: 'x',
        maxRetries: 0,
        abortSignal: controller.signal,
      })
      for await (const _ of textStream) break
      controller.abort()
      await checkStopped(way, key, now())
      const model = openai.chat('emulate?status=500')
      const fault = await faultOf(generateText({ model, prompt: 'x', maxRetries: 0 }))
      check(fault.name === 'AI_APICallError' && fault.statusCode === 500, fault)
    },
  },
]

/** Chat, streams, tool calls, aborts and errors of the official SDKs. */
export const flows: readonly Flow[] = [...openaiFlows, ...anthropicFlows, ...aiFlows]

/** Streams of 50 events at once, each byte for byte what the emulator itself says. */
export async function runStreams({ url, fetch: through, upstream }: Way, count: number): Promise<void> {
  const control = { events: 50, comments: true }
  const ask = (send: Fetch, base: string, text: string, more: Control) =>
    send(`${base}/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model, stream: true, messages: user(text) }),
      headers: { ...json, ...told({ ...control, ...more }) },
    }).then((response) => response.text())
  const texts = Array.from({ length: count }, (_, index) => `stream ${index} é`)
  await Promise.all(
    texts.map(async (text) => {
      const got = await ask(through, url('openai'), text, { interval: 20 })
      const expected = await ask(fetch, `${upstream}/openai`, text, {})
      check(got === expected, `${text}: ${got.length} of ${expected.length}`)
    }),
  )
}
