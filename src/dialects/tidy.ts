import type { ApiName, Json } from './hub.ts'
import type { Notes } from './notes.ts'
import { fitId } from './parts.ts'

/**
 * Conversations that go on with another vendor: what an answer of one left in them, in the words of `hub.ts` or sealed
 * with its name, the next one refuses. What has none of it stays the very object it was, as nothing here is checked.
 */

/** OpenAI takes no longer ids of calls in chat. */
const chatIdMax = 40

/** Seals of vendors, as `anthropic/messages.ts` and `responses/api.ts` write them where they are another one's. */
const isForeign = (seal: unknown): boolean => /^[a-z]+-[a-z]+-v1[/#]/.test(String(seal))

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A list with its members changed; itself where none is. Undefined stands for a member that goes. */
function change(list: unknown, to: (member: Json) => Json | undefined): unknown {
  if (!Array.isArray(list)) return list
  const changed = list.map((member: unknown) => (isObject(member) ? to(member) : member))
  const isSame = changed.every((member, index) => member === list[index])
  return isSame ? list : changed.filter((member) => member !== undefined)
}

/** An object with a member changed; itself where it is not. */
const set = (object: Json, name: string, value: unknown): Json =>
  object[name] === value ? object : { ...object, [name]: value }

/** An object without some members; itself where it has none of them. */
function omit(object: Json, names: readonly string[], notes: Notes): Json {
  const found = names.filter((name) => Object.hasOwn(object, name))
  if (found.length === 0) return object
  for (const name of found) if (object[name] != null) notes.leave(name)
  return Object.fromEntries(Object.entries(object).filter(([name]) => !found.includes(name)))
}

/** A chat for OpenAI itself, or for one of its followers that are as strict. */
export function tidyChat(body: Json, notes: Notes): Json {
  const toShort = (object: Json, name: string): Json => {
    const id = object[name]
    return typeof id === 'string' && id.length > chatIdMax
      ? { ...object, [name]: fitId(id, chatIdMax) }
      : object
  }
  const toMessage = (message: Json): Json => {
    const own = omit(message, ['reasoning_content', 'reasoning_details', 'images'], notes)
    const parts = change(own.content, (part) => omit(part, ['cache_control'], notes))
    const calls = change(own.tool_calls, (call) =>
      toShort(omit(call, ['extra_content', 'index'], notes), 'id'),
    )
    return toShort(set(set(own, 'content', parts), 'tool_calls', calls), 'tool_call_id')
  }
  const tools = change(body.tools, (tool) => omit(tool, ['cache_control'], notes))
  return set(set(body, 'messages', change(body.messages, toMessage)), 'tools', tools)
}

/** Messages for Anthropic: thoughts that others have signed, or nobody, go, and so do turns of nothing else. */
export function tidyMessages(body: Json, notes: Notes): Json {
  const toBlock = (block: Json): Json | undefined => {
    const { type, signature, id, tool_use_id } = block
    if (type === 'thinking' && (!signature || isForeign(signature))) return void notes.leave('thinking')
    if (type === 'tool_use') return set(block, 'id', fitId(String(id)))
    if (type === 'tool_result') return set(block, 'tool_use_id', fitId(String(tool_use_id)))
    return block
  }
  const toTurn = (turn: Json): Json | undefined => {
    const content = change(turn.content, toBlock)
    return content !== turn.content && (content as unknown[]).length === 0
      ? undefined
      : set(turn, 'content', content)
  }
  const messages = change(body.messages, toTurn)
  const thinking = body.thinking as { type?: unknown } | undefined // looked into only
  const goesOn = thinking?.type === 'enabled' && wantsThought(messages)
  return set(goesOn ? omit(body, ['thinking'], notes) : body, 'messages', messages)
}

/** Models that think by a budget refuse to go on with a call that no thought of theirs has led to. */
function wantsThought(messages: unknown): boolean {
  const turns = Array.isArray(messages) ? messages.filter(isObject) : []
  const { content } = turns.findLast(({ role }) => role === 'assistant') ?? {}
  const blocks = Array.isArray(content) ? content.filter(isObject) : []
  return blocks.some(({ type }) => type === 'tool_use') && !/thinking$/.test(String(blocks[0]?.type))
}

/** Responses for OpenAI itself: reasoning that it has not sealed goes; what it stored it knows by its id. */
export function tidyResponses(body: Json, notes: Notes): Json {
  const toItem = (item: Json): Json | undefined => {
    if (item.type !== 'reasoning') return item
    const isOurs = /^rs_\d+_/.test(String(item.id)) && !item.encrypted_content
    return isOurs || isForeign(item.encrypted_content) ? void notes.leave('reasoning') : item
  }
  return set(body, 'input', change(body.input, toItem))
}

/** By API; embeddings have no conversation. */
export function tidy(api: ApiName, body: Json, notes: Notes): Json {
  if (api === 'chat') return tidyChat(body, notes)
  if (api === 'messages') return tidyMessages(body, notes)
  return api === 'responses' ? tidyResponses(body, notes) : body
}
