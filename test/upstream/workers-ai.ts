import { askChat, toUsage } from './openai.ts'
import type { Body } from './wire.ts'
import type { Wire } from './wires.ts'

/** Workers AI text generation, its own shape; the last event has the usage and no text. */
export const workersAi: Wire = {
  done: true,
  ask(body) {
    const format = (body.response_format ?? {}) as Body
    return { ...askChat(body), schema: format.json_schema }
  },
  error: (status, message) => ({
    result: null,
    success: false,
    errors: [{ code: status === 429 ? 3040 : 5006, message }],
    messages: [],
  }),
  single({ words, calls }, { text, response_format }) {
    const envelope = { success: true, errors: [], messages: [] }
    if (Array.isArray(text)) {
      const data = text.map(() => [0.25, -0.5, 0.75])
      return { result: { shape: [text.length, 3], data }, ...envelope }
    }
    const said = words.join('')
    const response = response_format ? JSON.parse(said) : said
    const result = calls.length
      ? { response: null, tool_calls: calls.map(({ name, args }) => ({ name, arguments: args })) }
      : { response }
    return { result: { ...result, usage: toUsage(words) }, ...envelope }
  },
  stream: ({ words, calls }) => [
    ...words.map((response) => ({ data: { response, p: 'abcd' } })),
    ...calls.map(({ name, args }) => ({ data: { response: null, tool_calls: [{ name, arguments: args }] } })),
    { data: { response: '', usage: toUsage(words) } },
  ],
}
