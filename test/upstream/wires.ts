import { chat, embeddings, responses, toUsage } from './openai.ts'
import { idOf, promptTokens, type Wire } from './wire.ts'

const anthropicErrors: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
}

/** Anthropic messages (API reference, "Messages" and "Streaming messages"). */
export const messages: Wire = {
  done: false,
  error(status, message) {
    const type = anthropicErrors[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error')
    return { type: 'error', error: { type, message }, request_id: 'req_emulated' }
  },
  single: (words, model) => toMessage(words, model, true),
  stream(words, model) {
    const events = [
      { type: 'message_start', message: toMessage(words, model, false) },
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

const toMessage = (words: readonly string[], model: string, whole: boolean) => ({
  id: idOf('msg_', words, model),
  type: 'message',
  role: 'assistant',
  model,
  content: whole ? [{ type: 'text', text: words.join('') }] : [],
  stop_reason: whole ? 'end_turn' : null,
  stop_sequence: null,
  usage: {
    input_tokens: promptTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    output_tokens: whole ? words.length : 1,
  },
})

const geminiErrors: Readonly<Record<number, string>> = {
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
}

/** Gemini generateContent (API reference, "GenerateContentResponse"); its stream has no terminator. */
export const gemini: Wire = {
  done: false,
  error(code, message) {
    const status = geminiErrors[code] ?? (code >= 500 ? 'INTERNAL' : 'INVALID_ARGUMENT')
    return { error: { code, message, status } }
  },
  single: (words, model) =>
    toCandidate(words.join(''), words.length, true, model, idOf('gemini-', words, model)),
  stream(words, model) {
    const id = idOf('gemini-', words, model)
    return words.map((word, index) => ({
      data: toCandidate(word, index + 1, index === words.length - 1, model, id),
    }))
  },
}

function toCandidate(
  text: string,
  tokens: number,
  last: boolean,
  modelVersion: string,
  responseId: string,
): unknown {
  const content = { parts: [{ text }], role: 'model' }
  return {
    candidates: [{ content, ...(last && { finishReason: 'STOP' }), index: 0 }],
    usageMetadata: {
      promptTokenCount: promptTokens,
      candidatesTokenCount: tokens,
      totalTokenCount: promptTokens + tokens,
    },
    modelVersion,
    responseId,
  }
}

/** Workers AI text generation, its own shape; the last event has the usage and no text. */
export const workersAi: Wire = {
  done: true,
  error: (status, message) => ({
    result: null,
    success: false,
    errors: [{ code: status === 429 ? 3040 : 5006, message }],
    messages: [],
  }),
  single: (words) => ({
    result: { response: words.join(''), usage: toUsage(words) },
    success: true,
    errors: [],
    messages: [],
  }),
  stream: (words) => [
    ...words.map((response) => ({ data: { response, p: 'abcd' } })),
    { data: { response: '', usage: toUsage(words) } },
  ],
}

/** The wire of a decoded path, under any prefix. */
export function wireOf(path: string): Wire | undefined {
  if (path.endsWith('/chat/completions')) return chat
  if (path.endsWith('/responses')) return responses
  if (path.endsWith('/embeddings')) return embeddings
  if (path.endsWith('/messages')) return messages
  if (/:(stream)?generateContent$/i.test(path)) return gemini
  return path.includes('/run/@') ? workersAi : undefined
}
