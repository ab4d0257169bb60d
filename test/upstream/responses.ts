import { type Asked, checkPairs, isSigned, listOf, mediaOf, type Say, signatureOf, Wrong } from './model.ts'
import { halves, openaiError } from './openai.ts'
import { type Body, idOf, promptTokens, textOf } from './wire.ts'
import type { Wire } from './wires.ts'

const created = 1_700_000_000

/** OpenAI responses (API reference, "Responses" and "Streaming events"). */
export const responses: Wire = {
  done: false,
  ask: askResponses,
  error: openaiError,
  single: (say) => toResponse(say, true),
  stream(say) {
    const begun = toResponse(say, false)
    const events = [
      { type: 'response.created', response: begun },
      { type: 'response.in_progress', response: begun },
      ...itemsOf(say).flatMap(toEvents),
      { type: 'response.completed', response: toResponse(say, true) },
    ]
    return events.map((data, sequence_number) => ({ event: data.type, data: { ...data, sequence_number } }))
  },
}

function askResponses(body: Body): Asked {
  const input = listOf(body.input)
  const calls = input.filter(({ type }) => type === 'function_call').map(({ call_id }) => call_id)
  const outputs = input.filter(({ type }) => type === 'function_call_output')
  const results = outputs.map(({ call_id }) => call_id)
  checkPairs(calls, results, 'No tool output found for function call, or no call for its output')
  for (const { type, encrypted_content } of input) {
    if (type === 'reasoning' && !isSigned(encrypted_content))
      throw new Wrong('The encrypted content could not be verified.')
  }
  const turn = input.slice(input.findLastIndex(({ role }) => role === 'user') + 1)
  const format = (((body.text ?? {}) as Body).format ?? {}) as Body
  const choice = body.tool_choice as Body | string | undefined
  return {
    tools: listOf(body.tools)
      .filter(({ type }) => type === 'function')
      .map(({ name, parameters }) => ({ name: String(name), schema: parameters })),
    choice:
      typeof choice === 'object'
        ? { name: String(choice.name) }
        : choice === 'required'
          ? 'any'
          : choice === 'none'
            ? 'none'
            : 'auto',
    parallel: body.parallel_tool_calls !== false,
    rounds: turn.filter(
      ({ type }, index) => type === 'function_call' && turn[index - 1]?.type !== 'function_call',
    ).length,
    results: turn.filter(({ type }) => type === 'function_call_output').map(({ output }) => textOf(output)),
    json: /^json/.test(String(format.type)),
    schema: format.schema,
    thinks: typeof ((body.reasoning ?? {}) as Body).effort === 'string',
    media: input.flatMap(({ content }) =>
      listOf(content).flatMap(({ type, image_url, file_data, file_url }) => {
        if (type === 'input_image') return [mediaOf(image_url)]
        return type === 'input_file' ? [mediaOf(file_data ?? file_url)] : []
      }),
    ),
  }
}

interface Item {
  readonly item: Body
  readonly begun: Body
  readonly pieces: readonly (Body & { readonly type: string })[]
  readonly done: readonly (Body & { readonly type: string })[]
}

function itemsOf({ words, calls, thought, model }: Say): Item[] {
  return [
    ...(thought ? [toThought(thought, model)] : []),
    ...(calls.length === 0 ? [toText(words, model)] : []),
    ...calls.map(({ id, name, args }): Item => {
      const head = { id: idOf('fc_', [id], model), type: 'function_call', call_id: id, name }
      const text = JSON.stringify(args)
      const type = 'response.function_call_arguments'
      return {
        item: { ...head, status: 'completed', arguments: text },
        begun: { ...head, status: 'in_progress', arguments: '' },
        pieces: halves(text).map((delta) => ({ type: `${type}.delta`, delta })),
        done: [{ type: `${type}.done`, arguments: text }],
      }
    }),
  ]
}

function toText(words: readonly string[], model: string): Item {
  const head = { id: idOf('msg_', words, model), type: 'message', role: 'assistant' }
  const text = words.join('')
  const part = { type: 'output_text', text, annotations: [], logprobs: [] }
  const at = { content_index: 0 }
  return {
    item: { ...head, status: 'completed', content: [part] },
    begun: { ...head, status: 'in_progress', content: [] },
    pieces: [
      { type: 'response.content_part.added', ...at, part: { ...part, text: '' } },
      ...words.map((delta) => ({ type: 'response.output_text.delta', ...at, delta, logprobs: [] })),
    ],
    done: [
      { type: 'response.output_text.done', ...at, text, logprobs: [] },
      { type: 'response.content_part.done', ...at, part },
    ],
  }
}

function toThought(thought: string, model: string): Item {
  const head = { id: idOf('rs_', [thought], model), type: 'reasoning' }
  const part = { type: 'summary_text', text: thought }
  const at = { summary_index: 0 }
  return {
    item: { ...head, summary: [part], encrypted_content: signatureOf(thought) },
    begun: { ...head, summary: [] },
    pieces: [
      { type: 'response.reasoning_summary_part.added', ...at, part: { ...part, text: '' } },
      ...halves(thought).map((delta) => ({ type: 'response.reasoning_summary_text.delta', ...at, delta })),
    ],
    done: [{ type: 'response.reasoning_summary_text.done', ...at, text: thought }],
  }
}

function toEvents({ item, begun, pieces, done }: Item, output_index: number): (Body & { type: string })[] {
  const at = { item_id: item.id, output_index }
  return [
    { type: 'response.output_item.added', output_index, item: begun },
    ...[...pieces, ...done].map((event) => ({ ...at, ...event })),
    { type: 'response.output_item.done', output_index, item },
  ]
}

function toResponse(say: Say, completed: boolean): unknown {
  const { words, model } = say
  const usage = {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: words.length,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + words.length,
  }
  return {
    id: idOf('resp_', words, model),
    object: 'response',
    created_at: created,
    status: completed ? 'completed' : 'in_progress',
    model,
    error: null,
    incomplete_details: null,
    instructions: null,
    max_output_tokens: null,
    metadata: {},
    output: completed ? itemsOf(say).map(({ item }) => item) : [],
    parallel_tool_calls: true,
    previous_response_id: null,
    temperature: 1,
    text: { format: { type: 'text' } },
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    truncation: 'disabled',
    usage: completed ? usage : null,
  }
}
