import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { at, chat, connect, ledger, newKey, now, post, seen, upstream } from '../client.ts'
import { cancelMs, clock, stoppedAfter, timeOf } from '../prompt.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'

const crowd = 200
const status = (response: Response): string | null => response.headers.get('cf-aig-cache-status')

/** PROTOCOL.md, "Cache". Gateway `cached` keeps answers for five minutes; `default` keeps none. */
export function cacheSuite(target: Target): void {
  const url = (gateway = 'cached', provider = 'openai') =>
    at(target, `/${provider}/chat/completions`, gateway)
  const ask = (
    key: string,
    control: Control = {},
    headers: Record<string, string> = {},
    gateway = 'cached',
  ) => post(url(gateway), chat('tell me', { stream: true }), { ...upstream({ key, ...control }), ...headers })

  keptTests(target, url, ask)
  sharedTests(target, ask)
}

type Ask = (
  key: string,
  control?: Control,
  headers?: Record<string, string>,
  gateway?: string,
) => Promise<Response>
type Url = (gateway?: string, provider?: string) => string

function keptTests(target: Target, url: Url, ask: Ask): void {
  const twice = async (key: string, headers: Record<string, string> = {}, gateway = 'cached') => {
    const first = await ask(key, {}, headers, gateway)
    const one = await first.text()
    const second = await ask(key, {}, headers, gateway)
    expect(await second.text()).toBe(one)
    return [status(first), status(second)]
  }

  test('a stream is kept, and comes again as the same bytes, with the same type', async () => {
    const key = newKey()
    const first = await ask(key)
    const text = await first.text()
    expect(text).toContain('data: [DONE]')
    const second = await ask(key)
    expect(await second.text()).toBe(text)
    expect([status(first), status(second)]).toEqual(['MISS', 'HIT'])
    expect(second.headers.get('content-type')).toBe(first.headers.get('content-type'))
    expect(second.headers.get('cf-aig-event-id')).not.toBe(first.headers.get('cf-aig-event-id'))
    expect(await ledger(target, key)).toHaveLength(1)
  })

  test('a text is looked into like JSON, as curl and pages send it when nobody says its type', async () => {
    for (const type of ['application/x-www-form-urlencoded', 'text/plain;charset=UTF-8'])
      expect(await twice(newKey(), { 'content-type': type })).toEqual(['MISS', 'HIT'])
  })

  test('a single answer is kept; on a socket it is a HIT as well, and a stream is the same frames', async () => {
    const line = await connect(target, { gateway: 'cached' })
    for (const stream of [false, true]) {
      const key = newKey()
      const item = {
        provider: 'openai',
        endpoint: 'chat/completions',
        headers: upstream({ key }),
        query: chat('again', stream ? { stream } : {}),
      }
      const first = await line.result(line.create(item))
      const second = await line.result(line.create(item))
      expect(second[0]?.metadata.cacheStatus).toBe('HIT')
      expect(second.map(({ response }) => response)).toEqual(first.map(({ response }) => response))
      expect(await ledger(target, key)).toHaveLength(1)
    }
    line.close()
  })

  test('nothing is kept where nobody asked for it', async () => {
    expect(await twice(newKey(), {}, 'default')).toEqual(['MISS', 'MISS'])
  })

  test.each([
    ['cf-aig-cache-ttl', '60'],
    ['cf-cache-ttl', '60'],
    ['cf-aig-cache-key', 'my key'],
  ])('a request may ask for it: %s: %s', async (header, value) => {
    const key = newKey()
    expect(await twice(key, { [header]: value === 'my key' ? key : value }, 'default')).toEqual([
      'MISS',
      'HIT',
    ])
  })

  test.each([
    ['cf-aig-skip-cache', 'true'],
    ['cf-skip-cache', 'true'],
    ['cf-aig-cache-ttl', '0'],
  ])('and may ask to be left out: %s: %s', async (header, value) => {
    const key = newKey()
    expect(await twice(key, { [header]: value })).toEqual(['MISS', 'MISS'])
    // It wrote nothing either.
    expect(status(await ask(key))).toBe('MISS')
  })

  test('a time out of range is refused', async () => {
    const response = await ask(newKey(), {}, { 'cf-aig-cache-ttl': '59' })
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('cf-aig-cache-ttl')
  })

  test("nobody gets what another's key has paid for, unless both name the same cache key", async () => {
    const key = newKey()
    const as = (secret: string, more: Record<string, string> = {}) =>
      ask(key, {}, { authorization: `Bearer ${secret}`, ...more })
    expect(status(await as('sk-one'))).toBe('MISS')
    expect(status(await as('sk-two'))).toBe('MISS')
    const shared = { 'cf-aig-cache-key': newKey() }
    await (await as('sk-one', shared)).text()
    expect(status(await as('sk-two', shared))).toBe('HIT')
  })

  test('who names the same key is told no more than what came of it: of a refusal each gets his own', async () => {
    const shared = { 'cf-aig-cache-key': newKey() }
    const ask = (secret: string) => {
      const refusal = { key: secret, status: 401, text: `Incorrect key: ${secret}`, delay: 150 }
      const headers = { authorization: `Bearer ${secret}`, ...shared, ...upstream(refusal) }
      return post(url(), chat('x'), headers)
    }
    const [one, two] = [newKey(), newKey()]
    const answers = await Promise.all([ask(one), ask(two)])
    expect(await Promise.all(answers.map((answer) => answer.text()))).toEqual([
      `Incorrect key: ${one}`,
      `Incorrect key: ${two}`,
    ])
  })

  test('other providers, paths, bodies and versions are other answers', async () => {
    const headers = { ...upstream({}), 'x-test': newKey() }
    const text = chat(newKey())
    const asked = [
      () => post(url('cached', 'openai'), text, headers),
      () => post(url('cached', 'groq'), text, headers),
      () => post(`${url('cached')}?a=b`, text, headers),
      () => post(url('cached'), { ...text, seed: 2 }, headers),
      () => post(url('cached'), text, { ...headers, 'openai-organization': 'o' }),
    ]
    for (const one of asked) {
      const response = await one()
      expect(status(response)).toBe('MISS')
      await response.text()
    }
    const again = await post(url('cached'), text, { ...headers, 'user-agent': 'another', traceparent: 'x' })
    expect(status(again)).toBe('HIT')
  })

  test.each<[string, Control]>([
    ['an error', { status: 500 }],
    ['a stream that broke off', { cut: 1 }],
    ['a stream that ended inside an event', { truncate: 1 }],
  ])('%s is not kept', async (_, control) => {
    const key = newKey()
    const breakOff = async () => (await ask(key, control)).text()
    await breakOff().catch(() => undefined)
    await breakOff().catch(() => undefined)
    expect(await ledger(target, key)).toHaveLength(2)
  })

  test('a list of models is no answer of a model, and is kept only if asked for', async () => {
    const get = (headers: Record<string, string>) =>
      fetch(at(target, '/openai/models', 'cached'), { headers })
    const headers = { 'x-test': newKey() }
    expect([status(await get(headers)), status(await get(headers))]).toEqual(['MISS', 'MISS'])
    const keyed = { ...headers, 'cf-aig-cache-ttl': '60' }
    await (await get(keyed)).text()
    expect(status(await get(keyed))).toBe('HIT')
  })

  test('a kept stream may come event by event, as long after one another as it first did', async () => {
    const control = { events: 4, interval: 60 }
    const key = newKey()
    await (await ask(key, control)).text()
    const began = now()
    await (await ask(key, control)).text()
    const instant = now() - began
    await (await ask(key, control, { 'cf-aig-cache-replay': 'spaced' })).text()
    expect(now() - began - instant).toBeGreaterThan(150)
  })
}

function sharedTests(target: Target, ask: Ask): void {
  test(`${crowd} who ask the same at once are one request to the provider, and all get all of it`, async () => {
    const key = newKey()
    const control = { events: 30, interval: 10, delay: 200 }
    const answers = await Promise.all(Array.from({ length: crowd }, () => ask(key, control)))
    const texts = await Promise.all(answers.map((answer) => answer.text()))
    expect(new Set(texts).size).toBe(1)
    expect(texts[0]?.trimEnd().endsWith('data: [DONE]')).toBe(true)
    expect(new Set(answers.map((answer) => answer.headers.get('cf-aig-event-id'))).size).toBe(crowd)
    expect(answers.map(status).filter((one) => one === 'MISS')).toHaveLength(1)
    expect(await ledger(target, key)).toHaveLength(1)
    expect(status(await ask(key, control))).toBe('HIT')
  })

  test('whoever asked first may leave, and the others lose nothing; when all have left, the provider is stopped', async () => {
    const key = newKey()
    const control = { events: 20, interval: 20 }
    const leavers = [new AbortController(), new AbortController()]
    const streams = leavers.map(({ signal }) =>
      fetch(at(target, '/openai/chat/completions', 'cached'), {
        method: 'POST',
        body: JSON.stringify(chat('leave', { stream: true })),
        headers: { 'content-type': 'application/json', ...upstream({ key, ...control }) },
        signal,
      }),
    )
    const [first, second] = await Promise.all(streams)
    leavers[0]?.abort()
    await first?.text().catch(() => undefined)
    expect((await second?.text())?.trimEnd().endsWith('data: [DONE]')).toBe(true)
    expect(await ledger(target, key)).toHaveLength(1)
  })

  test('when all who shared an answer have left, the provider is stopped', async () => {
    const attempt = async () => {
      const key = newKey()
      const leaver = new AbortController()
      const one = () =>
        fetch(at(target, '/openai/chat/completions', 'cached'), {
          method: 'POST',
          body: JSON.stringify(chat('leave', { stream: true })),
          headers: { 'content-type': 'application/json', ...upstream({ key, events: 200, interval: 20 }) },
          signal: leaver.signal,
        })
      await Promise.all([one(), one(), one()])
      await seen(target, key)
      await sleep(50)
      const left = await clock(target)
      leaver.abort()
      const ms = await stoppedAfter(target, key, left)
      expect(await ledger(target, key)).toHaveLength(1)
      return ms
    }
    expect(await timeOf(attempt)).toBeLessThanOrEqual(cancelMs)
  })

  test('an error is shared as well, under the ids of each', async () => {
    const key = newKey()
    const headers = { 'cf-aig-request-timeout': '150' }
    const answers = await Promise.all([1, 2, 3].map(() => ask(key, { hang: 'headers' }, headers)))
    expect(answers.map((answer) => answer.status)).toEqual([504, 504, 504])
    expect(new Set(answers.map((answer) => answer.headers.get('cf-aig-request-id'))).size).toBe(3)
    expect(await ledger(target, key)).toHaveLength(1)
  })
}
