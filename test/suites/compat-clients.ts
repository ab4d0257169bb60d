import { generateText, streamText } from 'ai'
import { createAiGateway } from 'ai-gateway-provider'
import { createUnified } from 'ai-gateway-provider/providers/unified'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect, type Line } from '../../src/client/index.ts'
import { at, newKey, post } from '../client.ts'
import { aiFlowsOf } from '../flows/compat/ai.ts'
import { anthropicFlowsOf } from '../flows/compat/anthropic.ts'
import { langchainFlowsOf } from '../flows/compat/langchain.ts'
import { openaiFlowsOf } from '../flows/compat/openai.ts'
import { modelOf, wires } from '../flows/compat/wires.ts'
import type { Flow, Way } from '../flows/kit.ts'
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
}
