import { isObject, type Json } from '../usage.ts'
import { addText, at, type Draft, listOf, objectAt } from './merge.ts'

/** Gemini's generateContent: texts that follow one another are one part, thoughts apart from the rest. */
export function gemini(events: readonly Json[]): Json {
  const answer: Draft = {}
  const candidates: unknown[] = []
  for (const { candidates: pieces, ...rest } of events) {
    Object.assign(answer, rest)
    for (const piece of Array.isArray(pieces) ? pieces.filter(isObject) : []) {
      const { content, ...own } = piece
      const candidate = at(candidates, Number(piece.index ?? 0))
      Object.assign(candidate, own)
      if (isObject(content)) candidate.content = addContent(objectAt(candidate, 'content'), content)
    }
  }
  return { candidates, ...answer }
}

function addContent(known: Json, { parts, ...rest }: Json): Draft {
  const content: Draft = { ...known, ...rest }
  const list = listOf(content, 'parts')
  for (const part of Array.isArray(parts) ? parts.filter(isObject) : []) {
    const last = list.at(-1)
    if (isObject(last) && isText(last) && isText(part) && last.thought === part.thought) {
      const { text, ...own } = part
      Object.assign(last, own)
      addText(last as Draft, 'text', text)
    } else list.push({ ...part })
  }
  return content
}

/** One without a call or a file; its signature belongs to all of it. */
const isText = (part: Json): boolean =>
  typeof part.text === 'string' &&
  Object.keys(part).every((key) => ['text', 'thought', 'thoughtSignature'].includes(key))
