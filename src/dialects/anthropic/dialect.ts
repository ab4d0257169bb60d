import type { Dialect, Native } from '../dialect.ts'
import { malformed } from '../failure.ts'
import type { Chat, Effort, Json, Message, Part, Tool, WebSearch } from '../hub.ts'
import type { Notes } from '../notes.ts'
import {
  budgets,
  checkWords,
  compact,
  fitId,
  mergeTurns,
  partsOf,
  readArguments,
  readUrl,
  schemaOf,
  splitSystem,
  stopsOf,
} from '../parts.ts'
import { tidy } from '../tidy.ts'
import { events, replay } from './answer.ts'

/** Anthropic wants a maximum: what the models of a name can write at least, the first that fits. */
const maxTokens: readonly (readonly [RegExp, number])[] = [
  [/claude-3-(haiku|opus|sonnet)/, 4_096],
  [/claude-3-/, 8_192],
  [/./, 32_000],
]
/** Left for the answer where the maximum is ours and thought is counted in tokens. */
const answerTokens = 4_096
const budgetTokensMin = 1_024
/** Models whose thought is counted in tokens; later ones are told an effort, and decide for themselves. */
const isBudgeted = /claude-(3-|[a-z]+-4-([0-5]\b|20\d{6})|[a-z]+-4@)/

/** Anthropic's Messages (API reference, "Create a Message" and "Streaming messages"; @anthropic-ai/sdk). */
export const anthropic: Dialect = {
  name: 'anthropic',
  speaks: { messages: 'messages' },
  tidy,
  request(chat, notes): Native {
    const headers = { 'anthropic-version': '2023-06-01' }
    return {
      path: 'messages',
      headers,
      body: { ...toRequest(chat, notes), stream: chat.stream || undefined },
    }
  },
  replay,
  events,
}

/** The body of a request, without `stream`. */
export function toRequest(chat: Chat, notes: Notes): Json {
  const { model, messages, tools, tool_choice, parallel_tool_calls, response_format, stop, stream, ...more } =
    chat
  const { reasoning_effort, reasoning_budget, max_tokens, max_completion_tokens, ...others } = more
  const { temperature, top_p, top_k, user, web_search_options, stream_options, ...rest } = others
  notes.rest(rest)
  checkWords(chat, notes, { caching: true, strict: true })
  const [system, turns] = splitSystem(messages)
  const given = max_completion_tokens ?? max_tokens
  const thought = toThought(chat, notes)
  if (response_format?.type === 'json_object')
    notes.refuse('response_format', 'Anthropic takes a JSON schema only (json_schema)')
  const schema = schemaOf(response_format)
  const format = schema && { format: { type: 'json_schema', schema } }
  const choice = toToolChoice(tool_choice, parallel_tool_calls === false && !!tools?.length)
  const search = web_search_options ? [toSearch(web_search_options, notes)] : []
  const named = [...(tools ?? []).map(toTool), ...search]
  const { effort, ...thinking } = thought
  const output = { ...(effort && { effort }), ...format }
  return compact({
    model,
    max_tokens: thought.max_tokens ?? given ?? maxTokens.find(([name]) => name.test(model))?.[1],
    system: system.length ? system.flatMap(({ content }) => toBlocks(content, notes)) : undefined,
    messages: mergeTurns(
      turns.map((message) => toTurn(message, notes)),
      'content',
    ),
    tools: named.length ? named : undefined,
    tool_choice: choice,
    ...thinking,
    output_config: Object.keys(output).length ? output : undefined,
    stop_sequences: stopsOf(stop),
    temperature,
    top_p,
    top_k,
    metadata: user ? { user_id: user } : undefined,
  })
}

interface Thought {
  readonly thinking?: Json
  readonly effort?: Effort
  readonly max_tokens?: number
}

/** The thought that is asked for, in Anthropic's words. */
export function toThought(chat: Chat, notes: Notes): Thought {
  const { model, reasoning_effort: effort, reasoning_budget: budget, messages } = chat
  const given = chat.max_completion_tokens ?? chat.max_tokens
  if (effort == null && budget == null) return {}
  if (!isBudgeted.test(model)) {
    if (effort === 'none') return { thinking: { type: 'disabled' } }
    const thinking = { type: 'adaptive', display: 'summarized' }
    return { thinking, ...(effort && { effort: effort === 'minimal' ? 'low' : effort }) }
  }
  const wanted = budget ?? budgets[effort ?? 'medium']
  if (wanted <= 0) return {}
  // Such a model refuses a conversation whose last call of a tool comes without the thought that led to it.
  const last = messages.findLast(({ role }) => role === 'assistant')
  if (last?.tool_calls?.length && messages.at(-1)?.role === 'tool' && !toThinking(last, notes).length) {
    notes.leave('reasoning_effort')
    return {}
  }
  const max = given ?? wanted + answerTokens
  if (max <= budgetTokensMin) {
    notes.refuse('reasoning_effort', `needs more than ${budgetTokensMin} max_completion_tokens`)
    return {}
  }
  const budget_tokens = Math.max(Math.min(wanted, max - 1), budgetTokensMin)
  return { thinking: { type: 'enabled', budget_tokens }, max_tokens: max }
}

function toToolChoice(choice: Chat['tool_choice'], isSingle: boolean): Json | undefined {
  const single = isSingle && { disable_parallel_tool_use: true }
  if (choice == null || choice === 'auto') return single ? { type: 'auto', ...single } : undefined
  if (choice === 'none') return { type: 'none' }
  if (choice === 'required') return { type: 'any', ...single }
  return { type: 'tool', name: choice.function.name, ...single }
}

function toSearch({ user_location, search_context_size, ...rest }: WebSearch, notes: Notes): Json {
  notes.rest(rest, 'web_search_options.')
  if (search_context_size) notes.leave('web_search_options.search_context_size')
  const where = user_location && { ...user_location.approximate, type: 'approximate' }
  return compact({ type: 'web_search_20250305', name: 'web_search', user_location: where })
}

function toTool({ function: { name, description, parameters, strict }, cache_control }: Tool): Json {
  return compact({
    name,
    description,
    input_schema: parameters ?? { type: 'object', properties: {} },
    strict: strict || undefined,
    cache_control,
  })
}

interface Turn {
  readonly role: string
  readonly content: readonly Json[]
  readonly [name: string]: unknown
}

function toTurn(message: Message, notes: Notes): Turn {
  const { role, content, tool_calls, tool_call_id, is_error } = message
  const blocks = toBlocks(content, notes)
  if (role === 'tool') {
    const tool_use_id = fitId(tool_call_id ?? '')
    const content = blocks.length ? blocks : undefined
    return { role: 'user', content: [compact({ type: 'tool_result', tool_use_id, content, is_error })] }
  }
  if (role !== 'assistant') return { role: role === 'developer' ? 'system' : role, content: blocks }
  const calls = (tool_calls ?? []).map(({ id, function: { name, arguments: args } }) => ({
    type: 'tool_use',
    id: fitId(id),
    name,
    input: readArguments(args),
  }))
  return { role, content: [...toThinking(message, notes), ...blocks, ...calls] }
}

/** Thought goes back only as it was signed. */
function toThinking({ reasoning_details, reasoning_content }: Message, notes: Notes): Json[] {
  const blocks = (reasoning_details ?? []).flatMap(({ type, text, signature, data, format }): Json[] => {
    if (format && format !== 'anthropic-claude-v1') return []
    if (type === 'reasoning.encrypted' && data) return [{ type: 'redacted_thinking', data }]
    return signature ? [{ type: 'thinking', thinking: text ?? '', signature }] : []
  })
  if (blocks.length === 0 && (reasoning_content || reasoning_details?.length))
    notes.leave('reasoning_content')
  return blocks
}

function toBlocks(content: Message['content'], notes: Notes): Json[] {
  return partsOf(content).flatMap((part): Json[] => {
    const block = toBlock(part, notes)
    return block ? [part.cache_control ? { ...block, cache_control: part.cache_control } : block] : []
  })
}

function toBlock(part: Part, notes: Notes): Json | undefined {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text }
    case 'refusal':
      return { type: 'text', text: part.refusal }
    case 'image_url':
      return { type: 'image', source: toSource(part.image_url.url) }
    case 'file':
      return toDocument(part)
    case 'input_audio':
      return void notes.refuse('input_audio')
    default:
      return part satisfies never
  }
}

function toSource(url: string): Json {
  const { data, mediaType, url: address } = readUrl(url)
  return address === undefined
    ? { type: 'base64', media_type: mediaType, data }
    : { type: 'url', url: address }
}

function toDocument({
  file: { file_id, file_data = '', filename },
  citations,
}: Part & { type: 'file' }): Json {
  const source = file_id ? { type: 'file', file_id } : toSource(file_data)
  const isText = 'media_type' in source && /^text\//.test(String(source.media_type))
  const text = isText && { type: 'text', media_type: 'text/plain', data: fromBase64(String(source.data)) }
  return compact({ type: 'document', source: text || source, title: filename, citations })
}

/** @throws Failure */
function fromBase64(data: string): string {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(data), (char) => char.charCodeAt(0)))
  } catch {
    throw malformed('messages', 'the data of a file is not base64')
  }
}
