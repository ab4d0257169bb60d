import { createOpenAI } from '@ai-sdk/openai'
import Anthropic from '@anthropic-ai/sdk'
import { LLMock } from '@copilotkit/aimock'
import { generateText, streamText } from 'ai'
import { createAiGateway } from 'ai-gateway-provider'
import OpenAI, { APIError } from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { at, ended, newKey, post } from '../client.ts'
import { tokens } from '../config.ts'
import { type Started, startGateway } from '../launch.ts'
import type { Target } from '../target.ts'

const user = (content: string): [{ role: 'user'; content: string }] => [{ role: 'user', content }]

/** The clients people come with, unchanged but for their base URL. */
export function clientsSuite(target: Target): void {
  openaiSuite(target)
  anthropicSuite(target)
  aiSdkSuite(target)
  providerSuite(target)
  aimockSuite(target)
}

function openaiSuite(target: Target): void {
  const options = { apiKey: 'sk-mine', maxRetries: 0 }
  const client = new OpenAI({ ...options, baseURL: at(target, '/openai') })
  const model = 'm'

  test('openai: chat, streamed and not', async () => {
    const whole = await client.chat.completions.create({ model, messages: user('hello') })
    expect(whole.choices[0]?.message.content).toContain('You said: hello')
    let text = ''
    for await (const chunk of await client.chat.completions.create({
      model,
      messages: user('hello'),
      stream: true,
    })) {
      text += chunk.choices[0]?.delta.content ?? ''
    }
    expect(text).toBe(whole.choices[0]?.message.content)
  })

  test('openai: responses, embeddings and models', async () => {
    const types: string[] = []
    const stream = client.responses.stream({ model, input: 'hello' })
    for await (const event of stream) types.push(event.type)
    expect([types[0], types.at(-1)]).toEqual(['response.created', 'response.completed'])
    expect((await stream.finalResponse()).output_text).toContain('You said: hello')
    const embedding = await client.embeddings.create({ model, input: 'x', encoding_format: 'float' })
    expect(embedding.data[0]?.embedding).toEqual([0.25, -0.5, 0.75])
    expect((await client.models.list()).data[0]?.object).toBe('model')
  })

  test('openai: an aborted stream stops the provider', async () => {
    const key = newKey()
    const stream = await client.chat.completions.create({
      model: `emulate?interval=20&events=500&key=${key}`,
      messages: user('x'),
      stream: true,
    })
    for await (const _ of stream) break
    expect((await ended(target, key))?.how).toBe('client_closed')
  })

  test("openai: errors of the provider and of the gateway are the SDK's own", async () => {
    const failing = client.chat.completions.create({ model: 'emulate?status=500', messages: user('x') })
    await expect(failing).rejects.toThrow(APIError)
    await expect(failing).rejects.toMatchObject({ status: 500 })
    const lost = new OpenAI({ ...options, baseURL: at(target, '/openai', 'nowhere') })
    await expect(lost.chat.completions.create({ model, messages: user('x') })).rejects.toMatchObject({
      status: 400,
    })
  })

  test('openai: the gateway token comes in a header, or as the API key', async () => {
    const baseURL = at(target, '/openai', 'locked')
    const header = new OpenAI({
      ...options,
      baseURL,
      defaultHeaders: { 'cf-aig-authorization': `Bearer ${tokens.locked}` },
    })
    const slot = new OpenAI({ ...options, baseURL, apiKey: tokens.locked })
    for (const own of [header, slot]) {
      expect((await own.chat.completions.create({ model, messages: user('in') })).object).toBe(
        'chat.completion',
      )
    }
    const none = new OpenAI({ ...options, baseURL })
    await expect(none.chat.completions.create({ model, messages: user('x') })).rejects.toMatchObject({
      status: 401,
    })
  })
}

function anthropicSuite(target: Target): void {
  const client = new Anthropic({ apiKey: 'sk-mine', maxRetries: 0, baseURL: at(target, '/anthropic') })
  const body = { model: 'm', max_tokens: 100, messages: user('hello') }

  test('anthropic: messages, streamed and not', async () => {
    const whole = await client.messages.create(body)
    expect(whole.content[0]).toMatchObject({ type: 'text', text: expect.stringContaining('You said: hello') })
    const final = await client.messages.stream(body).finalMessage()
    expect(final.content).toEqual(whole.content)
    expect(final.stop_reason).toBe('end_turn')
  })

  test("anthropic: an error is the SDK's own", async () => {
    const failing = client.messages.create({ ...body, model: 'emulate?status=529' })
    await expect(failing).rejects.toMatchObject({ status: 529 })
  })
}

function aiSdkSuite(target: Target): void {
  const openai = createOpenAI({ apiKey: 'sk-mine', baseURL: at(target, '/openai') })

  test('ai: generateText and streamText', async () => {
    const { text } = await generateText({ model: openai.chat('m'), prompt: 'hello' })
    expect(text).toContain('You said: hello')
    expect(await streamText({ model: openai.chat('m'), prompt: 'hello' }).text).toBe(text)
    expect((await generateText({ model: openai.responses('m'), prompt: 'hello' })).text).toContain(
      'You said: hello',
    )
  })
}

function providerSuite(target: Target): void {
  // Its host is fixed in the package; a binding is its own way to another one.
  const binding = { run: (items: unknown) => post(at(target), items) }
  const gateway = createAiGateway({ binding } as unknown as Parameters<typeof createAiGateway>[0])
  const openai = createOpenAI({ apiKey: 'sk-mine' })

  test('ai-gateway-provider: a fallback list, whose second model serves', async () => {
    const models = [openai.chat('emulate?status=500'), openai.chat('m')]
    const { text } = await generateText({ model: gateway(models), prompt: 'hello', maxRetries: 0 })
    expect(text).toContain('You said: hello')
    expect(await streamText({ model: gateway(models), prompt: 'hello', maxRetries: 0 }).text).toBe(text)
  })
}

/** An emulator of other hands, as a second opinion on ours. */
function aimockSuite(target: Target): void {
  const mock = new LLMock({ port: 0 })
  let gateway: Started | undefined

  beforeAll(async () => {
    mock.onMessage('hello', { content: 'Hi there!' })
    await mock.start()
    const providers = { openai: { base_url: `${mock.url}/v1` }, anthropic: { base_url: `${mock.url}/v1` } }
    gateway = await startGateway(target.runtime, { providers })
  })
  afterAll(async () => {
    await gateway?.stop()
    await mock.stop()
  })

  test('aimock: openai and anthropic clients, streamed and not', async () => {
    const base = `${gateway?.url}/v1/default/default`
    const openai = new OpenAI({ apiKey: 'mock', baseURL: `${base}/openai`, maxRetries: 0 })
    const whole = await openai.chat.completions.create({ model: 'gpt-4o', messages: user('hello') })
    expect(whole.choices[0]?.message.content).toBe('Hi there!')
    let text = ''
    for await (const chunk of await openai.chat.completions.create({
      model: 'gpt-4o',
      messages: user('hello'),
      stream: true,
    })) {
      text += chunk.choices[0]?.delta.content ?? ''
    }
    expect(text).toBe('Hi there!')
    const anthropic = new Anthropic({ apiKey: 'mock', baseURL: `${base}/anthropic`, maxRetries: 0 })
    const message = await anthropic.messages
      .stream({ model: 'claude', max_tokens: 9, messages: user('hello') })
      .finalMessage()
    expect(message.content[0]).toMatchObject({ text: 'Hi there!' })
  })
}
