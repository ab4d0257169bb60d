import type { Dialect, StreamEvent, Translator } from './dialect.ts'
import { brokenOff, readFailure } from './failure.ts'
import type { Chat, Chunk, Completion, Json, Message, Part } from './hub.ts'
import type { Notes } from './notes.ts'
import { compact, leaveCaching, partsOf, toEffort } from './parts.ts'

/** In what the vendors of this wire differ. */
export interface Flavor {
  /** OpenAI's own words for the maximum and the system; its followers know `max_tokens` and `system`. */
  readonly isOwn?: boolean
  /** Takes `reasoning_content` back in the next turn. */
  readonly reasons?: boolean
  /** Serves OpenAI's Responses too. */
  readonly responds?: boolean
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
    request: (chat, notes) => ({ path: 'chat/completions', body: toRequest(chat, notes, flavor) }),
    replay: (body) => [{ data: body }],
    events,
  }
}

/** OpenAI's own. */
export const openai: Dialect = likeOpenai({ isOwn: true, responds: true })

/** From a client of another API: what only the hub has a word for is left out. */
function toRequest(chat: Chat, notes: Notes, flavor: Flavor): Json {
  const { messages, tools, max_tokens, max_completion_tokens, reasoning_effort, reasoning_budget, ...rest } =
    chat
  const max = max_completion_tokens ?? max_tokens
  leaveCaching(chat, notes)
  return compact({
    ...rest,
    messages: messages.map((message) => toMessage(message, notes, flavor)),
    tools: tools?.map(({ cache_control, ...tool }) => tool),
    reasoning_effort: reasoning_effort ?? (reasoning_budget == null ? undefined : toEffort(reasoning_budget)),
    ...(flavor.isOwn ? { max_completion_tokens: max } : { max_tokens: max }),
  })
}

function toMessage(message: Message, notes: Notes, { isOwn, reasons }: Flavor): Json {
  const { reasoning_details, reasoning_content, is_error, tool_calls, content, role, ...rest } = message
  if (is_error) notes.leave('is_error')
  const thought = reasoning_content ?? reasoning_details?.map(({ text }) => text ?? '').join('')
  if (thought && !reasons) notes.leave('reasoning_content')
  return compact({
    ...rest,
    role: role === 'developer' && !isOwn ? 'system' : role,
    content: typeof content === 'string' ? content : toContent(content, role === 'tool', notes),
    tool_calls: tool_calls?.map(({ extra_content, ...call }) => call),
    reasoning_content: reasons ? thought : undefined,
  })
}

function toContent(content: Message['content'], isResult: boolean, notes: Notes): unknown {
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

/** A chunk, or a whole answer; every member may be missing. */
type Answer = Partial<Omit<Chunk, 'choices' | 'object'>> & {
  readonly choices?: readonly (Partial<Chunk['choices'][number]> & { readonly message?: Message })[]
  readonly error?: unknown
  readonly errors?: unknown
}

function events(base: { id: string; created: number; model: string }): Translator<StreamEvent, Chunk> {
  let isOver = false
  const begun = new Set<number>()
  return {
    push({ event, data }) {
      isOver ||= event === 'done'
      const answer = data as Answer & Partial<Completion> // lenient: every member may be missing
      if (answer.error || answer.errors) throw readFailure(answer)
      const choices = (answer.choices ?? []).map(({ index = 0, delta, message, finish_reason, logprobs }) => {
        isOver ||= !!finish_reason
        const own = delta ?? toDelta(message)
        const role = begun.has(index) ? {} : ({ role: 'assistant' } as const)
        begun.add(index)
        const { reasoning, ...said } = own as typeof own & { reasoning?: string } // Groq's and OpenRouter's word
        const thought = reasoning && !said.reasoning_content ? { reasoning_content: reasoning } : {}
        const text = { ...role, ...said, ...thought }
        return {
          index,
          delta: text,
          ...(logprobs != null && { logprobs }),
          finish_reason: finish_reason ?? null,
        }
      })
      const { id = base.id, created = base.created, model = base.model, usage } = answer
      const chunk = { id, object: 'chat.completion.chunk', created, model, choices } as const
      return choices.length > 0 || usage ? [{ ...chunk, ...(usage && { usage }) }] : []
    },
    end() {
      if (!isOver) throw brokenOff()
      return []
    },
  }
}

/** A whole message as one delta. */
function toDelta(message: Message | undefined): Chunk['choices'][number]['delta'] {
  const { tool_calls, content, role: _, ...rest } = message ?? {}
  return {
    ...(rest as object),
    ...(typeof content === 'string' && { content }),
    ...(tool_calls && { tool_calls: tool_calls.map((call, index) => ({ index, ...call })) }),
  }
}
