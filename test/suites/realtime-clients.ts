import { connect } from 'node:net'
import { LLMock } from '@copilotkit/aimock'
import { GoogleGenAI, type LiveServerMessage } from '@google/genai'
import OpenAI from 'openai'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { ResponsesWS } from 'openai/resources/responses/ws'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Started, startGateway } from '../launch.ts'
import { relay } from '../relay-client.ts'
import type { Target } from '../target.ts'

const token = 'tk-realtime-clients-8d10'

/** The SDKs' own realtime clients, unchanged but for their base URL, and an emulator that is not ours. */
export function realtimeClientsSuite(target: Target): void {
  const mock = new LLMock({ port: 0 })
  let gateway: Started | undefined
  const base = (slug: string): string => `${gateway?.url}/v1/default/default/${slug}`

  beforeAll(async () => {
    mock.onMessage('hello', {
      content: 'Hi there!',
      usage: { input_tokens: 12, output_tokens: 34, promptTokenCount: 12, candidatesTokenCount: 34 },
    })
    await mock.start()
    const openai = { base_url: `${mock.url}/v1`, api_key: 'sk-stored' }
    const google = { base_url: mock.url, api_key: 'key-stored' }
    gateway = await startGateway(target.runtime, {
      tokens: [{ name: 'clients', token }],
      providers: { openai, google, 'google-ai-studio': google, gone: { base_url: 'http://127.0.0.1:9' } },
    })
  })
  afterAll(async () => {
    await gateway?.stop()
    await mock.stop()
  })

  /** The SDK insists on `wss:`; what its socket is made of is its caller's to say. */
  const plain = () => ({ createConnection: () => connect(Number(new URL(gateway!.url).port), '127.0.0.1') })

  test('openai: a Realtime session, with a key of its own or the gateway’s token for one', async () => {
    const clients = [
      new OpenAI({
        apiKey: 'sk-mine',
        baseURL: base('openai'),
        defaultHeaders: { 'cf-aig-authorization': token },
      }),
      new OpenAI({ apiKey: token, baseURL: base('openai') }),
    ]
    for (const client of clients) {
      const headers: Record<string, string> = {}
      if (client.apiKey !== token) headers['cf-aig-authorization'] = `Bearer ${token}`
      const session = new OpenAIRealtimeWS(
        { model: 'gpt-realtime', options: { ...plain(), headers } },
        client,
      )
      expect(new URL(session.url).pathname).toBe('/v1/default/default/openai/realtime')
      expect(await converse(session)).toBe('Hi there!')
    }
  })

  test('openai: Responses over a socket', async () => {
    const client = new OpenAI({ apiKey: token, baseURL: base('openai') })
    const socket = new ResponsesWS(client)
    const answer = new Promise<string>((resolve, reject) => {
      let text = ''
      socket.on('response.output_text.delta', ({ delta }) => {
        text += delta
      })
      socket.on('response.completed', () => resolve(text))
      socket.on('error', reject)
    })
    socket.send({ type: 'response.create', model: 'gpt-5', input: 'hello' })
    expect(await answer).toBe('Hi there!')
    socket.close()
  })

  test('@google/genai: a live session, under both of its slugs', async () => {
    for (const slug of ['google', 'google-ai-studio']) {
      const client = new GoogleGenAI({
        apiKey: token,
        httpOptions: { baseUrl: base(slug), apiVersion: 'v1beta' },
      })
      let heard: (message: LiveServerMessage) => void = () => undefined
      let text = ''
      const turn = new Promise<string>((resolve) => {
        heard = ({ serverContent }) => {
          for (const { text: part = '' } of serverContent?.modelTurn?.parts ?? []) text += part
          if (serverContent?.turnComplete) resolve(text)
        }
      })
      const session = await client.live.connect({
        model: 'gemini-live',
        callbacks: { onmessage: (message) => heard(message) },
      })
      session.sendClientContent({ turns: [{ role: 'user', parts: [{ text: 'hello' }] }], turnComplete: true })
      expect(await turn).toBe('Hi there!')
      session.close()
    }
  })

  test('a key that came in a subprotocol or a query is in nothing the gateway says', async () => {
    const canary = 'sk-canary-90f2ab67'
    const own = { ...target, url: gateway!.url, ws: gateway!.url.replace('http', 'ws') }
    const said: unknown[] = []
    for (const path of [
      '/openai/realtime?model=m',
      '/google?',
      '/gone?',
      '/openai/nowhere?',
      '/openai?model=m&x=%',
    ])
      for (const [search, offer] of [
        [`&api_key=${canary}&key=${canary}`, []],
        ['', [`openai-insecure-api-key.${canary}`]],
      ] as const) {
        const protocols = ['realtime', ...offer, `cf-aig-authorization.${token}`]
        const answer = relay(own, path + search, { protocols })
        said.push(
          await answer.then(
            async ({ socket, headers, closed }) => {
              socket.close()
              return [headers, await closed]
            },
            (error: Error) => error.message,
          ),
        )
      }
    expect(said).toHaveLength(10)
    expect(JSON.stringify(said) + gateway!.output()).not.toContain(canary)
  })

  test('openai: a refusal is the SDK’s own error', async () => {
    const client = new OpenAI({ apiKey: 'sk-mine', baseURL: base('openai') })
    const session = new OpenAIRealtimeWS({ model: 'gpt-realtime', options: plain() }, client)
    const error = await new Promise<Error>((resolve) => session.on('error', resolve))
    expect(error.message).toContain('401')
  })
}

/** Say hello, and tell what came back. */
function converse(session: OpenAIRealtimeWS): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    session.on('error', reject)
    session.on('session.created', () => {
      const content = [{ type: 'input_text' as const, text: 'hello' }]
      session.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } })
      session.send({ type: 'response.create' })
    })
    session.on('response.output_text.delta', ({ delta }) => {
      text += delta
    })
    session.on('response.done', () => {
      session.close()
      resolve(text)
    })
  })
}
