import * as z from 'zod/mini'
import { limits } from '../../limits.ts'
import { malformed } from '../failure.ts'
import type {
  Chat,
  Effort,
  Json,
  Message,
  Part,
  Reasoning,
  ReasoningFormat,
  Tool,
  ToolCall,
  ToolChoice,
  WebSearch,
} from '../hub.ts'
import type { Notes } from '../notes.ts'
import { compact, isGoogles, partsOf, signCall, without } from '../parts.ts'

const cached = { cache_control: z.optional(z.unknown()) }
const source = z.discriminatedUnion('type', [
  z.object({ type: z.literal('base64'), media_type: z.string(), data: z.string() }),
  z.object({ type: z.literal('text'), media_type: z.string(), data: z.string() }),
  z.object({ type: z.literal('url'), url: z.string() }),
  z.object({ type: z.literal('file'), file_id: z.string() }),
])
const seen = [
  z.looseObject({ type: z.literal('text'), text: z.string(), ...cached }),
  z.looseObject({ type: z.literal('image'), source, ...cached }),
  z.looseObject({
    type: z.literal('document'),
    source,
    title: z.nullish(z.string()),
    citations: z.optional(z.unknown()),
    ...cached,
  }),
] as const
const blocks = z.union([z.string(), z.array(z.discriminatedUnion('type', [...seen]))])
const block = z.discriminatedUnion('type', [
  ...seen,
  z.looseObject({ type: z.literal('tool_use'), id: z.string(), name: z.string(), input: z.unknown() }),
  z.looseObject({
    type: z.literal('tool_result'),
    tool_use_id: z.string(),
    content: z.optional(blocks),
    is_error: z.optional(z.boolean()),
    ...cached,
  }),
  z.object({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
  z.object({ type: z.literal('redacted_thinking'), data: z.string() }),
])
type Block = z.infer<typeof block>
type Seen = Extract<Block, { type: 'text' | 'image' | 'document' }>

const effort = z.enum(['low', 'medium', 'high', 'xhigh', 'max'])
const number = z.nullish(z.number())
const request = z.looseObject({
  model: z.string(),
  max_tokens: z.int(),
  messages: z
    .array(
      z.object({
        role: z.enum(['user', 'assistant', 'system']),
        content: z.union([z.string(), z.array(block)]),
      }),
    )
    .check(z.maxLength(limits.turns)),
  system: z.nullish(blocks),
  stop_sequences: z.nullish(z.array(z.string())),
  stream: z.nullish(z.boolean()),
  temperature: number,
  top_p: number,
  top_k: number,
  tools: z.nullish(
    z.array(
      z.looseObject({
        type: z.nullish(z.string()),
        name: z.string(),
        description: z.optional(z.string()),
        input_schema: z.optional(z.record(z.string(), z.unknown())),
        strict: z.optional(z.boolean()),
        ...cached,
      }),
    ),
  ),
  tool_choice: z.nullish(
    z.object({
      type: z.enum(['auto', 'any', 'tool', 'none']),
      name: z.optional(z.string()),
      disable_parallel_tool_use: z.optional(z.boolean()),
    }),
  ),
  thinking: z.nullish(
    z.looseObject({
      type: z.enum(['enabled', 'adaptive', 'disabled', 'between_tools']),
      budget_tokens: z.optional(z.int()),
    }),
  ),
  output_config: z.nullish(
    z.looseObject({
      effort: z.nullish(effort),
      format: z.nullish(
        z.object({ type: z.literal('json_schema'), schema: z.record(z.string(), z.unknown()) }),
      ),
    }),
  ),
  metadata: z.nullish(z.looseObject({ user_id: z.nullish(z.string()) })),
})
type Request = z.infer<typeof request>

/** What Anthropic's Messages say, in the hub's words. @throws Failure */
export function readMessages(body: Json, notes: Notes): Chat {
  const parsed = request.safeParse(body)
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!
    throw malformed(path.join('.'), message)
  }
  const { system, messages, tools, tool_choice, thinking, output_config, stop_sequences, ...more } =
    parsed.data
  const { metadata, model, max_tokens, stream, temperature, top_p, top_k, ...rest } = more
  notes.rest(rest)
  if (thinking?.type === 'between_tools') notes.refuse('thinking.type')
  notes.rest(without(thinking ?? {}, 'type budget_tokens display'), 'thinking.')
  notes.rest(without(output_config ?? {}, 'effort format'), 'output_config.')
  for (const { role, content } of messages)
    for (const part of typeof content === 'string' ? [] : content)
      checkBlock(part, role === 'assistant', notes)
  for (const part of Array.isArray(system) ? system : []) checkBlock(part, false, notes)
  const named = (tools ?? []).flatMap((tool, index) => toTool(tool, index, notes))
  const format = output_config?.format
  const first: Message[] = system ? [{ role: 'system', content: toContent(system) }] : []
  return {
    ...compact({
      stop: stop_sequences,
      temperature,
      top_p,
      top_k,
      user: metadata?.user_id,
      stream,
      stream_options: stream ? { include_usage: true } : undefined,
      tools: named.length ? named : undefined,
      tool_choice: toChoice(tool_choice),
      parallel_tool_calls: tool_choice?.disable_parallel_tool_use ? false : undefined,
      web_search_options: toSearch(tools ?? [], notes),
      ...toThought(thinking, output_config?.effort),
      response_format: format && {
        type: 'json_schema' as const,
        json_schema: { name: 'answer', schema: format.schema, strict: true },
      },
    }),
    model,
    max_tokens,
    messages: [...first, ...messages.flatMap(toMessages)],
  }
}

/** What of each block is read here; marks to cache are for those that a chat has a part for. */
const known: Readonly<Record<Block['type'], string>> = {
  text: 'type text cache_control',
  image: 'type source cache_control',
  document: 'type source title citations cache_control',
  tool_use: 'type id name input',
  tool_result: 'type tool_use_id content is_error cache_control',
  thinking: 'type thinking signature',
  redacted_thinking: 'type data',
}

/** What else an answer had is told only, as its client has not asked for it. */
function checkBlock(part: Block, isAnswers: boolean, notes: Notes): void {
  const rest = without(part, known[part.type])
  const where = `messages.${part.type}.`
  if (!isAnswers) notes.rest(rest, where)
  else for (const [name, value] of Object.entries(rest)) if (value != null) notes.leave(where + name)
  if (part.type !== 'tool_result' || typeof part.content !== 'object') return
  for (const inner of part.content) checkBlock(inner, isAnswers, notes)
}

const isSearch = ({ type }: { type?: string | null | undefined }): boolean => /^web_search/.test(type ?? '')

type GivenTool = NonNullable<Request['tools']>[number]

function toSearch(tools: readonly GivenTool[], notes: Notes): WebSearch | undefined {
  const index = tools.findIndex(isSearch)
  const tool = tools[index]
  if (!tool) return undefined
  const { type, name, cache_control, user_location, ...rest } = tool
  notes.rest(rest, `tools.${index}.`)
  if (typeof user_location !== 'object' || !user_location) return {}
  const { type: _, ...approximate } = user_location as Json // of nothing else is there a word
  return { user_location: { type: 'approximate', approximate } }
}

function toTool(tool: GivenTool, index: number, notes: Notes): Tool[] {
  const { type, name, description, input_schema, strict, cache_control, ...rest } = tool
  if (isSearch(tool)) return []
  notes.rest(rest, `tools.${index}.`)
  if (type && type !== 'custom') {
    notes.refuse(`tools.${index}.type`)
    return []
  }
  const own = compact({ name, description, parameters: input_schema, strict })
  return [{ type: 'function', function: { ...own, name }, ...(cache_control ? { cache_control } : {}) }]
}

function toChoice(choice: Request['tool_choice']): ToolChoice | undefined {
  if (choice?.type === 'tool') return { type: 'function', function: { name: choice.name ?? '' } }
  if (choice?.type === 'any') return 'required'
  return choice?.type
}

function toThought(thinking: Request['thinking'], effort: Effort | null | undefined): Partial<Chat> {
  if (thinking?.type === 'enabled') return { reasoning_budget: thinking.budget_tokens }
  if (thinking?.type === 'disabled') return { reasoning_effort: 'none' }
  if (thinking?.type === 'adaptive') return { reasoning_effort: effort ?? 'high' }
  return effort ? { reasoning_effort: effort } : {}
}

/** A turn of a user may hold results of tools, which are messages of their own. */
function toMessages({ role, content }: Request['messages'][number]): Message[] {
  if (typeof content === 'string') return [{ role, content }]
  const results = content.filter((part) => part.type === 'tool_result')
  const parts = content.filter(isSeen).map(toPart)
  const tools = results.map(({ tool_use_id, content: result = '', is_error, cache_control }): Message => {
    const own = toContent(result)
    const said = cache_control ? mark(own, cache_control) : own
    const message = { role: 'tool', tool_call_id: tool_use_id, content: said } as const
    return is_error ? { ...message, is_error } : message
  })
  if (role === 'assistant') return [...tools, toAnswer(content, parts)]
  return parts.length > 0 ? [...tools, { role, content: parts }] : tools
}

/** A mark on a result is one on the last of its parts. */
function mark(content: Message['content'], cache_control: unknown): readonly Part[] {
  const parts = partsOf(content)
  const last = parts.at(-1)
  return last ? [...parts.slice(0, -1), { ...last, cache_control }] : parts
}

function toAnswer(content: readonly Block[], parts: readonly Part[]): Message {
  const calls = content.flatMap((part, index) => toCall(part, content[index - 1]))
  const all = content.map((part) => toReasoning(part))
  const text = all.map((block) => block?.text ?? '').join('')
  const thought = all.filter((block, index): block is Reasoning => {
    const isOfCall = isGoogles(block) && content[index + 1]?.type === 'tool_use'
    return block !== undefined && !isOfCall
  })
  return {
    role: 'assistant',
    content: parts,
    ...(text && { reasoning_content: text }),
    ...(thought.length > 0 && { reasoning_details: thought }),
    ...(calls.length > 0 && {
      tool_calls: calls,
    }),
  }
}

function toCall(part: Block, before: Block | undefined): ToolCall[] {
  if (part.type !== 'tool_use') return []
  const { id, name, input } = part
  const call = { id, type: 'function', function: { name, arguments: JSON.stringify(input ?? {}) } } as const
  return [signCall(call, before && toReasoning(before))]
}

/** Other vendors' signatures have their names before them; see `answerMessages`. */
function toReasoning(part: Block): Reasoning | undefined {
  if (part.type === 'redacted_thinking') return { type: 'reasoning.encrypted', data: part.data }
  if (part.type !== 'thinking') return undefined
  const [, vendor, own] = /^([a-z]+-[a-z]+-v1)#(.*)$/s.exec(part.signature) ?? []
  const format = (vendor ?? 'anthropic-claude-v1') as ReasoningFormat // ours, or a word that nobody knows
  return { type: 'reasoning.text', text: part.thinking, signature: own ?? part.signature, format }
}

const isSeen = (part: Block): part is Seen => /^(text|image|document)$/.test(part.type)

const toContent = (content: string | readonly Seen[]): Message['content'] =>
  typeof content === 'string' ? content : content.map(toPart)

function toPart(part: Seen): Part {
  const cache = part.cache_control ? { cache_control: part.cache_control } : {}
  if (part.type === 'text') return { type: 'text', text: part.text, ...cache }
  if (part.type === 'image') return { type: 'image_url', image_url: { url: toUrl(part.source) }, ...cache }
  const { title, citations, source } = part
  const at = source.type === 'file' ? { file_id: source.file_id } : { file_data: toUrl(source) }
  return {
    type: 'file',
    file: { ...at, ...(title && { filename: title }) },
    ...(citations ? { citations } : {}),
    ...cache,
  }
}

function toUrl(source: (Seen & { type: 'image' })['source']): string {
  if (source.type === 'url') return source.url
  if (source.type === 'file') throw malformed('messages', 'images by their id are known to one vendor only')
  const data = source.type === 'base64' ? source.data : toBase64(source.data)
  return `data:${source.media_type};base64,${data}`
}

const toBase64 = (text: string): string =>
  btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(''))
