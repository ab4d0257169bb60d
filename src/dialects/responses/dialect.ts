import type { Dialect } from '../dialect.ts'
import type { Chat, Json, Message, Part, Tool, WebSearch } from '../hub.ts'
import type { Notes } from '../notes.ts'
import { checkWords, compact, fitId, partsOf, toEffort } from '../parts.ts'
import { tidy } from '../tidy.ts'
import { events, replay } from './answer.ts'

/** OpenAI's Responses, for models that serve nothing else (API reference, "Responses"; openai-node). */
export const responses: Dialect = {
  name: 'openai-responses',
  speaks: { responses: 'responses', embeddings: 'embeddings' },
  tidy,
  request: (chat, notes) => ({
    path: 'responses',
    body: compact({ ...toRequest(chat, notes), stream: chat.stream || undefined }),
  }),
  replay,
  events,
}

/** Models that reason unasked. */
const isReasoner = /^(o\d|gpt-[5-9]|codex)/
/** Ids of calls have no more letters. */
const idMax = 64
/** OpenAI's own fields, which both of its APIs have. */
const shared = /^(metadata|prompt_cache_.*|safety_identifier|service_tier|user)$/

function toRequest(chat: Chat, notes: Notes): Json {
  const { model, messages, tools, tool_choice, parallel_tool_calls, response_format, verbosity, ...more } =
    chat
  const { reasoning_effort, reasoning_budget, max_tokens, max_completion_tokens, logprobs, ...others } = more
  const { temperature, top_p, top_logprobs, web_search_options, stream, stream_options, store, ...rest } =
    others
  const own = Object.entries(rest).filter(([field]) => shared.test(field))
  notes.rest(Object.fromEntries(Object.entries(rest).filter(([field]) => !shared.test(field))))
  checkWords(chat, notes, { detail: true, strict: true })
  const effort = reasoning_effort ?? (reasoning_budget == null ? undefined : toEffort(reasoning_budget))
  const search = web_search_options ? [toSearch(web_search_options, notes)] : []
  const named = [...(tools ?? []).map(toTool), ...search]
  const text = compact({ format: toFormat(response_format), verbosity })
  const include = [
    ...(effort || isReasoner.test(model) ? ['reasoning.encrypted_content'] : []),
    ...(logprobs ? ['message.output_text.logprobs'] : []),
  ]
  return {
    ...Object.fromEntries(own),
    model,
    input: messages.flatMap((message) => toItems(message, notes)),
    store: store ?? false, // nothing refers to what was stored, since a chat is sent whole each time
    tools: named.length ? named : undefined,
    tool_choice: typeof tool_choice === 'object' && tool_choice ? toNamed(tool_choice) : tool_choice,
    parallel_tool_calls,
    text: Object.keys(text).length ? text : undefined,
    reasoning: effort && { effort, summary: effort === 'none' ? undefined : 'auto' },
    include: include.length ? include : undefined,
    max_output_tokens: max_completion_tokens ?? max_tokens,
    temperature,
    top_p,
    top_logprobs,
  }
}

const toNamed = ({ function: { name } }: { function: { name: string } }): Json => ({ type: 'function', name })

function toSearch({ user_location, search_context_size, ...rest }: WebSearch, notes: Notes): Json {
  notes.rest(rest, 'web_search_options.')
  const where = user_location && { ...user_location.approximate, type: 'approximate' }
  return compact({ type: 'web_search', user_location: where, search_context_size })
}

function toTool({ function: { name, description, parameters, strict } }: Tool): Json {
  return compact({
    type: 'function',
    name,
    description,
    parameters: parameters ?? {},
    strict: strict ?? false,
  })
}

function toFormat(format: Chat['response_format']): Json | undefined {
  if (format?.type !== 'json_schema') return format ? { type: format.type } : undefined
  const { name, description, schema, strict } = format.json_schema
  return compact({ type: 'json_schema', name, description, schema: schema ?? {}, strict })
}

/** A message, the calls in it, and the thought that led to them, are items of their own. */
function toItems(message: Message, notes: Notes): Json[] {
  const { role, content, tool_call_id = '', tool_calls, reasoning_content, is_error } = message
  if (is_error) notes.leave('is_error')
  const parts = partsOf(content).flatMap((part) => toPart(part, role === 'assistant', notes))
  if (role === 'tool') {
    const output = typeof content === 'string' ? content : parts
    return [{ type: 'function_call_output', call_id: fitId(tool_call_id, idMax), output }]
  }
  const thought = (message.reasoning_details ?? []).flatMap(({ data, signature, id, format }): Json[] => {
    const encrypted_content = data ?? signature
    if (format !== 'openai-responses-v1' || !encrypted_content) return []
    return [compact({ type: 'reasoning', id, summary: [], encrypted_content })]
  })
  if (reasoning_content && thought.length === 0) notes.leave('reasoning_content')
  const calls = (tool_calls ?? []).map(({ id, function: called }) => ({
    type: 'function_call',
    call_id: fitId(id, idMax),
    ...called,
  }))
  return [...thought, ...(parts.length ? [{ type: 'message', role, content: parts }] : []), ...calls]
}

function toPart(part: Part, isAnswer: boolean, notes: Notes): Json[] {
  switch (part.type) {
    case 'text':
      return [isAnswer ? { type: 'output_text', text: part.text } : { type: 'input_text', text: part.text }]
    case 'refusal':
      return [{ type: 'refusal', refusal: part.refusal }]
    case 'image_url':
      return [{ type: 'input_image', image_url: part.image_url.url, detail: part.image_url.detail ?? 'auto' }]
    case 'file':
      return [toFile(part, notes)]
    case 'input_audio':
      notes.refuse('input_audio')
      return []
    default:
      return part satisfies never
  }
}

function toFile(
  { file: { file_id, file_data, filename }, citations }: Part & { type: 'file' },
  notes: Notes,
): Json {
  if (citations) notes.refuse('citations')
  const isHere = file_data?.startsWith('data:')
  return compact({
    type: 'input_file',
    file_id,
    file_data: isHere ? file_data : undefined,
    file_url: isHere ? undefined : file_data,
    filename: isHere ? (filename ?? 'file') : undefined,
  })
}
