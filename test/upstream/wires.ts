/** One event of a stream, before framing. */
export interface Event {
  readonly event?: string
  readonly data: unknown
}

/** How one provider answers: whole, streamed, and failing. */
export interface Wire {
  single(words: readonly string[], model: string): unknown
  /** Events around and for the words; `content` counts as one event of the control. */
  stream(words: readonly string[], model: string, body: Body): readonly Event[]
  error(status: number, message: string): unknown
  /** Ends with `data: [DONE]`. */
  readonly done: boolean
}

/** What the wires look at in a request. */
export interface Body {
  model?: string
  stream?: boolean
  messages?: { role: string; content: unknown }[]
  prompt?: string
  input?: unknown
  contents?: { parts: { text?: string }[] }[]
  stream_options?: { include_usage?: boolean }
}

const created = 1_700_000_000
const usage = (words: readonly string[]) => ({
  prompt_tokens: 7,
  completion_tokens: words.length,
  total_tokens: 7 + words.length,
})
const openaiError = (status: number, message: string) => ({
  error: { message, type: status >= 500 ? 'server_error' : 'invalid_request_error', param: null, code: null },
})

/** OpenAI chat completions (API reference, "Chat" and "Chat streaming"). */
export const chat: Wire = {
  done: true,
  error: openaiError,
  single: (words, model) => ({
    id: 'chatcmpl-emulated',
    object: 'chat.completion',
    created,
    model,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: words.join(''), refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: usage(words),
  }),
  stream(words, model, body) {
    const chunk = (choices: unknown[], more = {}): Event => ({
      data: { id: 'chatcmpl-emulated', object: 'chat.completion.chunk', created, model, choices, ...more },
    })
    const delta = (delta: object, finish_reason: string | null = null) =>
      chunk([{ index: 0, delta, logprobs: null, finish_reason }])
    const tail = body.stream_options?.include_usage ? [chunk([], { usage: usage(words) })] : []
    return [
      delta({ role: 'assistant', content: '' }),
      ...words.map((content) => delta({ content })),
      delta({}, 'stop'),
      ...tail,
    ]
  },
}

/** OpenAI responses (API reference, "Responses" and "Streaming events"). */
export const responses: Wire = {
  done: false,
  error: openaiError,
  single: (words, model) => response(words, model, 'completed'),
  stream(words, model) {
    const at = { item_id: 'msg_emulated', output_index: 0, content_index: 0 }
    const text = words.join('')
    const part = { type: 'output_text', text, annotations: [] }
    const events = [
      { type: 'response.created', response: response([], model, 'in_progress') },
      {
        type: 'response.output_item.added',
        output_index: 0,
        item: { ...message(''), content: [], status: 'in_progress' },
      },
      { type: 'response.content_part.added', ...at, part: { ...part, text: '' } },
      ...words.map((delta) => ({ type: 'response.output_text.delta', ...at, delta, logprobs: [] })),
      { type: 'response.output_text.done', ...at, text, logprobs: [] },
      { type: 'response.content_part.done', ...at, part },
      { type: 'response.output_item.done', output_index: 0, item: message(text) },
      { type: 'response.completed', response: response(words, model, 'completed') },
    ]
    return events.map((data, sequence_number) => ({ event: data.type, data: { ...data, sequence_number } }))
  },
}

const message = (text: string) => ({
  id: 'msg_emulated',
  type: 'message',
  status: 'completed',
  role: 'assistant',
  content: [{ type: 'output_text', text, annotations: [] }],
})

const response = (words: readonly string[], model: string, status: string) => ({
  id: 'resp_emulated',
  object: 'response',
  created_at: created,
  status,
  model,
  error: null,
  incomplete_details: null,
  instructions: null,
  metadata: {},
  output: words.length ? [message(words.join(''))] : [],
  parallel_tool_calls: true,
  temperature: 1,
  tool_choice: 'auto',
  tools: [],
  top_p: 1,
  usage: words.length
    ? {
        input_tokens: 7,
        input_tokens_details: { cached_tokens: 0 },
        output_tokens: words.length,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: 7 + words.length,
      }
    : null,
})

/** Anthropic messages (API reference, "Messages" and "Streaming messages"). */
export const messages: Wire = {
  done: false,
  error: (status, message) => ({
    type: 'error',
    error: { type: status >= 500 ? 'api_error' : 'invalid_request_error', message },
  }),
  single: (words, model) =>
    anthropicMessage(model, [{ type: 'text', text: words.join('') }], 'end_turn', words.length),
  stream(words, model) {
    const events = [
      { type: 'message_start', message: anthropicMessage(model, [], null, 1) },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      { type: 'ping' },
      ...words.map((text) => ({
        type: 'content_block_delta',
        index: 0,
        delta: { type: 'text_delta', text },
      })),
      { type: 'content_block_stop', index: 0 },
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', stop_sequence: null },
        usage: { output_tokens: words.length },
      },
      { type: 'message_stop' },
    ]
    return events.map((data) => ({ event: data.type, data }))
  },
}

const anthropicMessage = (
  model: string,
  content: unknown[],
  stop_reason: string | null,
  output_tokens: number,
) => ({
  id: 'msg_emulated',
  type: 'message',
  role: 'assistant',
  model,
  content,
  stop_reason,
  stop_sequence: null,
  usage: { input_tokens: 7, output_tokens, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 },
})

/** Gemini generateContent (API reference, "GenerateContentResponse"); its stream has no terminator. */
export const gemini: Wire = {
  done: false,
  error: (code, message) => ({
    error: { code, message, status: code >= 500 ? 'INTERNAL' : 'INVALID_ARGUMENT' },
  }),
  single: (words, model) => geminiChunk(words.join(''), model, 'STOP', words.length),
  stream: (words, model) =>
    words.map((word, index) => ({
      data: geminiChunk(word, model, index === words.length - 1 ? 'STOP' : undefined, index + 1),
    })),
}

const geminiChunk = (
  text: string,
  modelVersion: string,
  finishReason: string | undefined,
  tokens: number,
) => ({
  candidates: [
    { content: { parts: [{ text }], role: 'model' }, ...(finishReason && { finishReason }), index: 0 },
  ],
  usageMetadata: { promptTokenCount: 7, candidatesTokenCount: tokens, totalTokenCount: 7 + tokens },
  modelVersion,
  responseId: 'emulated',
})

/** Workers AI text generation, its own shape. */
export const workersAi: Wire = {
  done: true,
  error: (_status, message) => ({
    result: null,
    success: false,
    errors: [{ code: 5006, message }],
    messages: [],
  }),
  single: (words) => ({
    result: { response: words.join(''), usage: usage(words) },
    success: true,
    errors: [],
    messages: [],
  }),
  stream: (words) => words.map((word) => ({ data: { response: word, p: 'abcd' } })),
}

/** OpenAI embeddings. */
export const embeddings: Wire = {
  done: false,
  error: openaiError,
  single: (_words, model) => ({
    object: 'list',
    data: [{ object: 'embedding', index: 0, embedding: [0.25, -0.5, 0.75] }],
    model,
    usage: { prompt_tokens: 7, total_tokens: 7 },
  }),
  stream: () => [],
}

/** The wire of a path, under any prefix. */
export function wireOf(path: string): Wire | undefined {
  if (path.endsWith('/chat/completions')) return chat
  if (path.endsWith('/responses')) return responses
  if (path.endsWith('/embeddings')) return embeddings
  if (path.endsWith('/messages')) return messages
  if (/:(stream)?generateContent$/i.test(path)) return gemini
  return path.includes('/run/@') ? workersAi : undefined
}

/** What the user said last, in whichever shape. */
export function lastText(body: Body): string {
  const last =
    body.messages?.at(-1)?.content ??
    body.prompt ??
    body.input ??
    body.contents?.at(-1)?.parts.at(-1)?.text ??
    ''
  if (typeof last === 'string') return last
  const item: unknown = Array.isArray(last) ? last.at(-1) : last
  if (typeof item !== 'object' || item === null) return ''
  if ('text' in item) return String(item.text)
  return 'content' in item ? lastText({ messages: [{ role: 'user', content: item.content }] }) : ''
}
