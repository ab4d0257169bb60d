import { isObject, type Json } from '../usage.ts'
import { addText, at, type Draft, listOf } from './merge.ts'

/** OpenAI's responses: its last event holds the answer; of a stream that was cut, what its items had come to. */
export function responses(events: readonly Json[]): Json {
  const told = events.findLast(({ type }) => /^response\.(completed|incomplete|failed)$/.test(String(type)))
  if (isObject(told?.response)) return told.response
  const answer: Draft = {}
  const output: unknown[] = []
  for (const event of events) {
    if (isObject(event.response)) Object.assign(answer, event.response)
    if (event.type === 'error') answer.error = event
    if (typeof event.output_index === 'number') addEvent(output, event.output_index, event)
  }
  return { ...answer, output }
}

function addEvent(output: unknown[], index: number, event: Json): void {
  const item = at(output, index)
  const { type, delta } = event
  const kind = String(type).replace(/^response\./, '')
  if (kind === 'output_item.added' || kind === 'output_item.done') output[index] = structuredClone(event.item)
  else if (kind === 'content_part.added' || kind === 'content_part.done')
    listOf(item, 'content')[Number(event.content_index)] = structuredClone(event.part)
  else if (kind === 'reasoning_summary_part.added')
    listOf(item, 'summary')[Number(event.summary_index)] = structuredClone(event.part)
  else if (kind === 'reasoning_summary_text.delta')
    addText(at(listOf(item, 'summary'), Number(event.summary_index)), 'text', delta)
  else if (kind === 'function_call_arguments.delta') addText(item, 'arguments', delta)
  else if (kind === 'refusal.delta')
    addText(at(listOf(item, 'content'), Number(event.content_index)), 'refusal', delta)
  else if (kind.endsWith('text.delta'))
    addText(at(listOf(item, 'content'), Number(event.content_index)), 'text', delta)
}
