import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anthropic } from '../../src/dialects/anthropic/dialect.ts'
import { messages } from '../../src/dialects/anthropic/messages.ts'
import { toChunks, toCompletion } from '../../src/dialects/chunks.ts'
import type { Api, Dialect } from '../../src/dialects/dialect.ts'
import type { Chat, Chunk, Completion, Message, Reasoning, ToolCall } from '../../src/dialects/hub.ts'
import { Notes } from '../../src/dialects/notes.ts'
import { answerResponses } from '../../src/dialects/responses/api.ts'
import { responses } from '../../src/dialects/responses/dialect.ts'
import type { Say } from '../upstream/model.ts'
import { isSpoken, streamOf, wholeOf } from '../upstream/sample.ts'
import { readStream } from './dialect-checks.ts'
import { base, dialects } from './dialects.ts'

/** APIs that are spoken in both directions. */
const both: readonly [string, Api, Dialect][] = [
  ['anthropic', messages, anthropic],
  ['openai-responses', answerResponses, responses],
]

const word = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' })
const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,11}$/)
const args = fc.dictionary(name, fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null)))
const texts = fc.array(
  word.map((text) => ({ type: 'text' as const, text })),
  { minLength: 1, maxLength: 3 },
)
const image = fc.constantFrom('data:image/png;base64,iVBORw0KGgo=', 'https://example.com/cat.png')
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })

interface Step {
  readonly said: Message['content']
  readonly thought: string | undefined
  readonly calls: readonly { name: string; args: object; result: { type: 'text'; text: string }[] }[]
}
const step: fc.Arbitrary<Step> = fc.record({
  said: texts,
  thought: maybe(word),
  calls: fc.array(fc.record({ name, args, result: texts }), { maxLength: 3 }),
})
const question = fc
  .tuple(texts, fc.array(image, { maxLength: 2 }))
  .map(([parts, urls]) => [
    ...parts,
    ...urls.map((url) => ({ type: 'image_url' as const, image_url: { url } })),
  ])

/** A conversation that both sides can tell, in the one form that both give back. */
const conversation = (dialect: string) =>
  fc
    .record({
      system: maybe(texts),
      turns: fc.array(fc.record({ question, step }), { maxLength: 3 }),
      last: question,
    })
    .map(({ system, turns, last }): Message[] => [
      ...(system
        ? [{ role: dialect === 'anthropic' ? 'system' : 'developer', content: system } as const]
        : []),
      ...turns.flatMap(({ question: content, step }, turn) => [
        { role: 'user', content } as const,
        ...toAnswer(step, turn, dialect),
      ]),
      { role: 'user', content: last },
    ])

function toAnswer({ said, thought, calls }: Step, turn: number, dialect: string): Message[] {
  const tool_calls = calls.map(
    ({ name, args }, index): ToolCall => ({
      id: `call_${turn}_${index}`,
      type: 'function',
      function: { name, arguments: JSON.stringify(args) },
    }),
  )
  const reasoning: Partial<Message> =
    thought === undefined
      ? {}
      : dialect === 'anthropic'
        ? { reasoning_content: thought, reasoning_details: [signed(thought)] }
        : { reasoning_details: [sealed(turn)] }
  return [
    { role: 'assistant', content: said ?? [], ...reasoning, ...(calls.length > 0 && { tool_calls }) },
    ...calls.map(
      ({ result }, index): Message => ({
        role: 'tool',
        tool_call_id: `call_${turn}_${index}`,
        content: result,
      }),
    ),
  ]
}

const signed = (text: string): Reasoning => ({
  type: 'reasoning.text',
  text,
  signature: 'c2lnbmVk',
  format: 'anthropic-claude-v1',
})
const sealed = (turn: number): Reasoning => ({
  type: 'reasoning.encrypted',
  data: `sealed ${turn}`,
  id: `rs_${turn}`,
  format: 'openai-responses-v1',
})

const schema = fc.constant({ type: 'object', properties: { a: { type: 'string' } }, required: ['a'] })
const tool = fc.record({ name, description: word, parameters: schema }).map((own) => ({
  type: 'function' as const,
  function: { ...own, strict: true },
}))
const own = (dialect: string): fc.Arbitrary<Partial<Chat>> =>
  fc
    .record({
      temperature: maybe(fc.constantFrom(0, 0.5, 1)),
      top_p: maybe(fc.constantFrom(0.25, 1)),
      reasoning_effort: maybe(fc.constantFrom('low', 'medium', 'high', 'xhigh', 'max')),
      user: maybe(word),
      response_format: maybe(
        schema.map((schema) => ({
          type: 'json_schema' as const,
          json_schema: { name: 'answer', schema, strict: true },
        })),
      ),
      tools: fc.uniqueArray(tool, { selector: (one) => one.function.name, minLength: 1, maxLength: 3 }),
      tool_choice: maybe(fc.constantFrom('none', 'required')),
      parallel_tool_calls: maybe(fc.constant(false)),
      ...(dialect === 'anthropic' && {
        stop: maybe(fc.array(word, { minLength: 1, maxLength: 2 })),
        top_k: maybe(fc.nat(9)),
      }),
    })
    .map(
      (chat) =>
        (chat.tool_choice === 'none' ? { ...chat, parallel_tool_calls: undefined } : chat) as Partial<Chat>,
    )

/** Without what means the same where it is not said. */
const plain = (value: object) =>
  JSON.parse(
    JSON.stringify(value, (name, member: unknown) =>
      /^(tool_choice|detail)$/.test(name) && member === 'auto' ? undefined : member,
    ),
  ) as object

describe.each(both)('%s, there and back', (dialectName, api, dialect) => {
  test('a request keeps what both can express', () => {
    fc.assert(
      fc.property(conversation(dialectName), own(dialectName), (told, more) => {
        const max = dialectName === 'anthropic' ? { max_tokens: 4_000 } : { max_completion_tokens: 4_000 }
        const chat = { model: 'm', messages: told, ...max, ...more } as Chat
        const notes = new Notes(dialectName, false)
        const back = api.request(JSON.parse(JSON.stringify(dialect.request(chat, notes).body)), notes)
        expect(notes.dropped.filter((field) => !/^(store|include)$/.test(field))).toEqual([])
        expect(plain(back)).toEqual(plain(chat))
      }),
      { numRuns: 300 },
    )
  })

  const answer = fc.record({
    thought: maybe(word),
    content: maybe(word),
    calls: fc.array(fc.record({ name, args }), { maxLength: 3 }),
    finish: fc.constantFrom('stop', 'length'),
    cached: fc.nat(20),
    pieces: fc.nat(3),
  })

  test('an answer keeps what both can express, whole and streamed', () => {
    fc.assert(
      fc.property(answer, ({ thought, content, calls, finish, cached, pieces }) => {
        const tool_calls = calls.map(
          ({ name, args }, index): ToolCall => ({
            id: `call_${index}`,
            type: 'function',
            function: { name, arguments: JSON.stringify(args) },
          }),
        )
        const detail = dialectName === 'anthropic' ? signed(thought ?? '') : { ...sealed(0), id: 'rs_0_id-1' } // named after its place
        const completion: Completion = {
          ...base,
          object: 'chat.completion',
          choices: [
            {
              index: 0,
              message: {
                role: 'assistant',
                content: content ?? null,
                refusal: null,
                ...(thought !== undefined && { reasoning_content: thought, reasoning_details: [detail] }),
                ...(calls.length > 0 && { tool_calls }),
              },
              logprobs: null,
              finish_reason: finish === 'length' ? 'length' : calls.length > 0 ? 'tool_calls' : 'stop',
            },
          ],
          usage: {
            prompt_tokens: 30,
            completion_tokens: 10,
            total_tokens: 40,
            prompt_tokens_details: { cached_tokens: cached },
            completion_tokens_details: { reasoning_tokens: 3 },
          },
        }
        const chunks = toPieces(completion, pieces)
        const chat = { model: 'm', messages: [] }
        const whole = api.response(chunks, chat, base)
        expect(toCompletion(toChunks(dialect, JSON.parse(JSON.stringify(whole)), base), base)).toEqual(
          completion,
        )
        const out = api.events(chat, base)
        const events = [...chunks.flatMap((chunk) => out.push(chunk)), ...out.end()]
        const into = dialect.events(base)
        const read = [...events.flatMap((event) => into.push(event)), ...into.end()]
        expect(toCompletion(read, base)).toEqual(completion)
      }),
      { numRuns: 300 },
    )
  })
})

/** Cohere tells a plan where a model thinks before a call; Workers AI's own wire has no thought. */
const cannotThink = new Set(['workers-ai'])

describe.each([...dialects].filter(([name]) => isSpoken(name)))('%s', (dialectName, dialect) => {
  test('whatever a model says is told, whole and streamed', () => {
    const say = fc.record({
      words: fc.array(word, { minLength: 1, maxLength: 4 }),
      calls: fc.array(fc.record({ id: name, name, args }), { maxLength: 3 }),
      thought: fc.oneof(fc.constant(''), word),
    })
    fc.assert(
      fc.property(say, ({ words, calls, thought }) => {
        const told = { words: calls.length > 0 ? [] : words, calls, thought, model: 'm' } as Say
        const streamed = readStream(dialect, streamOf(dialectName, told))
        const whole = toCompletion(toChunks(dialect, wholeOf(dialectName, told), base), base)
        expect(streamed.choices).toEqual(whole.choices)
        const [choice] = whole.choices
        const { content, tool_calls = [], reasoning_content = '' } = choice!.message
        expect(content ?? '').toBe(told.words.join(''))
        const said = tool_calls.map(({ function: { name, arguments: args } }) => ({
          name,
          args: JSON.parse(args),
        }))
        expect(said).toEqual(
          calls.map(({ name, args }) => ({ name, args: JSON.parse(JSON.stringify(args)) })),
        )
        if (!cannotThink.has(dialectName) && calls.length === 0) expect(reasoning_content).toBe(thought)
        expect(choice!.finish_reason).toBe(calls.length > 0 ? 'tool_calls' : 'stop')
      }),
      { numRuns: 150 },
    )
  })
})

/** A completion as chunks whose texts come in so many more pieces. */
function toPieces({ id, created, model, choices, usage }: Completion, more: number): Chunk[] {
  const head = { id, object: 'chat.completion.chunk', created, model } as const
  const { message, finish_reason } = choices[0]!
  const { content, reasoning_content, reasoning_details, tool_calls = [] } = message
  const cut = (text: string) => {
    const letters = [...text]
    const size = Math.max(1, Math.ceil(letters.length / (more + 1)))
    return Array.from({ length: Math.ceil(letters.length / size) }, (_, index) =>
      letters.slice(index * size, (index + 1) * size).join(''),
    )
  }
  const chunk = (
    delta: Chunk['choices'][number]['delta'],
    reason: typeof finish_reason | null = null,
  ): Chunk => ({
    ...head,
    choices: [{ index: 0, delta, finish_reason: reason }],
  })
  return [
    ...cut(reasoning_content ?? '').map((piece) => chunk({ reasoning_content: piece })),
    ...(reasoning_details ? [chunk({ reasoning_details })] : []),
    ...cut(content ?? '').map((piece) => chunk({ content: piece })),
    ...tool_calls.flatMap(({ id, type, function: { name, arguments: args } }, index) => [
      chunk({ tool_calls: [{ index, id, type, function: { name, arguments: '' } }] }),
      ...cut(args).map((piece) => chunk({ tool_calls: [{ index, function: { arguments: piece } }] })),
    ]),
    chunk({}, finish_reason),
    { ...head, choices: [], ...(usage && { usage }) },
  ]
}
