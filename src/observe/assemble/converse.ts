import { isObject, type Json } from '../usage.ts'
import { addText, at, type Draft, objectAt, parsed } from './merge.ts'

/** Bedrock's Converse; the names of its events stand outside of them, so that each is known by its members. */
export function converse(events: readonly Json[]): Json {
  const answer: Draft = {}
  const message: Draft = {}
  const content: unknown[] = []
  for (const { p: _, role, contentBlockIndex, start, delta, ...rest } of events) {
    if (role !== undefined) message.role = role
    const block = contentBlockIndex === undefined ? undefined : at(content, Number(contentBlockIndex))
    if (block && isObject(start)) Object.assign(block, structuredClone(start))
    if (block && isObject(delta)) addBlock(block, delta)
    Object.assign(answer, rest)
  }
  return { output: { message: { ...message, content: content.map(finish) } }, ...answer }
}

function addBlock(block: Draft, delta: Json): void {
  if ('text' in delta) addText(block, 'text', delta.text)
  if (isObject(delta.toolUse))
    block.toolUse = joined(objectAt(block, 'toolUse'), { input: delta.toolUse.input })
  if (isObject(delta.reasoningContent)) {
    const { text, signature } = delta.reasoningContent
    const known = objectAt(objectAt(block, 'reasoningContent'), 'reasoningText')
    block.reasoningContent = { reasoningText: joined(known, { text, signature }) }
  }
}

function joined(known: Json, pieces: Json): Draft {
  const draft: Draft = { ...known }
  for (const [key, piece] of Object.entries(pieces)) addText(draft, key, piece)
  return draft
}

function finish(block: unknown): unknown {
  if (!isObject(block) || !isObject(block.toolUse)) return block
  return { ...block, toolUse: { ...block.toolUse, input: parsed(block.toolUse.input ?? '{}') } }
}
