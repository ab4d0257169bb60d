import { isObject, type Json } from '../usage.ts'
import { addDelta, at, type Draft } from './merge.ts'

/** OpenAI's chat, and all that are like it: a `chat.completion` of its chunks. */
export function chat(events: readonly Json[]): Json {
  const { answer, choices } = merge(events)
  return {
    ...answer,
    ...(answer.object === 'chat.completion.chunk' && { object: 'chat.completion' }),
    choices: choices.map(({ delta, ...choice }, index) => ({
      index,
      message: { role: 'assistant', content: null, ...(isObject(delta) && delta) },
      ...choice,
    })),
  }
}

/** The older completions, of texts. */
export function completions(events: readonly Json[]): Json {
  const { answer, choices } = merge(events)
  return { ...answer, choices: choices.map((choice, index) => ({ index, ...choice })) }
}

/** Members of the chunks: the last that is none of null counts. */
function merge(events: readonly Json[]): { answer: Draft; choices: Draft[] } {
  const answer: Draft = {}
  const choices: Draft[] = []
  for (const { choices: pieces, obfuscation: _, ...rest } of events) {
    for (const [key, value] of Object.entries(rest)) if (value !== null) answer[key] = value
    for (const piece of Array.isArray(pieces) ? pieces.filter(isObject) : []) {
      const { index, ...own } = piece
      addDelta(at(choices, Number(index ?? 0)), own)
    }
  }
  return { answer, choices }
}
