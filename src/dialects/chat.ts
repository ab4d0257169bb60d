import * as z from 'zod'
import { toCompletion } from './chunks.ts'
import type { Api } from './dialect.ts'
import { malformed } from './failure.ts'
import type { Chat } from './hub.ts'

const cached = { cache_control: z.unknown().optional() }
const part = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text'), text: z.string(), ...cached }),
  z.object({ type: z.literal('refusal'), refusal: z.string(), ...cached }),
  z.object({ type: z.literal('image_url'), image_url: z.object({ url: z.string() }), ...cached }),
  z.object({
    type: z.literal('input_audio'),
    input_audio: z.object({ data: z.string(), format: z.string() }),
    ...cached,
  }),
  z.object({
    type: z.literal('file'),
    file: z.object({
      file_data: z.string().optional(),
      filename: z.string().optional(),
      file_id: z.string().optional(),
    }),
    citations: z.unknown().optional(),
    ...cached,
  }),
])
const text = z.string().nullish()
const reasoning = z.object({
  type: z.enum(['reasoning.text', 'reasoning.encrypted', 'reasoning.summary']),
  text,
  summary: text,
  signature: text,
  data: text,
  id: text,
  format: z.enum(['anthropic-claude-v1', 'google-gemini-v1', 'openai-responses-v1']).nullish().catch(null),
})
const call = z.object({
  id: z.string(),
  type: z.literal('function'),
  function: z.object({ name: z.string(), arguments: z.string() }),
  extra_content: z
    .object({ google: z.object({ thought_signature: z.string().optional() }).optional() })
    .optional(),
})
const message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: z.union([z.string(), z.array(part)], 'a text, or a list of parts').nullish(),
  refusal: text,
  tool_calls: z.array(call).nullish(),
  tool_call_id: z.string().optional(),
  reasoning_content: text,
  reasoning_details: z.array(reasoning).nullish(),
})
const schema = z.record(z.string(), z.unknown())
const tool = z.object({
  type: z.literal('function'),
  function: z.object({
    name: z.string(),
    description: text,
    parameters: schema.nullish(),
    strict: z.boolean().nullish(),
  }),
  ...cached,
})
const named = z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) })
const count = z.int().nullish()
const number = z.number().nullish()
const flag = z.boolean().nullish()

/** What dialects read of a request; what else there is goes to them as it is. */
const request = z.looseObject({
  model: z.string(),
  messages: z.array(message),
  tools: z.array(tool).nullish(),
  tool_choice: z.union([z.enum(['none', 'auto', 'required']), named]).nullish(),
  parallel_tool_calls: flag,
  response_format: z
    .discriminatedUnion('type', [
      z.object({ type: z.enum(['text', 'json_object']) }),
      z.object({
        type: z.literal('json_schema'),
        json_schema: z.object({ name: z.string(), schema: schema.optional(), strict: flag }),
      }),
    ])
    .nullish(),
  reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']).nullish(),
  reasoning_budget: count,
  max_tokens: count,
  max_completion_tokens: count,
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  temperature: number,
  top_p: number,
  top_k: count,
  seed: count,
  n: count,
  frequency_penalty: number,
  presence_penalty: number,
  logprobs: flag,
  top_logprobs: count,
  user: text,
  stream: flag,
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
})

/** OpenAI's chat completions, as a client sends them. */
export const chat: Api = {
  name: 'chat',
  done: true,
  request(body): Chat {
    const parsed = request.safeParse(body)
    if (parsed.success) return parsed.data
    const { path, message } = parsed.error.issues[0]!
    throw malformed(path.join('.'), message)
  },
  response: (chunks, _chat, base) => toCompletion(chunks, base),
  events: ({ stream_options }) => ({
    push: (chunk) => (chunk.choices.length === 0 && !stream_options?.include_usage ? [] : [{ data: chunk }]),
    end: () => [],
  }),
}
