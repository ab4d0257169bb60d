import { type Event, idOf, promptTokens, type Wire } from './wire.ts'

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

/** OpenAI chat completions (API reference, "Chat" and "Chat streaming"). */
export const chat: Wire = {
  done: true,
  error: openaiError,
  single(words, model) {
    const message = { role: 'assistant', content: words.join(''), refusal: null, annotations: [] }
    return {
      id: idOf('chatcmpl-', words, model),
      object: 'chat.completion',
      created,
      model,
      choices: [{ index: 0, message, logprobs: null, finish_reason: 'stop' }],
      usage: toUsage(words),
      system_fingerprint: 'fp_emulated',
    }
  },
  stream(words, model, body) {
    const withUsage = (body.stream_options as { include_usage?: unknown } | undefined)?.include_usage === true
    const head = { id: idOf('chatcmpl-', words, model), object: 'chat.completion.chunk', created, model }
    const chunk = (choices: unknown[], usage: unknown = null): Event => ({
      data: { ...head, system_fingerprint: 'fp_emulated', choices, ...(withUsage && { usage }) },
    })
    const delta = (delta: object, finish_reason: string | null = null) =>
      chunk([{ index: 0, delta, logprobs: null, finish_reason }])
    return [
      delta({ role: 'assistant', content: '', refusal: null }),
      ...words.map((content) => delta({ content })),
      delta({}, 'stop'),
      ...(withUsage ? [chunk([], toUsage(words))] : []),
    ]
  },
}

/** OpenAI responses (API reference, "Responses" and "Streaming events"). */
export const responses: Wire = {
  done: false,
  error: openaiError,
  single: (words, model) => toResponse(words, model, true),
  stream(words, model) {
    const done = toMessage(words, model)
    const at = { item_id: done.id, output_index: 0, content_index: 0 }
    const text = words.join('')
    const part = { type: 'output_text', text, annotations: [], logprobs: [] }
    const begun = toResponse(words, model, false)
    const events = [
      { type: 'response.created', response: begun },
      { type: 'response.in_progress', response: begun },
      {
        type: 'response.output_item.added',
        output_index: 0,
        item: { ...done, content: [], status: 'in_progress' },
      },
      { type: 'response.content_part.added', ...at, part: { ...part, text: '' } },
      ...words.map((delta) => ({ type: 'response.output_text.delta', ...at, delta, logprobs: [] })),
      { type: 'response.output_text.done', ...at, text, logprobs: [] },
      { type: 'response.content_part.done', ...at, part },
      { type: 'response.output_item.done', output_index: 0, item: done },
      { type: 'response.completed', response: toResponse(words, model, true) },
    ]
    return events.map((data, sequence_number) => ({ event: data.type, data: { ...data, sequence_number } }))
  },
}

const toMessage = (words: readonly string[], model: string) => ({
  id: idOf('msg_', words, model),
  type: 'message',
  status: 'completed',
  role: 'assistant',
  content: [{ type: 'output_text', text: words.join(''), annotations: [], logprobs: [] }],
})

function toResponse(words: readonly string[], model: string, completed: boolean): unknown {
  const usage = {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: words.length,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + words.length,
  }
  return {
    id: idOf('resp_', words, model),
    object: 'response',
    created_at: created,
    status: completed ? 'completed' : 'in_progress',
    model,
    error: null,
    incomplete_details: null,
    instructions: null,
    max_output_tokens: null,
    metadata: {},
    output: completed ? [toMessage(words, model)] : [],
    parallel_tool_calls: true,
    previous_response_id: null,
    temperature: 1,
    text: { format: { type: 'text' } },
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    truncation: 'disabled',
    usage: completed ? usage : null,
  }
}

/** OpenAI embeddings: one small vector for each input, in base64 when asked, as the official client does. */
export const embeddings: Wire = {
  done: false,
  error: openaiError,
  single(_words, model, { input, encoding_format }) {
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
