import * as z from 'zod/mini'
import { limits } from '../limits.ts'
import { toCompletion } from './chunks.ts'
import type { Api } from './dialect.ts'
import { malformed } from './failure.ts'
import type { Chat, Message, Part, Reasoning, Tool } from './hub.ts'
import type { Notes } from './notes.ts'
import { compact, partsOf, without } from './parts.ts'

const cached = { cache_control: z.optional(z.unknown()) }
const anyPart = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('text'), text: z.string(), ...cached }),
  z.looseObject({ type: z.literal('refusal'), refusal: z.string(), ...cached }),
  z.looseObject({
    type: z.literal('image_url'),
    image_url: z.object({ url: z.string(), detail: z.optional(z.string()) }),
    ...cached,
  }),
  z.looseObject({
    type: z.literal('input_audio'),
    input_audio: z.object({ data: z.string(), format: z.string() }),
    ...cached,
  }),
  z.looseObject({
    type: z.literal('file'),
    file: z.object({
      file_data: z.optional(z.string()),
      filename: z.optional(z.string()),
      file_id: z.optional(z.string()),
    }),
    citations: z.optional(z.unknown()),
    ...cached,
  }),
])
const text = z.nullish(z.string())
const reasoning = z.object({
  type: z.enum(['reasoning.text', 'reasoning.encrypted', 'reasoning.summary']),
  text,
  summary: text,
  signature: text,
  data: text,
  id: text,
  format: text,
})
const call = z.object({
  id: z.string(),
  type: z.literal('function'),
  function: z.object({ name: z.string(), arguments: z.string() }),
  extra_content: z.optional(
    z.object({ google: z.optional(z.object({ thought_signature: z.optional(z.string()) })) }),
  ),
})
const message = z.looseObject({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: z.nullish(z.union([z.string(), z.array(anyPart)], 'a text, or a list of parts')),
  refusal: text,
  tool_calls: z.nullish(z.array(call)),
  tool_call_id: z.optional(z.string()),
  reasoning_content: text,
  reasoning_details: z.nullish(z.array(reasoning)),
  images: z.nullish(z.array(anyPart)),
})
const schema = z.record(z.string(), z.unknown())
const tool = z.looseObject({
  type: z.literal('function'),
  function: z.looseObject({
    name: z.string(),
    description: text,
    parameters: z.nullish(schema),
    strict: z.nullish(z.boolean()),
  }),
  ...cached,
})
const named = z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) })
const count = z.nullish(z.int())
const number = z.nullish(z.number())
const flag = z.nullish(z.boolean())

/** What dialects read of a request; what else there is goes to them as it is. */
const request = z.looseObject({
  model: z.string(),
  messages: z.array(message).check(z.maxLength(limits.turns)),
  tools: z.nullish(z.array(tool)),
  tool_choice: z.nullish(z.union([z.enum(['none', 'auto', 'required']), named])),
  parallel_tool_calls: flag,
  response_format: z.nullish(
    z.discriminatedUnion('type', [
      z.object({ type: z.enum(['text', 'json_object']) }),
      z.object({
        type: z.literal('json_schema'),
        json_schema: z.object({
          name: z.string(),
          description: z.optional(z.string()),
          schema: z.optional(schema),
          strict: flag,
        }),
      }),
    ]),
  ),
  reasoning_effort: z.nullish(z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'])),
  reasoning_budget: count,
  max_tokens: count,
  max_completion_tokens: count,
  stop: z.nullish(z.union([z.string(), z.array(z.string())])),
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
  modalities: z.nullish(z.array(z.string())),
  web_search_options: z.nullish(
    z.looseObject({
      user_location: z.nullish(z.object({ type: z.literal('approximate'), approximate: schema })),
      search_context_size: text,
    }),
  ),
  stream: flag,
  stream_options: z.nullish(z.looseObject({ include_usage: z.optional(z.boolean()) })),
})

/** OpenAI's chat completions, as a client sends them. */
export const chat: Api = {
  name: 'chat',
  done: true,
  request(body, notes): Chat {
    const parsed = request.safeParse(body)
    if (parsed.success) {
      const { messages, tools, ...rest } = parsed.data
      return compact({
        ...rest,
        messages: messages.map((one) => toMessage(one, notes)),
        tools: tools?.map((one) => toTool(one, notes)),
      }) as Chat // its members are there
    }
    const { path, message } = parsed.error.issues[0]!
    throw malformed(path.join('.'), message)
  },
  response: (chunks, _chat, base) => toCompletion(chunks, base),
  events: ({ stream_options }) => ({
    push: (chunk) => (chunk.choices.length === 0 && !stream_options?.include_usage ? [] : [{ data: chunk }]),
    end: () => [],
  }),
  echo: ({ stream_options }) => stream_options?.include_usage ?? false,
}

function toTool({ type, function: own, cache_control, ...rest }: z.infer<typeof tool>, notes: Notes): Tool {
  const { name, description, parameters, strict, ...more } = own
  notes.rest(rest, 'tools.')
  notes.rest(more, 'tools.function.')
  return {
    type,
    function: { name, ...compact({ description, parameters, strict }) },
    ...(cache_control ? { cache_control } : {}),
  }
}

/** What each part is known by. */
const known = 'type text refusal image_url input_audio file citations cache_control'

/** What else an answer had is told only, as its client has not asked for it. */
function toPart(part: z.infer<typeof anyPart>, isAnswers: boolean, notes: Notes): Part {
  const rest = Object.entries(without(part, known)).filter(([, value]) => value != null)
  if (rest.length === 0) return part
  if (!isAnswers) notes.rest(Object.fromEntries(rest), 'messages.content.')
  else for (const [name] of rest) notes.leave(`messages.content.${name}`)
  const names = new Set(rest.map(([name]) => name))
  return Object.fromEntries(Object.entries(part).filter(([name]) => !names.has(name))) as unknown as Part // the rest of one
}

/** Formats of reasoning that a dialect here writes; without one it is Anthropic's. */
const isKnown = /^(anthropic-claude-v1|google-gemini-v1|openai-responses-v1)?$/

/** What of a message the hub has no word for is told. `reasoning` is Groq's and OpenRouter's word. */
function toMessage(given: z.infer<typeof message>, notes: Notes): Message {
  const { role, content: written, refusal, tool_calls, tool_call_id, images, ...more } = given
  const content = Array.isArray(written)
    ? written.map((one) => toPart(one, role === 'assistant', notes))
    : written
  const { reasoning_content, reasoning_details, reasoning: thought, ...rest } = more
  notes.rest(rest, 'messages.')
  // What nobody here has sealed, nobody here can open.
  const details = reasoning_details?.filter((one): one is Reasoning => isKnown.test(one.format ?? ''))
  if (details?.length !== reasoning_details?.length) notes.leave('reasoning_details')
  const said = reasoning_content ?? (typeof thought === 'string' ? thought : undefined)
  return compact({
    role,
    content: refusal ? [...partsOf(content), { type: 'refusal', refusal } satisfies Part] : content,
    tool_calls,
    tool_call_id,
    images,
    reasoning_content: said,
    reasoning_details: details,
  }) as Message // its role is there
}
