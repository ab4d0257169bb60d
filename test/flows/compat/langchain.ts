import { HumanMessage, ToolMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { ChatOpenAI } from '@langchain/openai'
import * as z from 'zod'
import { check, type Flow, faultOf, type Way } from '../kit.ts'
import { type CompatWire, modelOf, png, results, told } from './wires.ts'

const modelFor = ({ url, fetch }: Way, wire: CompatWire, headers: Record<string, string> = {}): ChatOpenAI =>
  new ChatOpenAI({
    model: modelOf(wire),
    apiKey: 'k',
    maxRetries: 0,
    configuration: {
      baseURL: url('compat'),
      fetch: fetch as typeof globalThis.fetch,
      defaultHeaders: headers,
    },
  })

const tools = (['weather', 'clock'] as const).map((name) =>
  tool(async () => results[name], {
    name,
    description: `Tells the ${name}.`,
    schema: z.object({ city: z.string() }),
  }),
)

/** LangChain's OpenAI client over one wire. */
export const langchainFlowsOf = (wire: CompatWire): readonly Flow[] => [
  {
    name: `langchain to ${wire.name}: text, streamed and not; an error`,
    async run(way) {
      const model = modelFor(way, wire)
      const { text } = await model.invoke('hello')
      check(text.includes('You said: hello'), text)
      let streamed = ''
      for await (const chunk of await model.stream('hello')) streamed += chunk.text
      check(streamed === text, streamed)
      const fault = await faultOf(modelFor(way, wire, told({ status: 500 })).invoke('x'))
      check(fault.status === 500 && String(fault).includes('emulated 500'), fault)
    },
  },
  {
    name: `langchain to ${wire.name}: a loop of two tools`,
    async run(way) {
      const model = modelFor(way, wire).bindTools(tools)
      const messages: Parameters<typeof model.invoke>[0] & object[] = [new HumanMessage('How is it?')]
      for (let step = 0; step < 5; step += 1) {
        const answer = await model.invoke(messages)
        messages.push(answer)
        if (!answer.tool_calls?.length) break
        for (const { id = '', name } of answer.tool_calls) {
          const content = results[name as keyof typeof results]
          messages.push(new ToolMessage({ tool_call_id: id, content }))
        }
      }
      check(messages.length === 6, messages.length)
      const last = messages.at(-1) as unknown as { text: string }
      check(last.text === 'The tools said: 21 degrees; noon', last.text)
    },
  },
  {
    name: `langchain to ${wire.name}: an object, an image`,
    async run(way) {
      const shape = z.object({ name: z.string() })
      const model = modelFor(way, wire).withStructuredOutput(shape, { method: 'jsonSchema' })
      const { name } = await model.invoke('Which city?')
      check(name === 'Rome', name)
      const url = `data:image/png;base64,${png}`
      const content = [
        { type: 'text' as const, text: 'What is it?' },
        { type: 'image_url' as const, image_url: { url } },
      ]
      const { text } = await modelFor(way, wire).invoke([new HumanMessage({ content })])
      check(text.includes('I see image/png'), text)
    },
  },
]
