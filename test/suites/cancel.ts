import { request as httpRequest } from 'node:http'
import { expect, test } from 'vitest'
import { at, chat, connect, ended, newKey, now, post, seen, upstream } from '../client.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'

/** From the client's leaving to the provider's connection closing (PROTOCOL.md, rows 12 and 21). */
const cancelMs = 100

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
    test(`the provider's connection closes when the client leaves ${title}`, async () => {
      const key = newKey()
      const left = await leaveHttp(target, chat('x', body), { ...control, key }, leave)
      await expectClosed(target, key, left)
    })
  }

  const frames: [title: string, query: object, control: Control][] = [
    ['while streaming', { stream: true }, { interval: 20, events: 1_000 }],
    ['before headers', {}, { hang: 'headers' }],
    ['before headers of a stream', { stream: true }, { hang: 'headers' }],
    ['inside a single body', {}, { hang: 'body' }],
  ]
  for (const [title, query, control] of frames) {
    for (const leave of ['close', 'terminate'] as const) {
      test(`the provider's connection closes when a socket leaves ${title} (${leave})`, async () => {
        const key = newKey()
        const line = await connect(target)
        const headers = upstream({ ...control, key })
        line.create({ provider: 'openai', endpoint: 'chat/completions', headers, query: chat('x', query) })
        await seen(target, key)
        if (control.events) await line.next((frame) => frame.type === 'universal.stream')
        const left = now()
        line.socket[leave]()
        await expectClosed(target, key, left)
      })
    }
  }

  test('a leaving client is noticed after any amount of garbage was collected', async () => {
    // Runtimes tie a fetch to its signal by weak references: what the gateway does not hold on to is lost here.
    const waits: Control[] = [{ hang: 'headers' }, { hang: 'body' }, { interval: 20, events: 100_000 }]
    const keys = waits.map(() => newKey())
    const line = await connect(target)
    for (const [index, control] of waits.entries()) {
      const headers = upstream({ ...control, key: keys[index]! })
      const query = chat('x', { stream: control.events !== undefined })
      line.create({ provider: 'openai', endpoint: 'chat/completions', headers, query })
    }
    await Promise.all(keys.map((key) => seen(target, key)))
    const leaving = new AbortController()
    const key = newKey()
    const streaming = await fetch(at(target, '/openai/chat/completions'), {
      method: 'POST',
      body: JSON.stringify(chat('x', { stream: true })),
      headers: upstream({ key, interval: 20, events: 100_000 }),
      signal: leaving.signal,
    })
    const reader = streaming.body!.getReader()
    await reader.read()
    await makeGarbage(target)
    const left = now()
    line.close()
    leaving.abort()
    await Promise.all([...keys, key].map((one) => expectClosed(target, one, left)))
  })

  test('a socket that leaves stops all of its requests', async () => {
    const line = await connect(target)
    const keys = Array.from({ length: 20 }, newKey)
    for (const key of keys) {
      const headers = upstream({ key, interval: 20, events: 1_000 })
      line.create({
        provider: 'openai',
        endpoint: 'chat/completions',
        headers,
        query: chat('x', { stream: true }),
      })
    }
    await Promise.all(keys.map((key) => seen(target, key)))
    const left = now()
    line.close()
    await Promise.all(keys.map((key) => expectClosed(target, key, left)))
  })
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

async function expectClosed(target: Target, key: string, left: number): Promise<void> {
  const entry = await ended(target, key)
  expect(entry, 'the provider was still running 5 s later').not.toBeNull()
  expect(entry!.how).toBe('client_closed')
  expect(entry!.closedAt! - left).toBeLessThanOrEqual(cancelMs)
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
  const left = now()
  if (leave === 'fin') request.destroy()
  else request.socket?.resetAndDestroy()
  return left
}
