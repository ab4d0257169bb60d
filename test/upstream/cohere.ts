import { type Asked, checkNames, checkPairs, listOf, mediaOf, type Say } from './model.ts'
import { halves } from './openai.ts'
import { type Body, type Event, idOf, promptTokens, textOf } from './wire.ts'
import type { Wire } from './wires.ts'

const known =
  'model messages tools strict_tools documents citation_options response_format safety_mode max_tokens stop_sequences temperature seed frequency_penalty presence_penalty k p logprobs tool_choice thinking priority stream'

const error = (_status: number, message: string): unknown => ({ id: 'emulated', message })

/** Cohere's Chat v2 (API reference, "Chat" and "Chat with Streaming"). */
export const cohere: Wire = {
  done: true,
  ask: askCohere,
  error,
  single(say) {
    const { words, calls, thought, model } = say
    const thinking = thought && !calls.length ? [{ type: 'thinking', thinking: thought }] : []
    const text = calls.length ? [] : [{ type: 'text', text: words.join('') }]
    return {
      id: idOf('cohere-', words, model),
      finish_reason: calls.length ? 'TOOL_CALL' : 'COMPLETE',
      message: {
        role: 'assistant',
        ...(calls.length && { tool_plan: planOf(say), tool_calls: calls.map(toCall) }),
        ...(!calls.length && { content: [...thinking, ...text] }),
      },
      usage: toUsage(say),
    }
  },
  stream(say) {
    const { words, calls, thought, model } = say
    const events: Body[] = [
      {
        type: 'message-start',
        id: idOf('cohere-', words, model),
        delta: { message: { role: 'assistant', content: [] } },
      },
      ...(calls.length
        ? called(say)
        : [...said('thinking', halves(thought), 0), ...said('text', words, thought ? 1 : 0)]),
      {
        type: 'message-end',
        delta: { finish_reason: calls.length ? 'TOOL_CALL' : 'COMPLETE', usage: toUsage(say) },
      },
    ]
    return events.map((data): Event => ({ event: String(data.type), data }))
  },
}

const planOf = ({ thought }: Say): string => thought || 'I will use a tool.'

const toCall = ({ id, name, args }: Say['calls'][number]) => ({
  id,
  type: 'function',
  function: { name, arguments: JSON.stringify(args) },
})

function said(kind: 'text' | 'thinking', pieces: readonly string[], index: number): Body[] {
  if (pieces.length === 0) return []
  return [
    { type: 'content-start', index, delta: { message: { content: { type: kind, [kind]: '' } } } },
    ...pieces.map((piece) => ({
      type: 'content-delta',
      index,
      delta: { message: { content: { [kind]: piece } } },
    })),
    { type: 'content-end', index },
  ]
}

function called(say: Say): Body[] {
  return [
    ...halves(planOf(say)).map((tool_plan) => ({
      type: 'tool-plan-delta',
      delta: { message: { tool_plan } },
    })),
    ...say.calls.flatMap((call, index) => {
      const { function: own, ...rest } = toCall(call)
      const begun = { ...rest, function: { ...own, arguments: '' } }
      return [
        { type: 'tool-call-start', index, delta: { message: { tool_calls: begun } } },
        ...halves(own.arguments).map((args) => ({
          type: 'tool-call-delta',
          index,
          delta: { message: { tool_calls: { function: { arguments: args } } } },
        })),
        { type: 'tool-call-end', index },
      ]
    }),
  ]
}

function askCohere(body: Body): Asked {
  checkNames(body, known, (name) => `unknown field: parameter '${name}' is not a valid field`)
  const messages = listOf(body.messages)
  for (const [index, { tool_calls }] of messages.entries()) {
    const ids = listOf(tool_calls).map(({ id }) => id)
    if (ids.length === 0) continue
    const after = messages.slice(index + 1, index + 1 + ids.length).map(({ tool_call_id }) => tool_call_id)
    checkPairs(ids, after, 'invalid request: each tool call must be followed by its tool message')
  }
  const since = messages.slice(messages.findLastIndex(({ role }) => role === 'user') + 1)
  const format = (body.response_format ?? {}) as Body
  return {
    tools: listOf(body.tools).map((tool) => {
      const { name, parameters } = tool.function as Body
      return { name: String(name), schema: parameters }
    }),
    choice: body.tool_choice === 'REQUIRED' ? 'any' : body.tool_choice === 'NONE' ? 'none' : 'auto',
    rounds: since.filter(({ role }) => role === 'assistant').length,
    results: since.filter(({ role }) => role === 'tool').map(({ content }) => textOf(content)),
    json: format.type === 'json_object',
    schema: format.json_schema,
    thinks: ((body.thinking ?? {}) as Body).type === 'enabled',
    media: messages.flatMap(({ content }) =>
      listOf(content).flatMap(({ image_url }) => (image_url ? [mediaOf((image_url as Body).url)] : [])),
    ),
  }
}

const toUsage = ({ words }: Say): Body => ({
  billed_units: { input_tokens: promptTokens, output_tokens: words.length },
  tokens: { input_tokens: promptTokens, output_tokens: words.length },
})

/** Cohere's Embed v2: one small vector for each text. */
export const embed: Wire = {
  done: false,
  ask: () => ({}),
  error,
  single: (_say, { texts }) => ({
    id: 'emulated',
    embeddings: { float: (texts as unknown[]).map(() => [0.25, -0.5, 0.75]) },
    texts,
    meta: { billed_units: { input_tokens: promptTokens } },
  }),
  stream: () => [],
}
