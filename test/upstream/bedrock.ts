import { EventStreamCodec } from '@smithy/eventstream-codec'
import { fromUtf8, toUtf8 } from '@smithy/util-utf8'
import {
  type Asked,
  checkNames,
  checkPairs,
  isSigned,
  listOf,
  type Say,
  signatureOf,
  Wrong,
} from './model.ts'
import { halves } from './openai.ts'
import { type Body, type Event, promptTokens, textOf } from './wire.ts'
import type { Wire } from './wires.ts'

const known =
  'messages system inferenceConfig toolConfig guardrailConfig additionalModelRequestFields promptVariables additionalModelResponseFieldPaths requestMetadata performanceConfig serviceTier outputConfig'

/** Amazon Bedrock's Converse and ConverseStream (API reference; its events are binary). */
export const bedrock: Wire = {
  done: false,
  framing: 'aws',
  ask: askConverse,
  error: (_status, message) => ({ message }),
  single: (say) => ({
    output: { message: { role: 'assistant', content: blocksOf(say).map(({ whole }) => whole) } },
    stopReason: stopOf(say),
    usage: toUsage(say),
    metrics: { latencyMs: 1 },
  }),
  stream: (say) => [
    { event: 'messageStart', data: { role: 'assistant', p: 'abcd' } },
    ...blocksOf(say).flatMap(({ start, deltas }, contentBlockIndex): Event[] => [
      ...(start ? [{ event: 'contentBlockStart', data: { contentBlockIndex, start } }] : []),
      ...deltas.map((delta) => ({ event: 'contentBlockDelta', data: { contentBlockIndex, delta, p: 'ab' } })),
      { event: 'contentBlockStop', data: { contentBlockIndex } },
    ]),
    { event: 'messageStop', data: { stopReason: stopOf(say) } },
    { event: 'metadata', data: { usage: toUsage(say), metrics: { latencyMs: 1 } } },
  ],
}

const codec = new EventStreamCodec(toUtf8, fromUtf8)

/** An event as AWS frames it, by AWS's own library. */
export function toFrame({ event = '', data }: Event): Uint8Array {
  const kind = event.endsWith('Exception') ? 'exception' : 'event'
  return codec.encode({
    headers: {
      [`:${kind}-type`]: { type: 'string', value: event },
      ':content-type': { type: 'string', value: 'application/json' },
      ':message-type': { type: 'string', value: kind },
    },
    body: fromUtf8(JSON.stringify(data)),
  })
}

function askConverse(body: Body): Asked {
  checkNames(body, known, (name) => `Malformed input request: extraneous key [${name}] is not permitted`)
  const messages = listOf(body.messages)
  checkMessages(messages, body.toolConfig !== undefined)
  const since = messages.slice(messages.findLastIndex(isSpoken) + 1)
  const { tools, toolChoice } = (body.toolConfig ?? {}) as Body
  const choice = (toolChoice ?? {}) as Body
  const { textFormat } = (body.outputConfig ?? {}) as Body
  const { jsonSchema } = ((textFormat as Body | undefined)?.structure ?? {}) as Body
  const { thinking } = (body.additionalModelRequestFields ?? {}) as Body
  return {
    tools: listOf(tools).flatMap(({ toolSpec }) => {
      const { name, inputSchema } = (toolSpec ?? {}) as Body
      return name === undefined ? [] : [{ name: String(name), schema: (inputSchema as Body).json }]
    }),
    choice: choice.tool ? { name: String((choice.tool as Body).name) } : choice.any ? 'any' : 'auto',
    rounds: since.filter(({ role }) => role === 'assistant').length,
    results: since.flatMap(({ content }) =>
      partsOf(content, 'toolResult').map((result) => textOf(result.content)),
    ),
    json: textFormat !== undefined,
    schema: jsonSchema && JSON.parse(String((jsonSchema as Body).schema)),
    thinks: /^(enabled|adaptive)$/.test(String((thinking as Body | undefined)?.type)),
    media: messages.flatMap(({ content }) =>
      ['image', 'audio', 'document'].flatMap((kind) =>
        partsOf(content, kind).map(({ format }) => `${kind}/${String(format)}`),
      ),
    ),
  }
}

const partsOf = (content: unknown, kind: string): readonly Body[] =>
  listOf(content).flatMap((block) => (block[kind] ? [block[kind] as Body] : []))

const isSpoken = ({ role, content }: Body): boolean =>
  role === 'user' && partsOf(content, 'toolResult').length === 0

function checkMessages(messages: readonly Body[], hasTools: boolean): void {
  for (const [index, { role, content }] of messages.entries()) {
    if (role === messages[index - 1]?.role)
      throw new Wrong('A conversation must alternate between user and assistant roles.')
    if (role !== 'assistant') continue
    for (const { reasoningText } of partsOf(content, 'reasoningContent')) {
      if (!isSigned((reasoningText as Body | undefined)?.signature))
        throw new Wrong('Invalid signature in reasoningContent')
    }
    const calls = partsOf(content, 'toolUse').map(({ toolUseId }) => toolUseId)
    if (calls.length > 0 && !hasTools)
      throw new Wrong(
        'The toolConfig field must be defined when using toolUse and toolResult content blocks.',
      )
    const results = partsOf(messages[index + 1]?.content, 'toolResult').map(({ toolUseId }) => toolUseId)
    checkPairs(calls, results, 'Expected toolResult blocks for the following Ids')
  }
}

const stopOf = ({ calls }: Say): string => (calls.length ? 'tool_use' : 'end_turn')

interface Block {
  readonly whole: Body
  readonly start?: Body
  readonly deltas: readonly Body[]
}

function blocksOf({ words, calls, thought }: Say): Block[] {
  const signature = signatureOf(thought)
  const thinking: Block = {
    whole: { reasoningContent: { reasoningText: { text: thought, signature } } },
    deltas: [...halves(thought).map((text) => ({ text })), { signature }].map((reasoningContent) => ({
      reasoningContent,
    })),
  }
  const text: Block = { whole: { text: words.join('') }, deltas: words.map((word) => ({ text: word })) }
  const called = calls.map(
    ({ id: toolUseId, name, args }): Block => ({
      whole: { toolUse: { toolUseId, name, input: args } },
      start: { toolUse: { toolUseId, name } },
      deltas: halves(JSON.stringify(args)).map((input) => ({ toolUse: { input } })),
    }),
  )
  return [...(thought ? [thinking] : []), ...(calls.length ? called : [text])]
}

const toUsage = ({ words }: Say): Body => ({
  inputTokens: promptTokens,
  outputTokens: words.length,
  totalTokens: promptTokens + words.length,
})
