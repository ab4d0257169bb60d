import Anthropic from '@anthropic-ai/sdk'
import { check, checkStops, type Flow, faultOf, leaveStream, user, type Way } from '../kit.ts'
import { type CompatWire, modelOf, png, results, schemaOf, told } from './wires.ts'

const clientOf = ({ url, fetch }: Way): Anthropic =>
  new Anthropic({
    apiKey: 'k',
    maxRetries: 0,
    baseURL: url('compat'),
    fetch: fetch as typeof globalThis.fetch,
  })

const tools: Anthropic.Tool[] = (['weather', 'clock'] as const).map((name) => ({
  name,
  description: `Tells the ${name}.`,
  input_schema: schemaOf('city') as Anthropic.Tool.InputSchema,
}))

/** Until no more tools are asked for; every turn goes back as it came. */
async function loop(way: Way, asked: Anthropic.MessageStreamParams): Promise<Anthropic.Message[]> {
  const messages = [...asked.messages]
  const answers: Anthropic.Message[] = []
  for (let step = 0; step < 5; step += 1) {
    const answer = await clientOf(way)
      .messages.stream({ ...asked, tools, messages })
      .finalMessage()
    answers.push(answer)
    if (answer.stop_reason !== 'tool_use') return answers
    const calls = answer.content.filter((block) => block.type === 'tool_use')
    messages.push(
      { role: 'assistant', content: answer.content },
      {
        role: 'user',
        content: calls.map(({ id, name }) => ({
          type: 'tool_result' as const,
          tool_use_id: id,
          content: results[name as keyof typeof results],
        })),
      },
    )
  }
  throw new Error('no end of tools')
}

const textOf = ({ content }: Anthropic.Message): string =>
  content.map((block) => (block.type === 'text' ? block.text : '')).join('')

/** Anthropic's own client over one wire. */
export const anthropicFlowsOf = (wire: CompatWire): readonly Flow[] => {
  const body = { model: modelOf(wire), max_tokens: 4_000 }
  return [
    {
      name: `anthropic to ${wire.name}: messages, streamed and not`,
      async run(way) {
        const whole = await clientOf(way).messages.create({ ...body, messages: user('hello') })
        check(textOf(whole).includes('You said: hello') && whole.stop_reason === 'end_turn', whole)
        check(whole.usage.input_tokens === 7 && whole.usage.output_tokens > 5, whole.usage)
        const final = await clientOf(way)
          .messages.stream({ ...body, system: 'Be brief.', messages: user('hello') })
          .finalMessage()
        check(textOf(final) === textOf(whole) && final.stop_reason === 'end_turn', final)
        // The tests' own settings of OpenAI keep its streams from being asked for their usage.
        const counted = wire.name === 'openai' ? 0 : whole.usage.output_tokens
        check(final.usage.output_tokens === counted, final.usage)
      },
    },
    {
      name: `anthropic to ${wire.name}: a loop of two tools, streamed`,
      async run(way) {
        const answers = await loop(way, { ...body, messages: user('How is it?') })
        check(answers.length === 3 && textOf(answers[2]!) === 'The tools said: 21 degrees; noon', answers)
      },
    },
    {
      name: `anthropic to ${wire.name}: thinks through a loop of tools`,
      async run(way) {
        const asked = {
          ...body,
          messages: user('How is it?'),
          thinking: { type: 'enabled', budget_tokens: 2_000 } as const,
        }
        const work = loop(way, asked)
        if (wire.cannot?.includes('thinking')) {
          check((await faultOf(work)).status === 400, 'must be refused')
          return
        }
        const answers = await work
        check(answers.length === 3 && textOf(answers[2]!) === 'The tools said: 21 degrees; noon', answers)
        const thoughts = answers.flatMap(({ content }) =>
          content.filter((block) => block.type === 'thinking'),
        )
        check(
          thoughts.some(({ thinking }) => thinking.includes('Let me think')),
          answers,
        )
      },
    },
    {
      name: `anthropic to ${wire.name}: an image; an abort and an error`,
      async run(way) {
        const source = { type: 'base64', media_type: 'image/png', data: png } as const
        const content = [
          { type: 'text' as const, text: 'What is it?' },
          { type: 'image' as const, source },
        ]
        const seen = await clientOf(way).messages.create({ ...body, messages: [{ role: 'user', content }] })
        check(textOf(seen).includes('I see image/png'), seen)
        await checkStops(way, async (key) => {
          const headers = told({ interval: 20, events: 500, key })
          const asked = { ...body, messages: user('x'), stream: true } as const
          const stream = await clientOf(way).messages.create(asked, { headers })
          return leaveStream(way, stream, () => stream.controller.abort())
        })
        const failing = clientOf(way).messages.create(
          { ...body, messages: user('x') },
          { headers: told({ status: 429 }) },
        )
        const fault = await faultOf(failing)
        check(fault.status === 429 && String(fault).includes('rate_limit_error'), fault)
        check(String(fault).includes('emulated 429'), String(fault))
      },
    },
  ]
}
