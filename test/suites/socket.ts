import { expect, test } from 'vitest'
import { chat, connect, type GatewayFrame, type Line, ledger, newKey, upstream } from '../client.ts'
import type { Target } from '../target.ts'
import { messages } from '../upstream/anthropic.ts'
import type { Control } from '../upstream/control.ts'

/** An item for the emulator's OpenAI wire. */
const item = (text: string, control: Control = {}, query: object = {}): object => ({
  provider: 'openai',
  endpoint: 'chat/completions',
  headers: upstream(control),
  query: chat(text, query),
})

const textOf = (frame: GatewayFrame | undefined): string | undefined =>
  (frame?.response as { choices?: { message?: { content: string } }[] } | undefined)?.choices?.[0]?.message
    ?.content

const streamed = (frames: readonly GatewayFrame[]): string =>
  frames
    .filter((frame) => frame.type === 'universal.stream')
    .map(
      (frame) =>
        (frame.response as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ?? '',
    )
    .join('')

/** The base wire of protocol.md, section 1, over one socket. */
export function socketSuite(target: Target): void {
  const withLine = (title: string, run: (line: Line) => Promise<void>, options = {}): void =>
    test(title, async () => {
      const line = await connect(target, options)
      try {
        await run(line)
      } finally {
        line.close()
      }
    })
  framesSuite(withLine)
  failuresSuite(target, withLine)
  settingsSuite(target, withLine)
  manySuite(target, withLine)
}

type WithLine = (title: string, run: (line: Line) => Promise<void>, options?: object) => void

function framesSuite(withLine: WithLine): void {
  withLine('a single answer is one universal.created with the body inlined', async (line) => {
    const eventId = line.create(item('one'))
    const frames = await line.result(eventId)
    expect(frames).toHaveLength(1)
    const { type, metadata } = frames[0]!
    expect(type).toBe('universal.created')
    expect(metadata).toEqual({
      cacheStatus: 'MISS',
      eventId,
      logId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      step: '0',
      status: 200,
      contentType: 'application/json',
    })
    expect(textOf(frames[0])).toContain('You said: one')
  })

  withLine('a stream is created, one frame per event, and done', async (line) => {
    const eventId = line.create(item('two words', { comments: true }, { stream: true }))
    const frames = await line.result(eventId)
    const types = frames.map((frame) => frame.type)
    expect(types[0]).toBe('universal.created')
    expect(types.at(-1)).toBe('universal.done')
    expect(new Set(types.slice(1, -1))).toEqual(new Set(['universal.stream']))
    expect(frames[0]).not.toHaveProperty('response')
    expect(frames[0]!.metadata).toMatchObject({ contentType: 'text/event-stream', step: '0', status: 200 })
    expect(frames[1]!.metadata).toEqual({ eventId })
    expect(frames.at(-1)!.metadata).toEqual(frames[0]!.metadata)
    expect(frames.at(-1)).not.toHaveProperty('error')
    expect(streamed(frames)).toContain('You said: two words')
    expect(JSON.stringify(frames)).not.toContain('[DONE]')
  })

  withLine('named events keep their name, and CRLF streams read the same', async (line) => {
    const query = { model: 'm', max_tokens: 9, stream: true, messages: [{ role: 'user', content: 'hi' }] }
    const create = (control: Control) =>
      line.create({ provider: 'anthropic', endpoint: 'v1/messages', headers: upstream(control), query })
    const [plain, crlf] = await Promise.all([line.result(create({})), line.result(create({ crlf: true }))])
    const words = 'This is emulator, an emulator and not a model. You said: hi'.match(/\s*\S+/g) ?? []
    const expected = messages
      .stream({ words, calls: [], thought: '', model: 'm' }, {})
      .map(({ event, data }) => ({ event, response: data }))
    for (const frames of [plain, crlf]) {
      expect(frames.slice(1, -1).map(({ event, response }) => ({ event, response }))).toEqual(expected)
    }
  })

  withLine('text becomes a string, bytes become base64', async (line) => {
    const text = (await line.result(line.create(item('x', { text: 'just "text"\n' }))))[0]!
    expect(text.response).toBe('just "text"\n')
    const binary = (await line.result(line.create(item('x', { bytes: 100_000 }))))[0]!
    expect(binary.metadata.encoding).toBe('base64')
    const bytes = Buffer.from(binary.response as string, 'base64')
    expect(bytes.length).toBe(100_000)
    expect([...bytes.subarray(65_534, 65_538)]).toEqual([254, 255, 0, 1])
  })

  withLine('an eventId is made where none is given', async (line) => {
    line.socket.send(JSON.stringify({ type: 'universal.create', request: item('anon') }))
    const frame = await line.next((frame) => frame.type === 'universal.created')
    expect(frame.metadata.eventId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  })
}

function failuresSuite(target: Target, withLine: WithLine): void {
  const failures: [title: string, request: object, status: number, code: number][] = [
    ['an unknown provider', { provider: 'nobody', endpoint: 'x', query: {} }, 400, 2008],
    ['a prototype name as provider', { provider: '__proto__', endpoint: 'x', query: {} }, 400, 2008],
    ['a missing query', { provider: 'openai', endpoint: 'x' }, 400, 2002],
    ['an endpoint that climbs', { provider: 'openai', endpoint: '../x', query: {} }, 400, 2002],
    ['a provider out of reach', { provider: 'offline', endpoint: 'x', query: {} }, 502, 2005],
    ['a provider that answers garbage', item('x', { garbage: true }), 502, 2005],
    [
      'a provider that never answers',
      { ...item('x', { hang: 'headers' }), config: { requestTimeout: 100 } },
      504,
      2005,
    ],
    [
      'a provider silent after its headers',
      { ...item('x', { hang: 'body' }), config: { requestTimeout: 100 } },
      504,
      2005,
    ],
  ]
  for (const [title, request, status, code] of failures) {
    withLine(`${title} fails that request alone, with its eventId and status`, async (line) => {
      const frames = await line.result(line.create(request))
      expect(frames).toHaveLength(1)
      const requestId = expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7/)
      expect(frames[0]).toMatchObject({ type: 'universal.created', metadata: { status, requestId } })
      expect(frames[0]!.response).toMatchObject({ success: false, error: [{ code }], httpCode: status })
      expect(textOf((await line.result(line.create(item('after'))))[0])).toContain('after')
    })
  }

  withLine("a provider's own error passes with its status", async (line) => {
    const [frame] = await line.result(line.create(item('x', { status: 418 })))
    expect(frame).toMatchObject({
      metadata: { status: 418 },
      response: { error: { message: 'emulated 418' } },
    })
  })

  withLine('broken JSON of a provider arrives as the text it is', async (line) => {
    const [frame] = await line.result(line.create(item('x', { malformed: true })))
    expect(frame!.response).toBe('{"broken": ')
  })

  for (const how of ['cut', 'reset', 'truncate'] as const) {
    withLine(
      `a stream that the provider breaks off (${how}) ends incomplete, with an error`,
      async (line) => {
        const frames = await line.result(line.create(item('x', { [how]: 3, events: 10 }, { stream: true })))
        expect(frames.filter((frame) => frame.type === 'universal.stream').length).toBeLessThanOrEqual(3)
        expect(frames.at(-1)).toMatchObject({ type: 'universal.done', metadata: { status: 'incomplete' } })
        expect(frames.at(-1)!.error).toMatchObject({ code: 'provider_failed' })
      },
    )
  }

  const faults: [title: string, text: string, eventId?: string][] = [
    ['broken JSON', '{"type":'],
    ['a list', '[]'],
    ['an unknown type', '{"type":"universal.cook","eventId":"u1"}', 'u1'],
    ['a create without request', '{"type":"universal.create"}'],
    ['a create with a text for request', '{"type":"universal.create","request":"x","eventId":"u2"}', 'u2'],
  ]
  for (const [title, text, eventId] of faults) {
    withLine(`${title} gets an error frame, and the socket lives on`, async (line) => {
      const other = line.create(item('other', { delay: 50 }))
      line.socket.send(text)
      const frame = await line.next(({ type }) => type === 'error')
      expect(frame.error?.code).toBe('bad_message')
      expect(frame.metadata.eventId).toBe(eventId)
      expect(textOf((await line.result(other))[0])).toContain('other')
    })
  }

  withLine('an eventId that is none fails its request, and asks no provider', async (line) => {
    const key = newKey()
    const create = (request: object) => line.send({ type: 'universal.create', request })
    for (const eventId of ['e'.repeat(257), '', 12_345, true, { a: 1 }])
      create({ ...item('x', { key }), eventId })
    create([{ ...item('x', { key }), eventId: 7 }])
    line.send({ type: 'universal.create', request: item('x', { key }), eventId: [] })
    create({ ...item('one', { key }), eventId: null })
    await line.next((frame) => frame.type === 'universal.created')
    expect(line.frames.map(({ type, error }) => [type, error?.code])).toEqual([
      ...Array(7).fill(['error', 'bad_message']),
      ['universal.created', undefined],
    ])
    expect(await ledger(target, key)).toHaveLength(1)
  })

  withLine('an eventId already in flight fails the second request only', async (line) => {
    const key = newKey()
    const eventId = line.create(item('first', { delay: 150, key }))
    line.create({ ...item('second', { key }), eventId })
    const refused = await line.next((frame) => frame.metadata.status === 409)
    expect(refused.metadata.eventId).toBe(eventId)
    await line.next((frame) => textOf(frame)?.includes('first') === true)
    expect(await ledger(target, key)).toHaveLength(1)
  })
}

function settingsSuite(target: Target, withLine: WithLine): void {
  withLine('a list is a fallback list, and step says which served', async (line) => {
    const eventId = line.create([{ provider: 'offline', endpoint: 'x', query: {} }, item('b')])
    const [frame] = await line.result(eventId)
    expect(frame!.metadata).toMatchObject({ step: '1', status: 200 })
  })

  const connection = {
    headers: { 'cf-aig-max-attempts': '3', 'cf-aig-retry-delay': '5', 'x-other': 'dropped' },
  }
  withLine(
    'settings of an item win over those of the connection, and those over the gateway',
    async (line) => {
      const tries = async (more: object): Promise<number> => {
        const key = newKey()
        const request = item('x', { key, status: 503 }) as { headers: object }
        await line.result(
          line.create({
            ...request,
            ...more,
            headers: { ...request.headers, ...('headers' in more ? (more.headers as object) : {}) },
          }),
        )
        const entries = await ledger(target, key)
        expect(entries.every((entry) => !('x-other' in entry.headers))).toBe(true)
        return entries.length
      }
      expect(await tries({})).toBe(3)
      expect(await tries({ headers: { 'cf-aig-max-attempts': 2 } })).toBe(2)
      expect(await tries({ headers: { 'cf-aig-max-attempts': 2 }, config: { maxAttempts: 1 } })).toBe(1)
    },
    connection,
  )
}

function manySuite(target: Target, withLine: WithLine): void {
  withLine('one socket, two providers: a stream and a single answer interleave', async (line) => {
    const key = newKey()
    const slow = line.create({
      ...item('slow', { interval: 20, events: 20, key }, { stream: true }),
      eventId: 'slow',
    })
    await line.next((frame) => frame.type === 'universal.stream')
    const query = { model: 'm', max_tokens: 10, messages: [{ role: 'user', content: 'quick' }] }
    const quick = line.create({ eventId: 'quick', provider: 'anthropic', endpoint: 'v1/messages', query })
    await line.result(slow)
    const order = line.frames.map((frame) => `${frame.metadata.eventId} ${frame.type}`)
    expect(order.indexOf(`${quick} universal.created`)).toBeGreaterThan(
      order.indexOf(`${slow} universal.stream`),
    )
    expect(order.indexOf(`${quick} universal.created`)).toBeLessThan(order.indexOf(`${slow} universal.done`))
    expect(JSON.stringify((await line.result(quick))[0]!.response)).toContain('You said: quick')
  })

  withLine('200 requests at once to four providers: none lost, crossed or out of order', async (line) => {
    const ids = Array.from({ length: 200 }, (_, index) => {
      const eventId = `many-${index}`
      const user = [{ role: 'user', content: eventId }]
      if (index % 4 === 0) return line.create({ ...item(eventId), eventId })
      if (index % 4 === 1) return line.create({ ...item(eventId, {}, { stream: true }), eventId })
      if (index % 4 === 2)
        return line.create({
          eventId,
          provider: 'anthropic',
          endpoint: 'messages',
          query: { model: 'm', max_tokens: 99, messages: user },
        })
      return line.create({
        eventId,
        provider: 'workers-ai',
        endpoint: '@cf/m',
        query: { prompt: eventId, stream: true },
      })
    })
    for (const [index, eventId] of ids.entries()) {
      const frames = await line.result(eventId)
      const text =
        index % 4 === 1
          ? streamed(frames)
          : index % 4 === 3
            ? frames
                .slice(1, -1)
                .map((frame) => (frame.response as { response: string }).response)
                .join('')
            : JSON.stringify(frames[0]!.response)
      expect(text).toContain(index % 2 ? `You said: ${eventId}` : eventId)
      expect(text.match(/many-\d+/g)).toEqual([eventId])
    }
    expect(line.frames.filter((frame) => frame.type === 'universal.created')).toHaveLength(200)
  })

  withLine('64 run, 256 wait, and what comes after is told to come later', async (line) => {
    const key = newKey()
    const ids = Array.from({ length: 64 + 256 }, () => line.create(item('x', { key, delay: 300 })))
    const late = line.create(item('late', { key }))
    const [refused] = await line.result(late)
    expect(refused).toMatchObject({ metadata: { status: 429 }, response: { error: [{ code: 2003 }] } })
    for (const id of ids) expect((await line.result(id))[0]!.metadata.status).toBe(200)
    expect(await ledger(target, key)).toHaveLength(320)
  })
}
