import { isObject, type Json, mergeUsage } from '../usage.ts'
import { addText, at, type Draft, listOf, objectAt, parsed } from './merge.ts'

/** Anthropic's messages, with tool use and thinking. */
export function anthropic(events: readonly Json[]): Json {
  const message: Draft = {}
  const content: unknown[] = []
  for (const event of events) {
    const index = Number(event.index)
    if (event.type === 'message_start') Object.assign(message, objectAt(event, 'message'))
    else if (event.type === 'content_block_start') content[index] = { ...objectAt(event, 'content_block') }
    else if (event.type === 'content_block_delta') addBlock(at(content, index), objectAt(event, 'delta'))
    else if (event.type === 'message_delta') {
      Object.assign(message, event.delta)
      message.usage = mergeUsage(objectAt(message, 'usage'), objectAt(event, 'usage'))
    } else if (event.type === 'error') message.error = event.error
  }
  return { ...message, content: content.filter(isObject).map(finish) }
}

function addBlock(block: Draft, delta: Json): void {
  if (delta.type === 'text_delta') addText(block, 'text', delta.text)
  else if (delta.type === 'thinking_delta') addText(block, 'thinking', delta.thinking)
  else if (delta.type === 'signature_delta') addText(block, 'signature', delta.signature)
  else if (delta.type === 'input_json_delta') addText(block, 'partial_json', delta.partial_json)
  else if (delta.type === 'citations_delta') listOf(block, 'citations').push(delta.citation)
}

/** Of a call that was cut, its input is the text that came. */
function finish({ partial_json: json, ...block }: Json): Json {
  return json === undefined || json === '' ? block : { ...block, input: parsed(json) }
}
