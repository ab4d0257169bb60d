import { isObject, type Json } from '../usage.ts'
import { addDelta, at, type Draft, listOf, objectAt } from './merge.ts'

/** Cohere's second version: `{id, message, finish_reason, usage}`. */
export function cohere(events: readonly Json[]): Json {
  const answer: Draft = {}
  const message: Draft = {}
  for (const event of events) {
    const delta = objectAt(event, 'delta')
    const own = objectAt(delta, 'message')
    if (event.type === 'message-start') Object.assign(answer, { id: event.id })
    if (event.type === 'message-start') Object.assign(message, own)
    else if (event.type === 'message-end') Object.assign(answer, delta)
    else addMessage(message, own, Number(event.index ?? 0))
  }
  const { finish_reason, usage, ...rest } = answer
  return { ...rest, message, ...(finish_reason !== undefined && { finish_reason, usage }) }
}

/** Lists of a whole message come item by item, as objects. */
function addMessage(message: Draft, delta: Json, index: number): void {
  for (const [key, value] of Object.entries(delta)) {
    if (isObject(value)) addDelta(at(listOf(message, key), index), value)
    else addDelta(message, { [key]: value })
  }
}

/** Its first version's last line holds the answer; of a stream that was cut, the texts that came. */
export function cohereLines(events: readonly Json[]): Json {
  const end = events.findLast(({ event_type }) => event_type === 'stream-end')
  if (isObject(end?.response)) return end.response
  const texts = events.filter(({ event_type }) => event_type === 'text-generation').map(({ text }) => text)
  return { ...events.find(({ generation_id }) => generation_id !== undefined), text: texts.join('') }
}
