import OpenAI from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import * as z from 'zod'
import { check, checkStops, type Flow, faultOf, leaveStream, user, type Way } from '../kit.ts'
import { type CompatWire, modelOf, png, results, schemaOf, told } from './wires.ts'

const clientOf = ({ url, fetch }: Way): OpenAI =>
  new OpenAI({ apiKey: 'k', maxRetries: 0, dangerouslyAllowBrowser: true, baseURL: url('compat'), fetch })

/** The functions of a loop, each called once. */
const toolOf = (name: keyof typeof results, called: string[]) => ({
  type: 'function' as const,
  function: {
    name,
    description: `Tells the ${name}.`,
    parameters: schemaOf('city'),
    parse: JSON.parse,
    function: ({ city }: { city: string }) => {
      called.push(`${name} ${city}`)
      return results[name]
    },
  },
})

async function loop(way: Way, wire: CompatWire, more: object): Promise<void> {
  const called: string[] = []
  const runner = clientOf(way).chat.completions.runTools({
    model: modelOf(wire),
    stream: true,
    messages: user('How is it?'),
    tools: [toolOf('weather', called), toolOf('clock', called)],
    ...more,
  })
  let steps = 0
  runner.on('functionToolCall', () => {
    steps += 1
  })
  const text = await runner.finalContent()
  check(text === 'The tools said: 21 degrees; noon', text)
  check(steps === 2 && called.join() === 'weather Rome,clock Rome', called)
}

/** The official client's flows over one wire. */
export const openaiFlowsOf = (wire: CompatWire): readonly Flow[] => [
  {
    name: `openai to ${wire.name}: chat, streamed and not`,
    async run(way) {
      const client = clientOf(way)
      const asked = { model: modelOf(wire), messages: user('hello') }
      const whole = await client.chat.completions.create(asked)
      const text = whole.choices[0]?.message.content
      check(text?.includes('You said: hello') === true, whole)
      check(whole.choices[0]?.finish_reason === 'stop' && whole.usage?.prompt_tokens === 7, whole)
      const stream = client.chat.completions.stream({ ...asked, stream_options: { include_usage: true } })
      const final = await stream.finalChatCompletion()
      check(final.choices[0]?.message.content === text && final.choices[0]?.finish_reason === 'stop', final)
      check(final.usage?.completion_tokens === whole.usage?.completion_tokens, final.usage)
    },
  },
  {
    name: `openai to ${wire.name}: a loop of two tools, streamed`,
    run: (way) => loop(way, wire, {}),
  },
  {
    name: `openai to ${wire.name}: two tools at once`,
    async run(way) {
      const called: string[] = []
      const runner = clientOf(way).chat.completions.runTools({
        model: modelOf(wire),
        messages: user('Both together, please'),
        tools: [toolOf('weather', called), toolOf('clock', called)],
      })
      const text = await runner.finalContent()
      check(text === 'The tools said: 21 degrees; noon', text)
      check(called.sort().join() === 'clock Rome,weather Rome', called)
    },
  },
  {
    name: `openai to ${wire.name}: thought goes through a loop of tools`,
    async run(way) {
      const work = loop(way, wire, { reasoning_effort: 'low' })
      if (!wire.cannot?.includes('thinking')) return await work
      check((await faultOf(work)).status === 400, 'must be refused')
    },
  },
  {
    name: `openai to ${wire.name}: an answer of a schema`,
    async run(way) {
      const shape = z.object({ name: z.string(), days: z.number(), tags: z.array(z.string()) })
      const completion = await clientOf(way).chat.completions.parse({
        model: modelOf(wire),
        messages: user('Which city?'),
        response_format: zodResponseFormat(shape, 'city'),
      })
      const { parsed } = completion.choices[0]!.message
      check(parsed?.name === 'Rome' && parsed.days === 7 && parsed.tags[0] === 'Rome', parsed)
    },
  },
  {
    name: `openai to ${wire.name}: an image`,
    async run(way) {
      const completion = await clientOf(way).chat.completions.create({
        model: modelOf(wire),
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'What is it?' },
              { type: 'image_url', image_url: { url: `data:image/png;base64,${png}` } },
            ],
          },
        ],
      })
      const text = completion.choices[0]?.message.content
      check(/I see image\/png/.test(text ?? ''), text)
    },
  },
  {
    name: `openai to ${wire.name}: an abort stops the provider, an error is the provider's own`,
    async run(way) {
      const client = clientOf(way)
      const asked = { model: modelOf(wire), messages: user('x') }
      await checkStops(way, async (key) => {
        const headers = told({ interval: 20, events: 500, key })
        return leaveStream(way, await client.chat.completions.create({ ...asked, stream: true }, { headers }))
      })
      for (const stream of [false, true]) {
        const failing = client.chat.completions.create(
          { ...asked, stream },
          { headers: told({ status: 429 }) },
        )
        const fault = await faultOf(failing)
        check(fault.name === 'Error' && fault.status === 429, fault)
        check(String(fault).includes('emulated 429'), String(fault))
      }
    },
  },
]
