import { createOpenAI } from '@ai-sdk/openai'
import { generateText, jsonSchema, streamText, tool } from 'ai'
import { call, check, checkStops, endless, type Flow, faultOf, leaveStream, said, sse, told } from './kit.ts'
import { toolStream } from './openai.ts'

/** The AI SDK. */
export const aiFlows: Flow[] = [
  {
    name: 'ai: generateText and streamText, chat and responses',
    async run({ url, fetch }) {
      const openai = createOpenAI({ apiKey: 'k', baseURL: url('openai'), fetch })
      for (const one of [openai.chat('m'), openai.responses('m')]) {
        const { text } = await generateText({ model: one, prompt: 'hello', maxRetries: 0 })
        check(text.includes(said), text)
        check((await streamText({ model: one, prompt: 'hello', maxRetries: 0 }).text) === text, 'the stream')
      }
    },
  },
  {
    name: 'ai: tool calls',
    async run({ url, fetch }) {
      const headers = told({ text: toolStream, headers: sse })
      const openai = createOpenAI({ apiKey: 'k', baseURL: url('openai'), fetch, headers })
      const weather = tool({ inputSchema: jsonSchema<{ city: string }>({ type: 'object' }) })
      const result = streamText({
        model: openai.chat('m'),
        prompt: 'hello',
        maxRetries: 0,
        tools: { weather },
      })
      const [found] = await result.toolCalls
      check(JSON.stringify(found?.input) === call.arguments, found)
    },
  },
  {
    name: "ai: an aborted stream stops the provider, errors are the SDK's own",
    async run(way) {
      const openai = createOpenAI({ apiKey: 'k', baseURL: way.url('openai'), fetch: way.fetch })
      await checkStops(way, async (key) => {
        const controller = new AbortController()
        const { textStream } = streamText({
          model: openai.chat(endless(key)),
          prompt: 'x',
          maxRetries: 0,
          abortSignal: controller.signal,
        })
        return leaveStream(way, textStream, () => controller.abort())
      })
      const model = openai.chat('emulate?status=500')
      const fault = await faultOf(generateText({ model, prompt: 'x', maxRetries: 0 }))
      check(fault.name === 'AI_APICallError' && fault.statusCode === 500, fault)
    },
  },
]
