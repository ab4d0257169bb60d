import type { Dialect } from '../dialect.ts'
import type { Chat, Json, Message, Part } from '../hub.ts'
import type { Notes } from '../notes.ts'
import { checkWords, compact, fitId, partsOf, toEffort } from '../parts.ts'
import { tidy } from '../tidy.ts'
import { events } from './answer.ts'

/** OpenAI takes no longer ids of calls. */
const idMax = 40

/** Models of OpenAI's that never think, and refuse to be told how much. */
const thinksNever = /^(gpt-(3|4)|chatgpt-)/

/** In what the vendors of this wire differ. */
export interface Flavor {
  /** OpenAI's own words for the maximum and the system; its followers know `max_tokens` and `system`. */
  readonly isOwn?: boolean
  /** Takes `reasoning_content` back in the next turn. */
  readonly reasons?: boolean
  /** Serves OpenAI's Responses too. */
  readonly responds?: boolean
  /** Refuses what OpenAI has no word for. */
  readonly isStrict?: boolean
  /** Tells the usage of streams unasked, and refuses to be asked. */
  readonly tellsUsage?: boolean
}

/** OpenAI's chat completions, which is the hub itself, and Embeddings (API reference; openai-node). */
export function likeOpenai(flavor: Flavor = {}): Dialect {
  return {
    name: 'openai',
    speaks: {
      chat: 'chat/completions',
      embeddings: 'embeddings',
      ...(flavor.responds && { responses: 'responses' }),
    },
    ...((flavor.isOwn || flavor.isStrict) && { tidy }),
    request: (chat, notes) => ({ path: 'chat/completions', body: toRequest(chat, notes, flavor) }),
    replay: (body) => [{ data: body }],
    events,
  }
}

/** OpenAI's own. */
export const openai: Dialect = likeOpenai({ isOwn: true, responds: true })

/** From a client of another API: what only the hub has a word for is left out. */
function toRequest(chat: Chat, notes: Notes, flavor: Flavor): Json {
  const { messages, tools, max_tokens, max_completion_tokens, reasoning_effort, reasoning_budget, ...more } =
    chat
  const { stream_options, top_k, ...rest } = more
  const max = max_completion_tokens ?? max_tokens
  const isIdle = flavor.isOwn && reasoning_effort === 'none' && thinksNever.test(chat.model)
  const effort = reasoning_effort ?? (reasoning_budget == null ? undefined : toEffort(reasoning_budget))
  checkWords(chat, notes, { detail: true, strict: true })
  if (flavor.isOwn && top_k != null) notes.refuse('top_k', 'OpenAI has no such limit')
  return compact({
    ...rest,
    top_k: flavor.isOwn ? undefined : top_k,
    stream_options: flavor.tellsUsage ? undefined : stream_options,
    messages: messages.map((message) => toMessage(message, notes, flavor)),
    tools: tools?.map(({ cache_control, ...tool }) => tool),
    reasoning_effort: isIdle ? undefined : effort,
    ...(flavor.isOwn ? { max_completion_tokens: max } : { max_tokens: max }),
  })
}

function toMessage(message: Message, notes: Notes, { isOwn = false, reasons }: Flavor): Json {
  const { reasoning_details, reasoning_content, is_error, tool_calls, tool_call_id, content, ...more } =
    message
  const { role, images, ...rest } = more
  if (is_error) notes.leave('is_error')
  const thought = reasoning_content ?? reasoning_details?.map(({ text }) => text ?? '').join('')
  if (thought && !reasons) notes.leave('reasoning_content')
  return compact({
    ...rest,
    role: role === 'developer' && !isOwn ? 'system' : role,
    content: typeof content === 'string' ? content : toContent(message, notes, isOwn),
    tool_calls: tool_calls?.map(({ extra_content, id, ...call }) => ({ ...call, id: fitId(id, idMax) })),
    tool_call_id: tool_call_id === undefined ? undefined : fitId(tool_call_id, idMax),
    reasoning_content: reasons ? thought : undefined,
  })
}

function toContent({ content, role }: Message, notes: Notes, isOwn: boolean): unknown {
  const isResult = role === 'tool'
  const parts = partsOf(content).flatMap((part): Part[] => {
    const { cache_control, ...own } = part
    if (isResult && own.type !== 'text')
      notes.refuse(`tool.${own.type}`, 'OpenAI takes texts as results of tools')
    else if (own.type === 'file') return toFile(own, notes)
    else return [own]
    return []
  })
  const texts = parts.map((part) => (part.type === 'text' ? part.text : undefined))
  // Followers of this wire often know a text only, where that is all there is.
  if (isOwn && parts.length > 1) return parts
  if (texts.every((text) => text !== undefined)) return texts.length ? texts.join('\n') : undefined
  return parts
}

function toFile(part: Part & { type: 'file' }, notes: Notes): Part[] {
  const { file, citations } = part
  if (citations) notes.refuse('citations')
  if (file.file_data?.startsWith('data:') !== false)
    return [{ type: 'file', file: { filename: 'file', ...file } }]
  notes.refuse('file.file_data', 'OpenAI takes files in base64, or by their id')
  return []
}
