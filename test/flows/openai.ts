import OpenAI from 'openai'
import { clock } from '../prompt.ts'
import {
  call,
  check,
  checkStops,
  endless,
  type Flow,
  faultOf,
  json,
  leaveStream,
  model,
  said,
  sse,
  streamOf,
  told,
  user,
  type Way,
} from './kit.ts'

const openaiOf = ({ url, fetch }: Way, more: object = {}): OpenAI =>
  new OpenAI({
    apiKey: 'k',
    maxRetries: 0,
    baseURL: url('openai'),
    fetch,
    dangerouslyAllowBrowser: true,
    ...more,
  })

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
/** A streamed call of a tool. */
export const toolStream: string = `${streamOf([...toolChunks, toolEnd])}data: [DONE]\n\n`
const chatTools = [
  {
    type: 'function' as const,
    function: { name: 'weather', parameters: { type: 'object', properties: {} } },
  },
]

/** The official client of OpenAI. */
export const openaiFlows: Flow[] = [
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
      await checkStops(way, async (key) => {
        const asked = { model: endless(key), messages: user('x'), stream: true } as const
        return leaveStream(way, await client.chat.completions.create(asked))
      })
      await checkStops(way, async (key) => {
        const controller = new AbortController()
        const asked = client.chat.completions.create(
          { model: `emulate?hang=headers&key=${key}`, messages: user('x') },
          { signal: controller.signal },
        )
        await fetch(`${way.upstream}/ledger/seen?key=${key}`)
        const left = await clock(way)
        controller.abort()
        check((await faultOf(asked)) instanceof OpenAI.APIUserAbortError, 'abort')
        return left
      })
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
