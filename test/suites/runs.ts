import { expect, test } from 'vitest'
import {
  at,
  chat,
  ended,
  type GatewayFrame,
  type Line,
  type LineOptions,
  ledger,
  newKey,
  post,
  seen,
  upstream,
} from '../client.ts'
import { tokens } from '../config.ts'
import { cancelMs, clock, stoppedAfter, timeOf } from '../prompt.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'
import { again, isStream, item, open, streamed, textOf, truth } from './run-kit.ts'

/** PROTOCOL.md, "trunkline.v1". */
export function runsSuite(target: Target): void {
  messagesSuite(target)
  rawSuite(target)
  stopSuite(target)
  onceSuite(target)
}

function messagesSuite(target: Target): void {
  test('session.ready comes first, and names limits', async () => {
    const line = await open(target)
    expect(line.frames[0]).toMatchObject({
      type: 'session.ready',
      session: { resumed: false },
      limits: {
        inFlight: 64,
        queued: 256,
        messageBytes: 33_554_432,
        windowBytes: 262_144,
        runBytes: 8_388_608,
      },
      detachSeconds: 330,
      heartbeatSeconds: 30,
      version: 'trunkline.v1',
    })
    line.close()
  })

  test('a stream has numbered events and one universal.done', async () => {
    const line = await open(target)
    const eventId = line.create(item({ events: 5 }))
    const frames = await line.result(eventId)
    const runId = frames[0]?.metadata.runId
    expect(frames[0]).toMatchObject({
      type: 'universal.created',
      metadata: { status: 200, cacheStatus: 'MISS' },
    })
    expect(streamed(frames).map((frame) => frame.metadata.seq)).toEqual([0, 1, 2, 3, 4, 5, 6])
    expect(frames.at(-1)).toMatchObject({
      type: 'universal.done',
      metadata: { eventId, runId, status: 200, seq: 7, outcome: 'completed', upstreamStopped: true },
    })
    line.close()
  })

  test('a single answer is created with its body, then done', async () => {
    const line = await open(target)
    const frames = await line.result(line.create(item({}, {}, {})))
    expect(frames.map((frame) => frame.type)).toEqual(['universal.created', 'universal.done'])
    expect(frames[0]?.response).toHaveProperty('choices')
    expect(frames[1]?.metadata.outcome).toBe('completed')
    line.close()
  })

  test('usage is what the provider told, of each dialect', async () => {
    const line = await open(target)
    const asked: [provider: string, endpoint: string, query: object][] = [
      ['openai', 'chat/completions', chat('x', {})],
      ['openai', 'chat/completions', chat('x', { stream: true, stream_options: { include_usage: true } })],
      ['openai', 'responses', { model: 'm', input: 'x' }],
      ['openai', 'responses', { model: 'm', input: 'x', stream: true }],
      ['openai', 'embeddings', { model: 'm', input: 'x' }],
      ['anthropic', 'v1/messages', chat('x', { max_tokens: 9 })],
      ['anthropic', 'v1/messages', chat('x', { max_tokens: 9, stream: true })],
      [
        'google-ai-studio',
        'v1beta/models/m:generateContent',
        { contents: [{ role: 'user', parts: [{ text: 'x' }] }] },
      ],
    ]
    for (const [provider, endpoint, query] of asked) {
      const done = (await line.result(line.create({ provider, endpoint, query }))).at(-1)
      expect(done?.metadata.usage, `${provider} ${endpoint}`).toMatchObject({ basis: 'reported' })
      const { inputTokens } = done!.metadata.usage as { inputTokens: number }
      expect(inputTokens, `${provider} ${endpoint}`).toBeGreaterThan(0)
      expect(done?.metadata.cost).toEqual({ value: null, currency: 'USD', basis: 'unknown' }) // there is no model m
    }
    line.close()
  })

  test('the cost is told with the usage, and is the same over HTTP', async () => {
    const line = await open(target)
    const query = chat('x', { model: 'gpt-4.1' })
    const done = (
      await line.result(line.create({ provider: 'openai', endpoint: 'chat/completions', query }))
    ).at(-1)
    const { inputTokens, outputTokens } = done!.metadata.usage as {
      inputTokens: number
      outputTokens: number
    }
    const { value } = done!.metadata.cost as { value: number }
    expect(value).toBeCloseTo((inputTokens * 2 + outputTokens * 8) / 1e6, 12)
    const detach = { ...upstream({}), 'cf-aig-on-disconnect': 'detach' }
    const response = await post(at(target, '/openai/chat/completions'), query, detach)
    await response.text()
    const state = await fetch(at(target, `/run/${response.headers.get('cf-aig-run-id')}`))
    expect(await state.json()).toMatchObject({ state: 'done', cost: { value, basis: 'estimated' } })
    line.close()
  })

  test('a refusal by the provider, or by the gateway, is created with the error, then done as failed', async () => {
    const line = await open(target)
    for (const [asked, status] of [
      [item({ status: 418 }), 418],
      [item({ redirect: 'http://127.0.0.1:9/' }), 302],
      [item({}, { provider: 'nobody' }), 400],
    ] as const) {
      const frames = await line.result(line.create(asked))
      expect(frames[0]).toMatchObject({ type: 'universal.created', metadata: { status } })
      expect(frames[0]).toHaveProperty('response')
      expect(frames[1]).toMatchObject({ type: 'universal.done', metadata: { outcome: 'failed', status } })
    }
    line.close()
  })

  test('a stream that breaks off is done as incomplete', async () => {
    const line = await open(target)
    for (const control of [{ cut: 3 }, { reset: 3 }, { truncate: 3 }]) {
      const frames = await line.result(line.create(item({ events: 9, interval: 5, ...control })))
      expect(frames.at(-1)).toMatchObject({
        type: 'universal.done',
        metadata: { outcome: 'incomplete', upstreamStopped: true },
        error: { code: 'provider_failed' },
      })
    }
    line.close()
  })

  test('faulty messages end nothing but themselves', async () => {
    const line = await open(target)
    const eventId = line.create(item({ events: 5, interval: 20 }))
    line.socket.send('{')
    line.socket.send(new Uint8Array([1, 2]))
    line.send({ type: 'universal.nothing' })
    line.send({ type: 'universal.ack', eventId, seq: 'x' })
    line.send({ type: 'universal.cancel' })
    line.send({ type: 'session.update', headers: { 'cf-aig-max-attempts': '99' } })
    line.send({ type: 'universal.create', request: { eventId: 'bad', onDisconnect: 'never' } })
    expect((await line.result(eventId)).at(-1)?.metadata.outcome).toBe('completed')
    const errors = line.frames.filter((frame) => frame.type === 'universal.error')
    expect(errors.map((frame) => frame.error?.code)).toEqual(Array(7).fill('bad_message'))
    expect(errors.at(-1)?.metadata.eventId).toBe('bad')
    line.close()
  })

  test('session.update changes the defaults, session.ping is answered', async () => {
    const line = await open(target)
    line.send({ type: 'session.update', headers: { 'cf-aig-request-timeout': '50' } })
    await line.next((frame) => frame.type === 'session.updated')
    const late = await line.result(line.create(item({ delay: 400 })))
    expect(late[0]?.metadata.status).toBe(504)
    line.send({ type: 'session.update', headers: { 'cf-aig-request-timeout': null } })
    const foreign = {
      'x-mine': 'a',
      authorization: 'b',
      'cf-aig-x': 'c',
      'bad name': 'd',
      'x-large': 'e'.repeat(1 << 20),
    }
    line.send({ type: 'session.update', headers: foreign })
    const bad = ['a\nb', '{"text":"✓"}', JSON.stringify({ text: 'x'.repeat(20_000) })]
    for (const value of bad) line.send({ type: 'session.update', headers: { 'cf-aig-metadata': value } })
    const patient = await line.result(line.create(item({ delay: 100 })))
    const errors = line.frames.filter((frame) => frame.type === 'universal.error')
    expect(errors.map((frame) => frame.error?.code)).toEqual(Array(bad.length).fill('bad_message'))
    expect(line.frames.filter((frame) => frame.type === 'session.updated')).toHaveLength(3)
    expect(patient[0]?.metadata.status).toBe(200)
    line.send({ type: 'session.ping', id: 'p' })
    expect(await line.next((frame) => frame.type === 'session.pong')).toEqual({
      type: 'session.pong',
      id: 'p',
    })
    line.close()
  })
}

function rawSuite(target: Target): void {
  const controls: [title: string, control: Control][] = [
    ['plain', { events: 20 }],
    ['CRLF line ends', { events: 20, crlf: true }],
    ['comments', { events: 20, comments: true, interval: 1 }],
    ['no [DONE]', { events: 3, noDone: true }],
  ]
  for (const [title, control] of controls) {
    test(`raw frames carry the stream byte for byte: ${title}`, async () => {
      const line = await open(target)
      const frames = await line.result(line.create(item(control, { raw: true })))
      expect(textOf(frames)).toBe(await truth(target, control))
      expect(Object.fromEntries(frames[0]?.headers ?? [])['content-type']).toContain('text/event-stream')
      line.close()
    })
  }

  test('raw carries binary answers, bodies as they are, and other methods', async () => {
    const line = await open(target)
    const bytes = await line.result(line.create(item({ bytes: 300_000 }, { raw: true })))
    const whole = Buffer.concat(
      streamed(bytes).map((frame) => Buffer.from(frame.data ?? '', frame.encoding ?? 'utf8')),
    )
    expect(whole.equals(Buffer.from(Array.from({ length: 300_000 }, (_, index) => index & 255)))).toBe(true)

    const sent = '{ "model":"m",  "n": 1.0, "big": 12345678901234567890 }'
    const key = newKey()
    const asText = { raw: true, provider: 'mine', endpoint: 'echo', query: undefined, body: sent }
    await line.result(line.create(item({ key }, asText)))
    expect((await ledger(target, key))[0]?.body).toBe(sent)
    const base64 = Buffer.from([0, 255, 1, 254]).toString('base64')
    const other = newKey()
    await line.result(line.create(item({ key: other }, { ...asText, body: base64, encoding: 'base64' })))
    expect((await ledger(target, other))[0]?.bodyBytes).toBe(4)
    const get = newKey()
    await line.result(
      line.create(item({ key: get }, { raw: true, method: 'GET', endpoint: 'models', query: undefined })),
    )
    expect(await ledger(target, get)).toMatchObject([{ method: 'GET', bodyBytes: 0 }])
    line.close()
  })
}

function stopSuite(target: Target): void {
  const cancelled: [title: string, control: Control, by: 'eventId' | 'runId'][] = [
    ['inside a stream', { interval: 20, events: 1_000 }, 'eventId'],
    ['inside a stream, by runId', { interval: 20, events: 1_000 }, 'runId'],
    ['before headers', { hang: 'headers' }, 'eventId'],
    ['inside a body', { hang: 'body' }, 'eventId'],
  ]
  test.each(cancelled)(
    'universal.cancel stops the provider within 100 ms, and says so: %s',
    async (...one) => {
      const [, control, by] = one
      const line = await open(target)
      expect(await timeOf(() => cancel(target, line, control, by))).toBeLessThanOrEqual(cancelMs)
      line.close()
    },
  )

  test('universal.cancel of what is over, or never was, is no error', async () => {
    const line = await open(target)
    const eventId = line.create(item({}))
    await line.result(eventId)
    line.send({ type: 'universal.cancel', eventId })
    line.send({ type: 'universal.cancel', eventId: 'never-seen' })
    line.send({ type: 'session.ping' })
    await line.next((frame) => frame.type === 'session.pong')
    expect(line.frames.filter((frame) => frame.type === 'universal.error')).toEqual([])
    line.close()
  })

  test('a request that waits is cancelled without a call', async () => {
    const line = await open(target)
    const keys = Array.from({ length: 64 }, newKey)
    const running = keys.map((key) => line.create(item({ key, hang: 'headers' })))
    const key = newKey()
    const waiting = line.create(item({ key }))
    line.send({ type: 'universal.cancel', eventId: waiting })
    expect((await line.result(waiting)).at(-1)?.metadata.outcome).toBe('cancelled')
    for (const eventId of running) line.send({ type: 'universal.cancel', eventId })
    await Promise.all(running.map((eventId) => line.result(eventId)))
    expect(await ledger(target, key)).toEqual([])
    line.close()
  })

  test('onDisconnect "stop" stops the provider with the socket, "detach" does not', async () => {
    const attempt = async () => {
      const line = await open(target)
      const [stop, detach] = [newKey(), newKey()]
      line.create(item({ key: stop, interval: 20, events: 1_000 }, { onDisconnect: 'stop' }))
      line.create(item({ key: detach, interval: 20, events: 60 }))
      await Promise.all([seen(target, stop), seen(target, detach)])
      await line.next(isStream)
      const left = await clock(target)
      line.close()
      const ms = await stoppedAfter(target, stop, left)
      expect((await ended(target, detach))?.how).toBe('finished')
      return ms
    }
    expect(await timeOf(attempt)).toBeLessThanOrEqual(cancelMs)
  })
}

/** Begin a run, and stop it: how long the provider's connection outlived that, in milliseconds. */
async function cancel(
  target: Target,
  line: Line,
  control: Control,
  by: 'eventId' | 'runId',
): Promise<number> {
  const key = newKey()
  const eventId = line.create(item({ ...control, key }))
  await seen(target, key)
  const isOwn = ({ metadata }: GatewayFrame) => metadata?.eventId === eventId
  if (control.events) await line.next((frame) => isOwn(frame) && Number(frame.metadata.seq) > 2)
  const runId = line.frames.find(isOwn)?.metadata.runId
  const left = await clock(target)
  line.send({ type: 'universal.cancel', ...(by === 'runId' ? { runId } : { eventId }) })
  const frames = await line.result(eventId)
  const done = frames.at(-1)!
  expect(done).toMatchObject({
    type: 'universal.done',
    metadata: { eventId, outcome: 'cancelled', upstreamStopped: true },
  })
  const ms = await stoppedAfter(target, key, left)
  if (control.events) {
    // What the run came to: as many events as it says, each of them sent, and usage of the request and of them.
    const told = streamed(frames).length
    expect(done.metadata.seq).toBe(told - 1)
    expect((await seen(target, key)).eventsSent).toBeGreaterThanOrEqual(told)
    const { basis, inputTokens, outputTokens } = done.metadata.usage as Usage
    expect(basis).toBe('estimated')
    expect(inputTokens).toBeGreaterThan(0)
    expect(outputTokens).toBeGreaterThan(0)
    expect(outputTokens).toBeLessThan(told * 8)
  }
  const state = await fetch(at(target, `/run/${done.metadata.runId}`))
  expect(await state.json()).toMatchObject({ state: 'done', outcome: 'cancelled', upstreamStopped: true })
  return ms
}

interface Usage {
  readonly basis: string
  readonly inputTokens: number
  readonly outputTokens: number
}

function onceSuite(target: Target): void {
  test('a create that is sent again attaches, and calls no provider', async () => {
    const line = await open(target)
    const key = newKey()
    const asked = item({ key, interval: 10, events: 20 }, { eventId: newKey(), raw: true })
    const eventId = line.create(asked)
    await line.next(isStream)
    line.create(asked)
    await line.next((frame) => frame.metadata?.attached === true)
    const frames = await line.result(eventId)
    const from = frames.findIndex((frame) => frame.metadata.attached === true)
    expect(textOf(frames.slice(from))).toBe(await truth(target, { events: 20 }))
    expect(await ledger(target, key)).toHaveLength(1)
    const other = newKey()
    line.create({
      ...asked,
      query: chat('something else', { stream: true }),
      headers: upstream({ key: other }),
    })
    const refused = await line.next((frame) => frame.type === 'universal.error')
    expect(refused).toMatchObject({ metadata: { eventId }, error: { code: 'conflict', retryable: false } })
    expect(await ledger(target, other)).toEqual([])
    line.close()
  })

  test('a session is taken up again, with the rest of its streams', async () => {
    const first = await open(target)
    const control = { interval: 10, events: 60 }
    const key = newKey()
    const eventId = first.create(item({ ...control, key }, { raw: true }))
    await first.next((frame) => isStream(frame) && Number(frame.metadata.seq) >= 5)
    first.socket.terminate()
    await first.closed
    const had = streamed(first.frames)
    const line = await again(target, first.id)
    expect(line.frames[0]).toMatchObject({ session: { id: first.id, resumed: true, runs: [{ eventId }] } })
    line.send({ type: 'universal.resume', eventId, from: had.length })
    const rest = await line.result(eventId)
    expect(rest[0]?.metadata.attached).toBe(true)
    expect(textOf([...had, ...rest])).toBe(await truth(target, control))
    expect(await ledger(target, key)).toHaveLength(1)
    line.close()
  })

  test('a second connection takes a session over; one that is not held is a new one', async () => {
    const line = await open(target)
    const second = await again(target, line.id)
    expect((await line.closed).code).toBe(4409)
    expect(second.id).toBe(line.id)
    second.close()
    const unknown = '0199aaaa-0000-7000-8000-000000000000'
    const fresh = await again(target, unknown)
    expect(fresh.frames[0]).toMatchObject({ session: { resumed: false } })
    fresh.close()
  })

  test('sessions and runs are their token’s alone', async () => {
    const as = (token: string): LineOptions => ({
      gateway: 'locked',
      headers: { 'cf-aig-authorization': `Bearer ${token}` },
    })
    const mine = await open(target, as(tokens.locked))
    const eventId = mine.create(item({ events: 2_000, interval: 20 }))
    const { runId } = (await mine.next((frame) => frame.type === 'universal.created')).metadata
    const theirs = await again(target, mine.id, as(tokens.all))
    expect(theirs.frames[0]).toMatchObject({ session: { resumed: false } })
    expect(theirs.id).not.toBe(mine.id)
    // What is theirs has its own events, by whatever names.
    const key = newKey()
    const own = await theirs.result(theirs.create(item({ key, events: 3 }, { eventId })))
    expect(own[0]?.metadata.attached).toBeUndefined()
    expect(own[0]?.metadata.runId).not.toBe(runId)
    expect(await ledger(target, key)).toHaveLength(1)
    const never = `${String(runId).slice(0, -1)}zzz`
    for (const type of ['universal.resume', 'universal.cancel']) {
      for (const id of [String(runId), never]) {
        const before = theirs.frames.length
        theirs.send({ type, runId: id })
        const refused = await theirs.next((frame) => frame === theirs.frames[before])
        expect(refused.metadata.runId).toBe(id)
        expect(refused.error).toMatchObject({ code: 'forbidden', retryable: false })
      }
    }
    expect(mine.frames.some((frame) => frame.type === 'universal.done')).toBe(false)
    mine.send({ type: 'universal.cancel', eventId })
    await mine.result(eventId)
    mine.close()
    theirs.close()
  })
}
