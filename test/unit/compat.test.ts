import { describe, expect, test } from 'vitest'
import { createCompat } from './compat-kit.ts'

const messages = [{ role: 'user', content: 'a' }]

describe('fields that are left out', () => {
  const anthropic = () =>
    Response.json({ id: 'm', content: [{ type: 'text', text: 'x' }], stop_reason: 'end_turn', usage: {} })
  const lenient = createCompat(anthropic, { gateway: { compat_lenient: true } })

  test.each([
    ['温度', '??'],
    ['a\r\nset-cookie: x', 'a??set-cookie??x'],
    ['é', '?'],
    ['a, b', 'a??b'],
    ['x'.repeat(300), 'x'.repeat(80)],
  ])('are told in the letters that a header may have: %j', async (field, told) => {
    const response = await lenient('chat/completions', { model: 'anthropic/c', messages, [field]: 1 })
    expect([response.status, response.headers.get('cf-aig-dropped-fields')]).toEqual([200, told])
  })

  test('are told up to a length', async () => {
    const fields = Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`field${index}`, 1]))
    const response = await lenient('chat/completions', { model: 'anthropic/c', messages, ...fields })
    expect(response.status).toBe(200)
    const told = response.headers.get('cf-aig-dropped-fields') ?? ''
    expect(told).toMatch(/^field0, field1, .*field\d+, \.\.\.$/)
    expect(told.length).toBeLessThan(1_010)
  })
})

describe('long conversations', () => {
  const refuse = createCompat(() => Response.json({ error: { message: 'no' } }, { status: 418 }))
  const turns = (count: number, turn: object) => Array.from({ length: count }, () => turn)
  const user = { role: 'user', content: 'a' }
  const assistant = { role: 'assistant', content: 'a' }

  // Copying what came before with each turn took half a minute.
  test.each([
    ['chat/completions', { model: 'anthropic/c', messages: turns(40_000, user) }],
    ['chat/completions', { model: 'google-ai-studio/gemini-3-pro', messages: turns(40_000, user) }],
    ['messages', { model: 'google-ai-studio/gemini-3-pro', max_tokens: 9, messages: turns(40_000, user) }],
    ['responses', { model: 'groq/x', input: turns(40_000, assistant) }],
  ])('of one side cost no more than their length: %s %#', async (path, body) => {
    const began = performance.now()
    expect((await refuse(path, body)).status).toBe(418)
    expect(performance.now() - began).toBeLessThan(10_000)
  })

  test.each([
    ['chat/completions', { model: 'anthropic/c', messages: turns(100_001, user) }],
    ['messages', { model: 'groq/x', max_tokens: 9, messages: turns(100_001, user) }],
    ['responses', { model: 'groq/x', input: turns(100_001, user) }],
  ])('are bounded: %s', async (path, body) => {
    const response = await refuse(path, body)
    expect(response.status).toBe(400)
    expect(JSON.stringify(await response.json())).toMatch(/messages|input/)
  })
})
