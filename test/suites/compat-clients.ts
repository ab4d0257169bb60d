import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import Anthropic from '@anthropic-ai/sdk'
import { LLMock } from '@copilotkit/aimock'
import { generateText, isStepCount, jsonSchema, streamText, tool } from 'ai'
import { createAiGateway } from 'ai-gateway-provider'
import { createUnified } from 'ai-gateway-provider/providers/unified'
import OpenAI from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { connect, type Line } from '../../src/client/index.ts'
import { at, newKey, post } from '../client.ts'
import { aiFlowsOf } from '../flows/compat/ai.ts'
import { anthropicFlowsOf } from '../flows/compat/anthropic.ts'
import { langchainFlowsOf } from '../flows/compat/langchain.ts'
import { openaiFlowsOf } from '../flows/compat/openai.ts'
import { modelOf, png, schemaOf, wires } from '../flows/compat/wires.ts'
import { type Flow, user, type Way } from '../flows/kit.ts'
import { type Started, startGateway } from '../launch.ts'
import type { Target } from '../target.ts'

globalThis.AI_SDK_LOG_WARNINGS = false // they tell of models that they do not know

const flows: readonly Flow[] = wires.flatMap((wire) => [
  ...openaiFlowsOf(wire),
  ...aiFlowsOf(wire),
  ...anthropicFlowsOf(wire),
  ...langchainFlowsOf(wire),
])

/** The clients people come with, each API over each dialect. */
export function compatClientsSuite(target: Target): void {
  describe('over HTTP', () => {
    const way: Way = { url: (slug) => at(target, `/${slug}`), fetch, upstream: target.upstream, newKey }
    for (const { name, run } of flows) test(name, () => run(way))
  })

  describe('over the socket', () => {
    let line: Line
    beforeAll(async () => {
      line = await connect(at(target))
    })
    afterAll(() => line.close())
    for (const { name, run } of flows) {
      test(name, () =>
        run({ url: (slug) => line.url(slug), fetch: line.fetch, upstream: target.upstream, newKey }),
      )
    }
  })

  describe('ai-gateway-provider', () => {
    // Its host is fixed in the package; a binding is its own way to another one.
    const binding = { run: (items: unknown) => post(at(target), items) }
    const gateway = createAiGateway({ binding } as unknown as Parameters<typeof createAiGateway>[0])
    const unified = createUnified({ apiKey: 'k' } as Parameters<typeof createUnified>[0])

    test.each(wires.map((wire) => [wire.name, modelOf(wire)]))('unified to %s', async (_, model) => {
      const models = [unified('offline/x'), unified(model)]
      const { text } = await generateText({ model: gateway(models), prompt: 'hello', maxRetries: 0 })
      expect(text).toContain('You said: hello')
      const streamed = streamText({ model: gateway(models), prompt: 'hello', maxRetries: 0 })
      expect(await streamed.text).toBe(text)
    })
  })

  describe('aimock', () => aimockSuite(target))
}

/** An emulator of other hands, as a second opinion on ours; it has no wire of Workers AI. */
function aimockSuite(target: Target): void {
  const mock = new LLMock({ port: 0 })
  let gateway: Started | undefined
  let base = ''

  beforeAll(async () => {
    const calls = [{ name: 'weather', arguments: '{"city":"Rome"}' }]
    mock.on({ userMessage: /weather/, hasToolResult: false }, { toolCalls: calls })
    mock.on({ userMessage: /weather/, hasToolResult: true }, { content: 'It is 21 degrees.' })
    mock.on({ userMessage: /think/ }, { content: 'Yes.', reasoning: 'Let me think.' })
    mock.on({ userMessage: /object/ }, { content: '{"name":"Rome"}' })
    mock.on(
      { userMessage: /fail/ },
      { error: { message: 'mocked 429', type: 'rate_limit_error' }, status: 429 },
    )
    mock.on({ userMessage: /hello|What is it/ }, { content: 'Hi there!' })
    await mock.start()
    const url = { base_url: mock.url }
    const v1 = { base_url: `${mock.url}/v1` }
    const providers = { openai: v1, anthropic: v1, 'google-ai-studio': url, 'aws-bedrock': url, cohere: url }
    gateway = await startGateway(target.runtime, { providers })
    base = `${gateway.url}/v1/default/default/compat`
  })
  afterAll(async () => {
    await gateway?.stop()
    await mock.stop()
  })

  test.each(wires.filter(({ name }) => name !== 'workers-ai').map((wire) => [wire.name, wire] as const))(
    'openai, anthropic and ai to %s',
    async (_, wire) => {
      const model = modelOf(wire)
      const openai = new OpenAI({ apiKey: 'mock', baseURL: base, maxRetries: 0 })
      const whole = await openai.chat.completions.create({ model, messages: user('hello') })
      expect(whole.choices[0]?.message.content).toBe('Hi there!')
      const runner = openai.chat.completions.runTools({
        model,
        stream: true,
        messages: user('weather?'),
        tools: [weather],
      })
      expect(await runner.finalContent()).toBe('It is 21 degrees.')
      const shape = z.object({ name: z.string() })
      const response_format = zodResponseFormat(shape, 'city')
      const made = await openai.chat.completions.parse({ model, messages: user('object'), response_format })
      expect(made.choices[0]?.message.parsed).toEqual({ name: 'Rome' })
      const image = { type: 'image_url' as const, image_url: { url: `data:image/png;base64,${png}` } }
      const content = [{ type: 'text' as const, text: 'What is it?' }, image]
      const seen = await openai.chat.completions.create({ model, messages: [{ role: 'user', content }] })
      expect(seen.choices[0]?.message.content).toBe('Hi there!')
      const failing = openai.chat.completions.create({ model, messages: user('fail') })
      await expect(failing).rejects.toMatchObject({
        status: 429,
        message: expect.stringContaining('mocked 429'),
      })

      const anthropic = new Anthropic({ apiKey: 'mock', baseURL: base, maxRetries: 0 })
      const thinking = { type: 'enabled' as const, budget_tokens: 2_000 }
      const message = await anthropic.messages
        .stream({ model, max_tokens: 4_000, thinking, messages: user('think') })
        .finalMessage()
      const said = message.content.map((block) => {
        if (block.type === 'thinking') return block.thinking
        return block.type === 'text' ? block.text : block.type
      })
      // It tells Cohere's thought as a text.
      expect(said.join(' ')).toMatch(
        wire.name === 'cohere' ? /^Let me think.Yes.$/ : /^(Let me think. )?Yes.$/,
      )

      const speak = createOpenAICompatible({ name: 'gateway', apiKey: 'mock', baseURL: base })
      const { text, steps } = streamText({
        model: speak(model),
        prompt: 'weather?',
        maxRetries: 0,
        stopWhen: isStepCount(3),
        tools: {
          weather: tool({
            inputSchema: jsonSchema<{ city: string }>(schemaOf('city')),
            execute: async () => '21 degrees',
          }),
        },
      })
      expect([await text, (await steps).length]).toEqual(['It is 21 degrees.', 2])
    },
  )
}

const weather = {
  type: 'function' as const,
  function: {
    name: 'weather',
    description: 'Tells the weather.',
    parameters: schemaOf('city'),
    parse: JSON.parse,
    function: () => '21 degrees',
  },
}
