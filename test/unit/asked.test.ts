import { describe, expect, test } from 'vitest'
import { askUsage, hideUsage, isUsageEvent } from '../../src/observe/asked.ts'
import type { Step } from '../../src/types.ts'
import { toWebResponse } from '../../src/web.ts'

const step = (body: Step['body'], path = '/v1/chat/completions', method = 'POST'): Step => ({
  provider: 'openai',
  method,
  url: new URL(`https://api.example${path}`),
  headers: new Headers(),
  body,
  options: {},
})

describe('asking for the usage of a stream', () => {
  test.each([
    ['{"stream":true}', '{"stream_options":{"include_usage":true},"stream":true}'],
    [
      ' {\n "a": 1.0, "stream" : true }',
      ' {"stream_options":{"include_usage":true},\n "a": 1.0, "stream" : true }',
    ],
    [
      '{"stream":true,"stream_options":{"include_obfuscation":false}}',
      '{"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}',
    ],
    ['{"stream":true,"stream_options": {}}', '{"stream":true,"stream_options": {"include_usage":true}}'],
    [
      '{"n":12345678901234567890,"stream":true}',
      '{"stream_options":{"include_usage":true},"n":12345678901234567890,"stream":true}',
    ],
    ['{"stream":true,"user":"é🙂"}', '{"stream_options":{"include_usage":true},"stream":true,"user":"é🙂"}'],
  ])('changes nothing else: %s', (body, asked) => {
    expect(askUsage(step(body))?.body).toBe(asked)
    expect(askUsage(step(new TextEncoder().encode(body)))?.body).toBe(asked)
  })

  test.each([
    ['no stream', '{"stream":false}'],
    ['a stream in its depth only', '{"metadata":{"stream":true}}'],
    ['one that asks', '{"stream":true,"stream_options":{"include_usage":true}}'],
    ['one that does not want it', '{"stream":true,"stream_options":{"include_usage":false}}'],
    ['one of null', '{"stream":true,"stream_options":null}'],
    [
      'a name that comes twice',
      '{"stream":true,"stream_options":{"x":1},"metadata":{"stream_options":{"y":2}}}',
    ],
    ['a list', '[{"stream":true}]'],
    ['no JSON', '{"stream":true'],
    ['none', null],
  ])('is not done in %s', (_, body) => expect(askUsage(step(body))).toBeUndefined())

  test('is not done in bytes that are no text, in what streams through, in what is large, and on other paths', () => {
    const body = '{"stream":true}'
    expect(askUsage(step(Uint8Array.from([...new TextEncoder().encode(body), 0xff])))).toBeUndefined()
    expect(askUsage(step(new Response(body).body))).toBeUndefined()
    expect(askUsage(step(`{"stream":true,"x":"${'x'.repeat(1 << 20)}"}`))).toBeUndefined()
    expect(askUsage(step(body, '/v1/responses'))).toBeUndefined()
    expect(askUsage(step(body, '/v1/chat/completions', 'PUT'))).toBeUndefined()
    expect(askUsage(step(body, '/v1/completions'))).toBeDefined()
  })
})

const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
const event = (data: object, end = '\n') => `data: ${JSON.stringify(data)}${end}${end}`
const hidden = event({ id: 'c', choices: [], usage })

describe('the event of the usage', () => {
  test.each([
    hidden,
    event({ choices: [], usage }, '\r\n'),
    event({ choices: [], usage }, '\r'),
    'event: x\ndata:{"choices": [ ], "usage": {"prompt_tokens":1}}\n\n',
  ])('is one without choices and with counts: %j', (text) =>
    expect(isUsageEvent(new TextEncoder().encode(text))).toBe(true),
  )

  test.each([
    event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage }),
    event({ choices: [], usage: null }),
    event({ choices: [], prompt_filter_results: [] }),
    event({ choices: [{ delta: { content: '[] "usage":{}' } }] }),
    event({ usage }),
    'data: [DONE]\n\n',
    'data: []\n\n',
    ': []\n\n',
    'data: {"choices":[],"usage":{\n\n',
  ])('is not another: %j', (text) => expect(isUsageEvent(new TextEncoder().encode(text))).toBe(false))

  const other = event({ choices: [{ index: 0, delta: { content: 'héllo []' } }], usage: null })
  const ends = ['data: [DONE]\n\n', 'data: [DONE]', '']

  test.each(ends)('is taken out of a stream cut anywhere, and nothing else is: … %j', async (end) => {
    const whole = new TextEncoder().encode(other + hidden + other + end)
    for (const size of [1, 3, 10, 50, 1_000]) {
      const told: string[] = []
      let at = 0
      const body = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (at >= whole.length) return controller.close()
          controller.enqueue(whole.slice(at, at + size))
          at += size
        },
      })
      const rest = hideUsage(new Response(body), (bytes) => told.push(new TextDecoder().decode(bytes)))
      const shown = await toWebResponse(rest)
      expect(await shown.text()).toBe(other + other + end)
      expect(told).toEqual([hidden])
    }
  })

  test('passes on a cancel and a failure', async () => {
    const cancelled = Promise.withResolvers<unknown>()
    const waiting = new ReadableStream<Uint8Array>({ cancel: (reason) => cancelled.resolve(reason) })
    await hideUsage(new Response(waiting), () => undefined).body!.cancel('left')
    expect(await cancelled.promise).toBe('left')
    const failing = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.error(new Error('broke')),
    })
    const failed = await toWebResponse(hideUsage(new Response(failing), () => undefined))
    await expect(failed.text()).rejects.toThrow('broke')
  })
})
