import { ApiError, GoogleGenAI, type HttpOptions } from '@google/genai'
import {
  check,
  checkStops,
  type Flow,
  faultOf,
  json,
  leaveStream,
  model,
  said,
  sse,
  streamOf,
  told,
  type Way,
} from './kit.ts'

const googleOf = ({ url, fetch }: Way, more: HttpOptions = {}): GoogleGenAI =>
  new GoogleGenAI({
    apiKey: 'k',
    httpOptions: { baseUrl: url('google-ai-studio'), fetch, retryOptions: { attempts: 1 }, ...more },
  })
const asked = { model, contents: 'hello' }
const functionCall = { name: 'weather', args: { city: 'Oslo' } }
const toolAnswer = {
  candidates: [{ content: { role: 'model', parts: [{ functionCall }] }, finishReason: 'STOP', index: 0 }],
  usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 1, totalTokenCount: 2 },
}
const config = { tools: [{ functionDeclarations: [{ name: 'weather' }] }] }
const isCalled = (calls: unknown): boolean => JSON.stringify(calls) === JSON.stringify([functionCall])

/** The official client of Gemini. */
export const googleFlows: Flow[] = [
  {
    name: 'google: generateContent, streamed and not',
    async run(way) {
      const { models } = googleOf(way)
      const whole = await models.generateContent(asked)
      check(whole.text?.includes(said) === true, whole)
      let text = ''
      for await (const chunk of await models.generateContentStream(asked)) text += chunk.text ?? ''
      check(text === whole.text, text)
    },
  },
  {
    name: 'google: function calls, streamed and not',
    async run(way) {
      const single = googleOf(way, { headers: told({ text: JSON.stringify(toolAnswer), headers: json }) })
      const whole = await single.models.generateContent({ ...asked, config })
      check(isCalled(whole.functionCalls), whole)
      const streaming = googleOf(way, { headers: told({ text: streamOf([toolAnswer]), headers: sse }) })
      for await (const chunk of await streaming.models.generateContentStream({ ...asked, config })) {
        check(isCalled(chunk.functionCalls), chunk)
      }
    },
  },
  {
    name: "google: an aborted stream stops the provider, errors are the SDK's own",
    async run(way) {
      await checkStops(way, async (key) => {
        const controller = new AbortController()
        const endless = googleOf(way, { headers: told({ interval: 20, events: 500, key }) })
        const config = { abortSignal: controller.signal }
        const stream = await endless.models.generateContentStream({ ...asked, config })
        return leaveStream(way, stream, () => controller.abort())
      })
      for (const status of [400, 429, 503]) {
        const { models } = googleOf(way, { headers: told({ status }) })
        const fault = await faultOf(models.generateContent(asked))
        check(fault instanceof ApiError && fault.status === status, fault)
      }
    },
  },
]
