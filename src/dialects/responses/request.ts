import * as z from 'zod/mini'
import { limits } from '../../limits.ts'
import { malformed } from '../failure.ts'
import type { Chat, Json, Message, Part, Reasoning, ReasoningFormat, ToolCall, WebSearch } from '../hub.ts'
import type { Notes } from '../notes.ts'
import { compact, isGoogles, signCall, without } from '../parts.ts'

const text = z.nullish(z.string())
const part = z.discriminatedUnion('type', [
  z.object({ type: z.enum(['input_text', 'output_text', 'text']), text: z.string() }),
  z.object({ type: z.literal('refusal'), refusal: z.string() }),
  z.object({ type: z.literal('input_image'), image_url: text, file_id: text, detail: text }),
  z.object({ type: z.literal('input_file'), file_id: text, file_data: text, file_url: text, filename: text }),
])
const content = z.union([z.string(), z.array(part)])
const roles = ['user', 'assistant', 'system', 'developer'] as const
const item = z.union([
  z.object({ type: z.optional(z.literal('message')), role: z.enum(roles), content }),
  z.object({
    type: z.literal('function_call'),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
  }),
  z.object({ type: z.literal('function_call_output'), call_id: z.string(), output: content }),
  z.object({
    type: z.literal('reasoning'),
    id: text,
    summary: z.nullish(z.array(z.object({ text: z.string() }))),
    content: z.nullish(z.array(z.object({ text: z.string() }))),
    encrypted_content: text,
  }),
])
type Item = z.infer<typeof item>

const schema = z.record(z.string(), z.unknown())
const flag = z.nullish(z.boolean())
const number = z.nullish(z.number())
const request = z.looseObject({
  model: z.string(),
  input: z.union([z.string(), z.array(z.unknown()).check(z.maxLength(limits.turns))]),
  instructions: text,
  tools: z.nullish(
    z.array(
      z.looseObject({
        type: z.string(),
        name: text,
        description: text,
        parameters: z.nullish(schema),
        strict: flag,
      }),
    ),
  ),
  tool_choice: z.nullish(
    z.union([
      z.enum(['none', 'auto', 'required']),
      z.object({ type: z.literal('function'), name: z.string() }),
    ]),
  ),
  text: z.nullish(
    z.looseObject({
      format: z.nullish(
        z.discriminatedUnion('type', [
          z.object({ type: z.enum(['text', 'json_object']) }),
          z.object({
            type: z.literal('json_schema'),
            name: z.string(),
            description: z.optional(z.string()),
            schema: z.optional(schema),
            strict: flag,
          }),
        ]),
      ),
      verbosity: text,
    }),
  ),
  reasoning: z.nullish(
    z.looseObject({
      effort: z.nullish(z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'])),
    }),
  ),
  max_output_tokens: z.nullish(z.int()),
  parallel_tool_calls: flag,
  temperature: number,
  top_p: number,
  top_logprobs: z.nullish(z.int()),
  user: text,
  include: z.nullish(z.array(z.string())),
  stream: flag,
})
type Request = z.infer<typeof request>

/** What OpenAI's Responses say, in the hub's words. @throws Failure */
export function readResponses(body: Json, notes: Notes): Chat {
  const parsed = request.safeParse(body)
  if (!parsed.success) throw toMalformed(parsed.error)
  const { model, input, instructions, tools, tool_choice, text: wanted, reasoning, ...more } = parsed.data
  const { max_output_tokens, parallel_tool_calls, temperature, top_p, top_logprobs, user, stream, ...last } =
    more
  const { include, ...rest } = last
  notes.rest(rest)
  notes.rest(without(reasoning ?? {}, 'effort'), 'reasoning.')
  notes.rest(without(wanted ?? {}, 'format verbosity'), 'text.')
  const functions = (tools ?? []).flatMap((tool, index) => toTool(tool, index, notes))
  const format = wanted?.format
  const first: Message[] = instructions ? [{ role: 'developer', content: instructions }] : []
  const turns = typeof input === 'string' ? [{ role: 'user', content: input } as const] : toMessages(input)
  return {
    ...compact({
      tools: functions.length ? functions : undefined,
      tool_choice: typeof tool_choice === 'object' && tool_choice ? toChoice(tool_choice) : tool_choice,
      parallel_tool_calls,
      response_format:
        format?.type === 'json_schema'
          ? {
              type: 'json_schema' as const,
              json_schema: {
                name: format.name,
                description: format.description,
                ...(format.schema && { schema: format.schema }),
                strict: format.strict,
              },
            }
          : format,
      verbosity: wanted?.verbosity,
      reasoning_effort: reasoning?.effort,
      max_completion_tokens: max_output_tokens,
      temperature,
      top_p,
      logprobs: top_logprobs || include?.includes('message.output_text.logprobs') ? true : undefined,
      top_logprobs,
      web_search_options: toSearch(tools ?? [], notes),
      user,
      stream,
      stream_options: stream ? { include_usage: true } : undefined,
    }),
    model,
    messages: [...first, ...turns],
  }
}

function toMalformed(error: z.core.$ZodError, where: readonly (string | number)[] = []): Error {
  const { path, message } = error.issues[0]!
  return malformed([...where, ...path].join('.'), message)
}

const toChoice = ({ name }: { name: string }) => ({ type: 'function', function: { name } }) as const
const isSearch = ({ type }: { type: string }): boolean => /^web_search/.test(type)

type GivenTool = NonNullable<Request['tools']>[number]

function toSearch(tools: readonly GivenTool[], notes: Notes): WebSearch | undefined {
  const index = tools.findIndex(isSearch)
  const tool = tools[index]
  if (!tool) return undefined
  const { type, user_location, search_context_size, ...rest } = tool
  notes.rest(rest, `tools.${index}.`)
  const { type: _, ...approximate } = (user_location ?? {}) as Json // of nothing else is there a word
  return {
    ...(user_location ? { user_location: { type: 'approximate' as const, approximate } } : {}),
    ...(typeof search_context_size === 'string' && { search_context_size }),
  }
}

function toTool(tool: GivenTool, index: number, notes: Notes) {
  const { type, name, description, parameters, strict, ...rest } = tool
  if (isSearch(tool)) return []
  if (type !== 'function' || !name) {
    notes.refuse(`tools.${index}.type`)
    return []
  }
  notes.rest(rest, `tools.${index}.`)
  return [{ type: 'function' as const, function: { ...compact({ description, parameters, strict }), name } }]
}

/** Thought, text and calls that follow one another are one message of the assistant. */
function toMessages(input: readonly unknown[]): Message[] {
  const turns: [Message, ...Message[]][] = []
  for (const [index, value] of input.entries()) {
    const parsed = item.safeParse(value)
    if (!parsed.success) throw toUnknown(value, index, parsed.error)
    const message = toMessage(parsed.data)
    const last = turns.at(-1)
    if (last?.[0].role === 'assistant' && message.role === 'assistant') last.push(message)
    else turns.push([message])
  }
  return turns.map((turn) => (turn.length > 1 ? join(turn) : turn[0]))
}

function toUnknown(value: unknown, index: number, error: z.core.$ZodError): Error {
  const { type } = (value ?? {}) as { type?: unknown } // looked into only
  if (type === 'item_reference')
    return malformed(`input.${index}`, 'nothing is stored here: send the items themselves (store: false)')
  if (typeof type === 'string' && !/^(message|function_call|function_call_output|reasoning)$/.test(type))
    return malformed(`input.${index}.type`, `${type} has no word in chat completions`)
  return toMalformed(error, ['input', index])
}

function join(turn: readonly Message[]): Message {
  const parts = turn.flatMap(({ content }) => (content ?? []) as Part[]) // lists, as `toMessage` makes them
  const sealOf = (index: number) => turn[index]?.reasoning_details?.at(-1)
  const calls = turn.flatMap(({ tool_calls = [] }, index) =>
    (tool_calls ?? []).map((call) => signCall(call, sealOf(index - 1))),
  )
  const thought = turn.flatMap(({ reasoning_details }, index) => {
    const isOfCall = isGoogles(sealOf(index)) && !!turn[index + 1]?.tool_calls
    return isOfCall ? [] : (reasoning_details ?? [])
  })
  const text = turn.map(({ reasoning_content }) => reasoning_content ?? '').join('')
  return {
    role: 'assistant',
    content: parts,
    ...(calls.length && { tool_calls: calls }),
    ...(thought.length && { reasoning_details: thought }),
    ...(text && { reasoning_content: text }),
  }
}

function toMessage(item: Item): Message {
  switch (item.type) {
    case 'function_call': {
      const { call_id: id, name, arguments: args } = item
      const call: ToolCall = { id, type: 'function', function: { name, arguments: args } }
      return { role: 'assistant', content: [], tool_calls: [call] }
    }
    case 'function_call_output':
      return { role: 'tool', tool_call_id: item.call_id, content: toContent(item.output) }
    case 'reasoning':
      return { role: 'assistant', content: [], ...toThought(item) }
    default: {
      const parts = toContent(item.content)
      const isText = item.role === 'assistant' && typeof parts === 'string'
      return { role: item.role, content: isText ? [{ type: 'text', text: parts }] : parts }
    }
  }
}

/** Other vendors' seals have their names before them; see `answerResponses`. */
function toThought({
  id,
  summary,
  content,
  encrypted_content,
}: Item & { type: 'reasoning' }): Partial<Message> {
  const said = [...(content ?? []), ...(summary ?? [])].map((one) => one.text).join('\n\n')
  const [, vendor, member, own] =
    /^([a-z]+-[a-z]+-v1)\/(signature|data)#(.*)$/s.exec(encrypted_content ?? '') ?? []
  const format = (vendor ?? 'openai-responses-v1') as ReasoningFormat // ours, or a word that nobody knows
  const sealed: Reasoning =
    member === 'signature'
      ? { type: 'reasoning.text', text: said, signature: own ?? '', format }
      : { type: 'reasoning.encrypted', data: own ?? encrypted_content ?? '', format, ...(id && { id }) }
  return {
    ...(said && { reasoning_content: said }),
    ...(encrypted_content && { reasoning_details: [sealed] }),
  }
}

function toContent(given: z.infer<typeof content>): string | Part[] {
  return typeof given === 'string' ? given : given.map(toPart)
}

function toPart(part: Exclude<z.infer<typeof content>, string>[number]): Part {
  if (part.type === 'refusal') return part
  if (part.type === 'input_image') {
    const { image_url: url, detail } = part
    if (url == null) throw malformed('input', 'images by their id are known to one vendor only')
    return { type: 'image_url', image_url: { url, ...(detail && { detail }) } }
  }
  if (part.type !== 'input_file') return { type: 'text', text: part.text }
  const { file_id, file_data, file_url, filename } = part
  return { type: 'file', file: compact({ file_id, file_data: file_data ?? file_url, filename }) }
}
