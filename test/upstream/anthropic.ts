import {
  type Asked,
  checkNames,
  checkPairs,
  isSigned,
  listOf,
  mediaOf,
  type Say,
  signatureOf,
  Wrong,
} from './model.ts'
import { halves } from './openai.ts'
import { type Body, idOf, promptTokens, textOf } from './wire.ts'
import type { Wire } from './wires.ts'

const errors: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
}
const known =
  'model messages max_tokens system stop_sequences stream temperature top_k top_p tools tool_choice thinking output_config metadata service_tier container cache_control mcp_servers context_management'

/** Anthropic messages (API reference, "Messages" and "Streaming messages"). */
export const messages: Wire = {
  done: false,
  ask: askMessages,
  error(status, message) {
    const type = errors[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error')
    return { type: 'error', error: { type, message }, request_id: 'req_emulated' }
  },
  single: (say) => toMessage(say, true),
  stream(say) {
    const { words } = say
    const events = [
      { type: 'message_start', message: toMessage(say, false) },
      ...blocksOf(say).flatMap(({ begun, deltas }, index) => [
        { type: 'content_block_start', index, content_block: begun },
        ...(index === 0 ? [{ type: 'ping' }] : []),
        ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
        { type: 'content_block_stop', index },
      ]),
      {
        type: 'message_delta',
        delta: { stop_reason: stopOf(say), stop_sequence: null },
        usage: { output_tokens: words.length },
      },
      { type: 'message_stop' },
    ]
    return events.map((data) => ({ event: data.type, data }))
  },
}

function askMessages(body: Body): Asked {
  checkNames(body, known, (name) => `${name}: Extra inputs are not permitted`)
  if (typeof body.max_tokens !== 'number') throw new Wrong('max_tokens: Field required')
  const turns = listOf(body.messages)
  const isEnabled = ((body.thinking ?? {}) as Body).type === 'enabled'
  checkTurns(turns, isEnabled)
  const since = turns.slice(turns.findLastIndex(isSpoken) + 1)
  const choice = (body.tool_choice ?? {}) as Body
  const format = ((body.output_config ?? {}) as Body).format as Body | undefined
  return {
    tools: listOf(body.tools)
      .filter(({ input_schema }) => input_schema)
      .map(({ name, input_schema }) => ({ name: String(name), schema: input_schema })),
    choice: choice.type === 'tool' ? { name: String(choice.name) } : ((choice.type ?? 'auto') as 'auto'), // its own words
    parallel: choice.disable_parallel_tool_use !== true,
    rounds: since.filter(({ role }) => role === 'assistant').length,
    results: since.flatMap(({ content }) =>
      ofType(content, 'tool_result').map((block) => textOf(block.content)),
    ),
    json: format !== undefined,
    schema: format?.schema,
    thinks: /^(enabled|adaptive)$/.test(String(((body.thinking ?? {}) as Body).type)),
    media: turns.flatMap(({ content }) =>
      listOf(content).flatMap(({ type, source }) => {
        if (type !== 'image' && type !== 'document') return []
        const { media_type, url } = source as Body
        return [media_type === undefined ? mediaOf(url) : String(media_type)]
      }),
    ),
  }
}

const ofType = (content: unknown, wanted: string): readonly Body[] =>
  listOf(content).filter(({ type }) => type === wanted)

/** A turn in which the user says something himself. */
const isSpoken = ({ role, content }: Body): boolean =>
  role === 'user' && (typeof content === 'string' || ofType(content, 'tool_result').length === 0)

function checkTurns(turns: readonly Body[], isEnabled: boolean): void {
  for (const [index, { role, content }] of turns.entries()) {
    if (role !== 'assistant') continue
    for (const { signature } of ofType(content, 'thinking')) {
      if (!isSigned(signature))
        throw new Wrong(`messages.${index}: Invalid \`signature\` in \`thinking\` block`)
    }
    const calls = ofType(content, 'tool_use').map(({ id }) => id)
    const results = ofType(turns[index + 1]?.content, 'tool_result').map(({ tool_use_id }) => tool_use_id)
    checkPairs(
      calls,
      results,
      `messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks`,
    )
    const isLast = index === turns.findLastIndex((turn) => turn.role === 'assistant')
    const [first] = listOf(content)
    if (isEnabled && isLast && calls.length > 0 && !/thinking$/.test(String(first?.type)))
      throw new Wrong(
        `messages.${index}.content.0.type: Expected \`thinking\`, but found \`${String(first?.type)}\``,
      )
  }
}

const stopOf = ({ calls }: Say): string => (calls.length ? 'tool_use' : 'end_turn')

interface Block {
  readonly whole: Body
  readonly begun: Body
  readonly deltas: readonly Body[]
}

function blocksOf({ words, calls, thought }: Say): Block[] {
  const signature = signatureOf(thought)
  const thinking: Block = {
    whole: { type: 'thinking', thinking: thought, signature },
    begun: { type: 'thinking', thinking: '', signature: '' },
    deltas: [
      ...halves(thought).map((half) => ({ type: 'thinking_delta', thinking: half })),
      { type: 'signature_delta', signature },
    ],
  }
  const text: Block = {
    whole: { type: 'text', text: words.join('') },
    begun: { type: 'text', text: '' },
    deltas: words.map((word) => ({ type: 'text_delta', text: word })),
  }
  const called = calls.map(
    ({ id, name, args }): Block => ({
      whole: { type: 'tool_use', id, name, input: args },
      begun: { type: 'tool_use', id, name, input: {} },
      deltas: ['', ...halves(JSON.stringify(args))].map((partial_json) => ({
        type: 'input_json_delta',
        partial_json,
      })),
    }),
  )
  return [...(thought ? [thinking] : []), ...(calls.length ? called : [text])]
}

function toMessage(say: Say, whole: boolean): unknown {
  const { words, model } = say
  return {
    id: idOf('msg_', words, model),
    type: 'message',
    role: 'assistant',
    model,
    content: whole ? blocksOf(say).map((block) => block.whole) : [],
    stop_reason: whole ? stopOf(say) : null,
    stop_sequence: null,
    usage: {
      input_tokens: promptTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      output_tokens: whole ? words.length : 1,
    },
  }
}
