import { type Asked, checkPairs, listOf, mediaOf, Wrong } from './model.ts'
import { type Body, type Event, idOf, promptTokens, textOf } from './wire.ts'
import type { Wire } from './wires.ts'

const created = 1_700_000_000
const vector = [0.25, -0.5, 0.75]

/** Token counts as OpenAI chat has them. */
export const toUsage = (words: readonly string[]): Readonly<Record<string, number>> => ({
  prompt_tokens: promptTokens,
  completion_tokens: words.length,
  total_tokens: promptTokens + words.length,
})

const errorTypes: Readonly<Record<number, readonly [type: string, code: string]>> = {
  401: ['invalid_request_error', 'invalid_api_key'],
  404: ['invalid_request_error', 'model_not_found'],
  429: ['requests', 'rate_limit_exceeded'],
}

/** An error in OpenAI's shape; also that of paths the emulator does not know. */
export function openaiError(status: number, message: string): unknown {
  const [type, code] = errorTypes[status] ?? [status >= 500 ? 'server_error' : 'invalid_request_error', null]
  return { error: { message, type, param: null, code } }
}

/** Words that other vendors' users know, and OpenAI does not. */
const foreign = /"(reasoning_details|reasoning_budget|cache_control|extra_content|is_error)":/

/** Vendors that refuse reasoning in messages; Mistral also to be asked for usage. */
const strict = /\/(openai|groq|mistral|cerebras)\//
/** Longer ids OpenAI refuses. */
const idMax = 40

/** @throws Wrong */
function checkStrict(body: Body, path: string): void {
  if (!strict.test(path)) return
  const text = JSON.stringify(body)
  const [, unknown] = /"(reasoning_content)":/.exec(text) ?? []
  if (unknown) throw new Wrong(`Unknown parameter: '${unknown}'.`)
  if (path.includes('/mistral/') && body.stream_options) throw new Wrong('Extra inputs are not permitted')
  const ids = listOf(body.messages).flatMap(({ tool_calls }) =>
    listOf(tool_calls).map(({ id }) => String(id)),
  )
  const long = ids.find((id) => id.length > idMax)
  if (long) throw new Wrong(`Invalid 'messages.tool_calls.id': string too long, maximum length ${idMax}`)
}

/** What OpenAI's chat asks for; also that of those who follow it. */
export function askChat(body: Body, path = ''): Asked {
  const [, unknown] = foreign.exec(JSON.stringify(body)) ?? []
  if (unknown) throw new Wrong(`Unknown parameter: '${unknown}'.`)
  checkStrict(body, path)
  const messages = listOf(body.messages)
  checkCalls(messages)
  const turn = messages.slice(messages.findLastIndex(({ role }) => role === 'user') + 1)
  const format = (body.response_format ?? {}) as Body
  return {
    tools: listOf(body.tools).map((tool) => {
      const { name, parameters } = (tool.function ?? {}) as Body
      return { name: String(name), schema: parameters }
    }),
    choice: readChoice(body.tool_choice),
    parallel: body.parallel_tool_calls !== false,
    rounds: turn.filter(({ role }) => role === 'assistant').length,
    results: turn.filter(({ role }) => role === 'tool').map(({ content }) => textOf(content)),
    json: /^json/.test(String(format.type)),
    schema: ((format.json_schema ?? {}) as Body).schema,
    thinks: typeof body.reasoning_effort === 'string' && body.reasoning_effort !== 'none',
    media: messages.flatMap(({ content }) => listOf(content).flatMap(toMedia)),
  }
}

function toMedia({ type, image_url, input_audio, file }: Body): string[] {
  if (type === 'image_url') return [mediaOf((image_url as Body).url)]
  if (type === 'input_audio') return [`audio/${String((input_audio as Body).format)}`]
  return type === 'file' ? [mediaOf((file as Body).file_data)] : []
}

function checkCalls(messages: readonly Body[]): void {
  for (const [index, { role, tool_calls }] of messages.entries()) {
    if (role !== 'assistant' || !tool_calls) continue
    const after = messages.slice(index + 1)
    const end = after.findIndex((message) => message.role !== 'tool')
    const results = (end < 0 ? after : after.slice(0, end)).map((message) => message.tool_call_id)
    const ids = listOf(tool_calls).map(({ id }) => id)
    checkPairs(ids, results, 'An assistant message with tool_calls must be followed by tool messages')
  }
}

function readChoice(choice: unknown): Asked['choice'] {
  if (choice === 'none') return 'none'
  if (choice === 'required') return 'any'
  const named = ((choice ?? {}) as Body).function as Body | undefined
  return named ? { name: String(named.name) } : 'auto'
}

/** OpenAI chat completions (API reference, "Chat" and "Chat streaming"). */
export const chat: Wire = {
  done: true,
  ask: askChat,
  error: openaiError,
  single({ words, calls, thought, model }) {
    const message = {
      role: 'assistant',
      content: calls.length ? null : words.join(''),
      refusal: null,
      annotations: [],
      ...(thought && { reasoning_content: thought }),
      ...(calls.length && {
        tool_calls: calls.map(({ id, name, args }) => ({
          id,
          type: 'function',
          function: { name, arguments: JSON.stringify(args) },
        })),
      }),
    }
    return {
      id: idOf('chatcmpl-', words, model),
      object: 'chat.completion',
      created,
      model,
      choices: [{ index: 0, message, logprobs: null, finish_reason: calls.length ? 'tool_calls' : 'stop' }],
      usage: toUsage(words),
      system_fingerprint: 'fp_emulated',
    }
  },
  stream({ words, calls, thought, model }, body) {
    const withUsage = (body.stream_options as { include_usage?: unknown } | undefined)?.include_usage === true
    const head = { id: idOf('chatcmpl-', words, model), object: 'chat.completion.chunk', created, model }
    const chunk = (choices: unknown[], usage: unknown = null): Event => ({
      data: { ...head, system_fingerprint: 'fp_emulated', choices, ...(withUsage && { usage }) },
    })
    const delta = (delta: object, finish_reason: string | null = null) =>
      chunk([{ index: 0, delta, logprobs: null, finish_reason }])
    const called = calls.flatMap(({ id, name, args }, index) => [
      delta({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] }),
      ...halves(JSON.stringify(args)).map((part) =>
        delta({ tool_calls: [{ index, function: { arguments: part } }] }),
      ),
    ])
    return [
      delta({ role: 'assistant', content: calls.length ? null : '', refusal: null }),
      ...halves(thought).map((reasoning_content) => delta({ reasoning_content })),
      ...words.map((content) => delta({ content })),
      ...called,
      delta({}, calls.length ? 'tool_calls' : 'stop'),
      ...(withUsage ? [chunk([], toUsage(words))] : []),
    ]
  },
}

/** A text in two pieces, neither of them empty. */
export function halves(text: string): readonly string[] {
  const middle = Math.ceil(text.length / 2)
  return [text.slice(0, middle), text.slice(middle)].filter((half) => half !== '')
}

/** OpenAI embeddings: one small vector for each input, in base64 when asked, as the official client does. */
export const embeddings: Wire = {
  done: false,
  ask: () => ({}),
  error: openaiError,
  single({ model }, { input, encoding_format }) {
    const inputs = Array.isArray(input) && typeof input[0] !== 'number' ? input : [input]
    const packed = Buffer.from(Float32Array.from(vector).buffer).toString('base64')
    const embedding = encoding_format === 'base64' ? packed : vector
    const tokens = promptTokens * inputs.length
    return {
      object: 'list',
      data: inputs.map((_, index) => ({ object: 'embedding', index, embedding })),
      model,
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    }
  },
  stream: () => [],
}

/** The answer to GET `…/models`. */
export const toModels = (name: string): unknown => ({
  object: 'list',
  data: [{ id: `${name}-1`, object: 'model', created, owned_by: name }],
})
