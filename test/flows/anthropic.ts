import Anthropic from '@anthropic-ai/sdk'
import {
  check,
  checkStops,
  endless,
  type Flow,
  faultOf,
  leaveStream,
  model,
  said,
  sse,
  streamOf,
  told,
  user,
  type Way,
} from './kit.ts'

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

/** The official client of Anthropic. */
export const anthropicFlows: Flow[] = [
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
      await checkStops(way, async (key) =>
        leaveStream(way, await client.messages.create({ ...message, model: endless(key), stream: true })),
      )
      const fault = await faultOf(client.messages.create({ ...message, model: 'emulate?status=529' }))
      check(fault instanceof Anthropic.APIError && fault.status === 529, fault)
    },
  },
]
