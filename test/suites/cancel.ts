import { request as httpRequest } from 'node:http'
import { expect, test } from 'vitest'
import { at, chat, connect, newKey, post, seen, upstream } from '../client.ts'
import { cancelMs, clock, stoppedAfter, timeOf } from '../prompt.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'

/** How a client leaves: its connection ends, or is reset. */
type Leave = 'fin' | 'rst'

/** Whoever leaves stops the provider. */
export function cancelSuite(target: Target): void {
  // workerd writes nothing before the first byte of a body, and until it writes only a reset tells it of a client
  // that left (over plain HTTP; over a socket it knows at once).
  const beforeBytes: Leave = target.runtime === 'workers' ? 'rst' : 'fin'
  const cases: [title: string, body: object, control: Control, leave: Leave][] = [
    ['while an HTTP client is being streamed to', { stream: true }, { interval: 20, events: 1_000 }, 'fin'],
    ['before an HTTP client has headers', {}, { hang: 'headers' }, beforeBytes],
    ['before an HTTP client of a stream has headers', { stream: true }, { hang: 'headers' }, beforeBytes],
    ['while an HTTP client waits for a single body', {}, { hang: 'body' }, beforeBytes],
    [
      'while a first part is awaited under a time-out',
      { stream: true },
      { interval: 20, events: 1_000 },
      'rst',
    ],
  ]
  for (const [title, body, control, leave] of cases) {
    test(`the provider's connection closes when the client leaves ${title}`, () =>
      expectPrompt(target, 1, ([key = '']) => leaveHttp(target, chat('x', body), { ...control, key }, leave)))
  }

  const frames: [title: string, query: object, control: Control][] = [
    ['while streaming', { stream: true }, { interval: 20, events: 1_000 }],
    ['before headers', {}, { hang: 'headers' }],
    ['before headers of a stream', { stream: true }, { hang: 'headers' }],
    ['inside a single body', {}, { hang: 'body' }],
  ]
  for (const [title, query, control] of frames) {
    for (const leave of ['close', 'terminate'] as const) {
      test(`the provider's connection closes when a socket leaves ${title} (${leave})`, () =>
        expectPrompt(target, 1, async ([key = '']) => {
          const line = await connect(target)
          const headers = upstream({ ...control, key })
          line.create({ provider: 'openai', endpoint: 'chat/completions', headers, query: chat('x', query) })
          await seen(target, key)
          if (control.events) await line.next((frame) => frame.type === 'universal.stream')
          const left = await clock(target)
          line.socket[leave]()
          return left
        }))
    }
  }

  test('a leaving client is noticed after any amount of garbage was collected', { timeout: 60_000 }, () =>
    // Runtimes tie a fetch to its signal by weak references: what the gateway does not hold on to is lost here.
    expectPrompt(target, 4, (keys) => leaveGarbage(target, keys)),
  )

  test('a socket that leaves stops all of its requests', () =>
    expectPrompt(target, 20, async (keys) => {
      const line = await connect(target)
      for (const key of keys) {
        const headers = upstream({ key, interval: 20, events: 1_000 })
        const query = chat('x', { stream: true })
        line.create({ provider: 'openai', endpoint: 'chat/completions', headers, query })
      }
      await Promise.all(keys.map((key) => seen(target, key)))
      const left = await clock(target)
      line.close()
      return left
    }))
}

/** `leave` asks under these keys, and leaves; it returns when. All of it has stopped 100 ms later. */
async function expectPrompt(
  target: Target,
  count: number,
  leave: (keys: readonly string[]) => Promise<number>,
): Promise<void> {
  const attempt = async () => {
    const keys = Array.from({ length: count }, newKey)
    const left = await leave(keys)
    return Math.max(...(await Promise.all(keys.map((key) => stoppedAfter(target, key, left)))))
  }
  expect(await timeOf(attempt)).toBeLessThanOrEqual(cancelMs)
}

/** One waits for headers, one inside a body, one is being streamed to, and one is that over HTTP. */
async function leaveGarbage(target: Target, keys: readonly string[]): Promise<number> {
  const waits: Control[] = [{ hang: 'headers' }, { hang: 'body' }, { interval: 20, events: 100_000 }]
  const line = await connect(target)
  for (const [index, control] of waits.entries()) {
    const headers = upstream({ ...control, key: keys[index]! })
    const query = chat('x', { stream: control.events !== undefined })
    line.create({ provider: 'openai', endpoint: 'chat/completions', headers, query })
  }
  await Promise.all(waits.map((_, index) => seen(target, keys[index]!)))
  const leaving = new AbortController()
  const streaming = await fetch(at(target, '/openai/chat/completions'), {
    method: 'POST',
    body: JSON.stringify(chat('x', { stream: true })),
    headers: upstream({ key: keys[3]!, interval: 20, events: 100_000 }),
    signal: leaving.signal,
  })
  const reader = streaming.body!.getReader()
  await reader.read()
  await makeGarbage(target)
  const left = await clock(target)
  line.close()
  leaving.abort()
  return left
}

/** Enough parsed bodies that every runtime collects its garbage more than once. */
async function makeGarbage(target: Target): Promise<void> {
  const body = chat('x'.repeat(500_000))
  for (let round = 0; round < 40; round += 1) {
    const items = Array.from({ length: 5 }, () => ({ provider: 'openai', endpoint: 'models', query: body }))
    const responses = await Promise.all(
      items.map((item) => post(at(target), item, upstream({ status: 400 }))),
    )
    await Promise.all(responses.map((response) => response.text()))
  }
}

/** POST, wait until the provider works on it, and leave; returns when. */
async function leaveHttp(target: Target, body: object, control: Control, leave: Leave): Promise<number> {
  const url = at(target, '/openai/chat/completions')
  const request = httpRequest(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...upstream(control) },
  })
  request.on('error', () => undefined)
  const streaming = new Promise<void>((resolve) => {
    request.on('response', (response) => {
      response.on('error', () => undefined)
      response.once('data', () => resolve())
    })
  })
  request.end(JSON.stringify(body))
  await seen(target, control.key ?? '')
  if (control.events) await streaming
  else await new Promise((wake) => setTimeout(wake, 50))
  const left = await clock(target)
  if (leave === 'fin') request.destroy()
  else request.socket?.resetAndDestroy()
  return left
}
