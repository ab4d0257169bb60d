import { expect, test } from 'vitest'
import {
  at,
  chat,
  connect,
  ended,
  type GatewayFrame,
  type Line,
  type LineOptions,
  ledger,
  newKey,
  now,
  post,
  seen,
  upstream,
} from '../client.ts'
import { tokens } from '../config.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'

const cancelMs = 100
const v1 = { protocols: ['trunkline.v1'] }

/** An item for the emulator's OpenAI wire; a stream unless told. */
const item = (control: Control, more: object = {}, query: object = { stream: true }): object => ({
  provider: 'openai',
  endpoint: 'chat/completions',
  headers: upstream(control),
  query: chat('héllo wörld', query),
  ...more,
})

/** What the emulator itself answers, byte for byte. */
async function truth(target: Target, control: Control): Promise<string> {
  const { key: _, ...same } = control
  const url = `${target.upstream}/openai/chat/completions`
  return (await post(url, chat('héllo wörld', { stream: true }), upstream(same))).text()
}

const streamed = (frames: readonly GatewayFrame[]): GatewayFrame[] =>
  frames.filter((frame) => frame.type === 'universal.stream')

/** The bytes of raw frames, as text. */
const textOf = (frames: readonly GatewayFrame[]): string =>
  Buffer.concat(
    streamed(frames).map(({ data, encoding }) => Buffer.from(data ?? '', encoding ?? 'utf8')),
  ).toString()

const isReady = (frame: GatewayFrame): boolean => frame.type === 'session.ready'
const isStream = (frame: GatewayFrame): boolean => frame.type === 'universal.stream'

/** Connect and read `session.ready`. */
async function open(target: Target, options: LineOptions = {}): Promise<Line & { readonly id: string }> {
  const line = await connect(target, { ...v1, ...options })
  const ready = await line.next(isReady)
  return { ...line, id: ready.session?.id ?? '' }
}

const again = (target: Target, id: string, options: LineOptions = {}) =>
  open(target, { ...options, search: `?session=${id}` })

/** PROTOCOL.md, "trunkline.v1". */
export function runsSuite(target: Target): void {
  messagesSuite(target)
  rawSuite(target)
  stopSuite(target)
  onceSuite(target)
  windowSuite(target)
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
      ['google-ai-studio', 'v1beta/models/m:generateContent', { contents: [{ parts: [{ text: 'x' }] }] }],
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
    const patient = await line.result(line.create(item({ delay: 100 })))
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
  test('universal.cancel stops the provider, and says so', async () => {
    const line = await open(target)
    for (const control of [{ interval: 20, events: 1_000 }, { hang: 'headers' }, { hang: 'body' }] as const) {
      const key = newKey()
      const eventId = line.create(item({ ...control, key }))
      await seen(target, key)
      if ('events' in control)
        await line.next((frame) => frame.metadata?.eventId === eventId && Number(frame.metadata.seq) > 2)
      const left = now()
      line.send({ type: 'universal.cancel', eventId })
      const done = (await line.result(eventId)).at(-1)
      expect(done).toMatchObject({ metadata: { outcome: 'cancelled', upstreamStopped: true } })
      if ('events' in control) expect(done?.metadata.usage).toMatchObject({ basis: 'estimated' })
      const entry = await ended(target, key)
      expect(entry!.closedAt! - left).toBeLessThanOrEqual(cancelMs)
      line.send({ type: 'universal.cancel', eventId })
    }
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
    const line = await open(target)
    const [stop, detach] = [newKey(), newKey()]
    line.create(item({ key: stop, interval: 20, events: 1_000 }, { onDisconnect: 'stop' }))
    line.create(item({ key: detach, interval: 20, events: 30 }))
    await Promise.all([seen(target, stop), seen(target, detach)])
    await line.next(isStream)
    const left = now()
    line.close()
    const entry = await ended(target, stop)
    expect(entry!.closedAt! - left).toBeLessThanOrEqual(cancelMs)
    expect((await ended(target, detach))?.how).toBe('finished')
  })
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
    const eventId = mine.create(item({ events: 500, interval: 10 }))
    const { runId } = (await mine.next((frame) => frame.type === 'universal.created')).metadata
    const theirs = await again(target, mine.id, as(tokens.all))
    expect(theirs.frames[0]).toMatchObject({ session: { resumed: false } })
    expect(theirs.id).not.toBe(mine.id)
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

function windowSuite(target: Target): void {
  test('a run whose events are not acked waits, and no other does', async () => {
    const line = await open(target)
    const key = newKey()
    const slow = line.create(item({ key, bytes: 4 << 20 }, { raw: true }))
    line.send({ type: 'universal.ack', eventId: slow, seq: -1 })
    const quick = await line.result(line.create(item({ events: 50 })))
    expect(quick.at(-1)?.metadata.outcome).toBe('completed')
    await new Promise((wake) => setTimeout(wake, 300))
    const sizeOf = () =>
      streamed(line.frames.filter((frame) => frame.metadata?.eventId === slow))
        .map(({ data, encoding }) => Buffer.from(data ?? '', encoding ?? 'utf8').length)
        .reduce((sum, size) => sum + size, 0)
    const held = sizeOf()
    expect(held).toBeGreaterThan(0)
    expect(held).toBeLessThan(262_144 + (2 << 20)) // the window, and the piece that crossed it
    const acks = setInterval(() => {
      const seq = streamed(line.frames).filter((frame) => frame.metadata.eventId === slow).length - 1
      line.send({ type: 'universal.ack', eventId: slow, seq })
    }, 5)
    const frames = await line.result(slow)
    clearInterval(acks)
    expect(frames.at(-1)?.metadata.outcome).toBe('completed')
    expect(sizeOf()).toBe(4 << 20)
    line.close()
  })

  test('HTTP: a detached run goes on, is read elsewhere, told of, and stopped', async () => {
    const key = newKey()
    const control = { key, interval: 10, events: 60 }
    const leaving = new AbortController()
    const url = at(target, '/openai/chat/completions')
    const body = JSON.stringify(chat('héllo wörld', { stream: true }))
    const headers = {
      ...upstream(control),
      'cf-aig-on-disconnect': 'detach',
      'content-type': 'application/json',
    }
    const response = await fetch(url, { method: 'POST', body, headers, signal: leaving.signal })
    const runId = response.headers.get('cf-aig-run-id')
    expect(runId).toMatch(/./)
    await response.body!.getReader().read()
    leaving.abort()
    const state = await (await fetch(at(target, `/run/${runId}`))).json()
    expect(state).toMatchObject({ runId, state: 'running', status: 200 })
    const rest = await fetch(at(target, `/run/${runId}/resume?from=20`))
    const whole = await truth(target, control)
    const cut = whole.split('\n\n').slice(0, 20).join('\n\n').length + 2
    expect(await rest.text()).toBe(whole.slice(cut))
    expect(await (await fetch(at(target, `/run/${runId}`))).json()).toMatchObject({
      state: 'done',
      outcome: 'completed',
      upstreamStopped: true,
    })
    expect(await (await fetch(at(target, `/run/${runId}/resume?from=9999`))).text()).toBe('')
    expect(await ledger(target, key)).toHaveLength(1)

    const other = newKey()
    const long = await post(url, chat('x', { stream: true }), {
      ...upstream({ key: other, interval: 20, events: 1_000 }),
      'cf-aig-on-disconnect': 'detach',
    })
    const left = now()
    const stopped = await fetch(at(target, `/run/${long.headers.get('cf-aig-run-id')}`), { method: 'DELETE' })
    expect(await stopped.json()).toMatchObject({ outcome: 'cancelled', upstreamStopped: true })
    expect((await ended(target, other))!.closedAt! - left).toBeLessThanOrEqual(cancelMs)
    await expect(long.text()).rejects.toThrow()
  })

  test('HTTP: a detached answer without a body, and one that is an error', async () => {
    for (const [control, status] of [
      [{ status: 204 }, 204],
      [{ status: 429 }, 429],
    ] as const) {
      const headers = { ...upstream(control), 'cf-aig-on-disconnect': 'detach' }
      const response = await post(at(target, '/openai/chat/completions'), chat('x'), headers)
      expect(response.status).toBe(status)
      await response.text()
      const runId = response.headers.get('cf-aig-run-id')
      const outcome = status < 400 ? 'completed' : 'failed'
      const state = await fetch(at(target, `/run/${runId}`))
      expect(await state.json()).toMatchObject({ state: 'done', outcome, status })
    }
  })

  test('an event too large for a row is passed on all the same', async () => {
    const line = await open(target)
    const text = 'x'.repeat(3 << 20)
    const query = { stream: true, messages: [{ role: 'user', content: text }] }
    const frames = await line.result(line.create(item({ events: 2 }, { query })))
    expect(frames.at(-1)?.metadata.outcome).toBe('completed')
    expect(JSON.stringify(streamed(frames))).toContain(text)
    line.close()
  })

  test('HTTP: a run that is unknown, or not theirs, is 404', async () => {
    const headers = { 'cf-aig-authorization': `Bearer ${tokens.locked}`, ...upstream({ events: 3 }) }
    const url = at(target, '/openai/chat/completions', 'locked')
    const detach = { ...headers, 'cf-aig-on-disconnect': 'detach' }
    const response = await post(url, chat('x', { stream: true }), detach)
    const runId = response.headers.get('cf-aig-run-id')
    await response.text()
    const theirs = { 'cf-aig-authorization': `Bearer ${tokens.all}` }
    for (const id of [runId, '0199aaaa-0000-7000-8000-000000000000-0', 'x']) {
      for (const [method, path] of [
        ['GET', ''],
        ['DELETE', ''],
        ['GET', '/resume?from=0'],
      ] as const) {
        const refused = await fetch(at(target, `/run/${id}${path}`, 'locked'), { method, headers: theirs })
        expect([refused.status, await refused.json()]).toEqual([404, { error: 'Request not found' }])
      }
    }
    expect((await fetch(at(target, `/run/${runId}`, 'locked'))).status).toBe(401)
    expect((await fetch(at(target, `/run/${runId}`, 'locked'), { headers })).status).toBe(200)
  })

  test('what a socket began is finished over HTTP, and the other way round', async () => {
    const control = { interval: 10, events: 60 }
    const whole = await truth(target, control)
    const line = await open(target)
    line.create(item(control, { raw: true }))
    const { runId } = (await line.next((frame) => frame.type === 'universal.created')).metadata
    await line.next((frame) => isStream(frame) && frame.metadata.seq === 19)
    line.socket.terminate()
    const had = streamed(line.frames).slice(0, 20)
    const rest = await (await fetch(at(target, `/run/${runId}/resume?from=20`))).text()
    expect(textOf(had) + rest).toBe(whole)

    const headers = { ...upstream(control), 'cf-aig-on-disconnect': 'detach' }
    const url = at(target, '/openai/chat/completions')
    const response = await post(url, chat('héllo wörld', { stream: true }), headers)
    const id = response.headers.get('cf-aig-run-id') ?? ''
    await response.body!.cancel()
    const other = await open(target)
    other.send({ type: 'universal.resume', runId: id, eventId: 'taken', from: 0 })
    const frames = await other.result('taken')
    expect(frames.at(-1)?.metadata).toMatchObject({ runId: id, outcome: 'completed' })
    expect(streamed(frames)).toHaveLength(62)
    other.close()
  })
}
