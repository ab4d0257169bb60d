import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import {
  generateObject,
  generateText,
  isStepCount,
  jsonSchema,
  type LanguageModel,
  streamText,
  tool,
} from 'ai'
import * as z from 'zod'
import { check, checkStops, type Flow, faultOf, leaveStream, type Way } from '../kit.ts'
import { type CompatWire, modelOf, png, results, schemaOf, told } from './wires.ts'

interface Client {
  readonly name: string
  model(way: Way, wire: CompatWire): LanguageModel
  readonly options?: object
}

const common = ({ fetch }: Way) => ({ apiKey: 'k', fetch: fetch as typeof globalThis.fetch })

/** The AI SDK's ways to speak the APIs of `compat`. */
const clients: readonly Client[] = [
  {
    name: '@ai-sdk/openai-compatible',
    model: (way, wire) =>
      createOpenAICompatible({
        ...common(way),
        name: 'gateway',
        baseURL: way.url('compat'),
        supportsStructuredOutputs: true,
      })(modelOf(wire)),
  },
  {
    name: '@ai-sdk/openai (responses)',
    model: (way, wire) =>
      createOpenAI({ ...common(way), baseURL: `${way.url('compat')}/v1` }).responses(modelOf(wire)),
    // Nothing is stored here.
    options: { openai: { store: false } },
  },
  {
    name: '@ai-sdk/anthropic',
    model: (way, wire) =>
      createAnthropic({ ...common(way), baseURL: `${way.url('compat')}/v1` })(modelOf(wire)),
  },
]

const tools = (called: string[]) =>
  Object.fromEntries(
    (['weather', 'clock'] as const).map((name) => [
      name,
      tool({
        description: `Tells the ${name}.`,
        inputSchema: jsonSchema<{ city: string }>(schemaOf('city')),
        async execute({ city }) {
          called.push(`${name} ${city}`)
          return results[name]
        },
      }),
    ]),
  )

/** The flows of each of them over one wire. */
export const aiFlowsOf = (wire: CompatWire): readonly Flow[] =>
  clients.flatMap((client) => flowsOf(client, wire))

function flowsOf({ name, model, options }: Client, wire: CompatWire): readonly Flow[] {
  const more = { maxRetries: 0, ...(options && { providerOptions: options as never }) }
  return [
    {
      name: `${name} to ${wire.name}: text, streamed and not`,
      async run(way) {
        const { text, finishReason } = await generateText({
          model: model(way, wire),
          prompt: 'hello',
          ...more,
        })
        check(text.includes('You said: hello') && finishReason === 'stop', { text, finishReason })
        const streamed = await streamText({ model: model(way, wire), prompt: 'hello', ...more }).text
        check(streamed === text, streamed)
      },
    },
    {
      name: `${name} to ${wire.name}: streamText goes through a loop of two tools`,
      async run(way) {
        const called: string[] = []
        const stream = streamText({
          model: model(way, wire),
          prompt: 'How is it?',
          tools: tools(called),
          stopWhen: isStepCount(5),
          ...more,
        })
        const text = await stream.text
        check(text === 'The tools said: 21 degrees; noon', text)
        check((await stream.steps).length === 3 && called.join() === 'weather Rome,clock Rome', called)
      },
    },
    {
      name: `${name} to ${wire.name}: an object, an image`,
      async run(way) {
        const shape = z.object({ name: z.string() })
        // Anthropic's provider asks models that it does not know by forcing a tool.
        const isForced = name === '@ai-sdk/anthropic' && wire.cannot?.includes('forcing')
        const work = generateObject({
          model: model(way, wire),
          schema: shape,
          prompt: 'Which?',
          ...more,
        })
        if (isForced) check((await faultOf(work)).statusCode === 400, 'must be refused')
        else check((await work).object.name === 'Rome', await work)
        const image = { type: 'file' as const, mediaType: 'image/png', data: png }
        const { text } = await generateText({
          model: model(way, wire),
          messages: [{ role: 'user', content: [{ type: 'text', text: 'What is it?' }, image] }],
          ...more,
        })
        check(text.includes('I see image/png'), text)
      },
    },
    {
      name: `${name} to ${wire.name}: an abort stops the provider, an error is the SDK's own`,
      async run(way) {
        await checkStops(way, async (key) => {
          const controller = new AbortController()
          const { textStream } = streamText({
            model: model(way, wire),
            prompt: 'x',
            abortSignal: controller.signal,
            headers: told({ interval: 20, events: 500, key }),
            ...more,
          })
          return leaveStream(way, textStream, () => controller.abort())
        })
        const failing = generateText({
          model: model(way, wire),
          prompt: 'x',
          headers: told({ status: 503 }),
          ...more,
        })
        const fault = await faultOf(failing)
        check(fault.name === 'AI_APICallError' && fault.statusCode === 503, fault)
        check(String(fault).includes('emulated 503'), String(fault))
      },
    },
  ]
}
