import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { connect, LineError } from '../../src/client/index.ts'
import type { FakeItem } from './fake-gateway.ts'
import { coded, drain, events, post, sse, until, useKit } from './line-kit.ts'

const kit = useKit()
/** The item that the fake's default answer echoes. */
const echo = async (response: Response): Promise<FakeItem> => (await response.json()) as FakeItem

describe('connecting', () => {
  test('offers the wire and the token as subprotocols, and nothing else', async () => {
    const line = await kit.open({ token: 'tk-1' })
    expect(line.state).toBe('open')
    expect(kit.gateway.handshakes).toEqual([
      { protocols: 'trunkline.v1, cf-aig-authorization.tk-1', url: '/v1/default/default' },
    ])
  })

  test('takes https URLs and slashes at the end, and gives base URLs to SDKs', async () => {
    const line = await kit.open()
    const port = kit.proxy.port
    expect(line.url('openai')).toBe(`http://127.0.0.1:${port}/v1/default/default/openai`)
    const other = await connect(`http://127.0.0.1:${port}/v1/default/default/`)
    expect(other.url('a b')).toBe(`http://127.0.0.1:${port}/v1/default/default/a%20b`)
    other.close()
  })

  test('takes another WebSocket', async () => {
    const line = await kit.open({ WebSocket })
    expect((await post(line, '/x')).status).toBe(200)
  })

  test('rejects with unreachable after three failed handshakes', async () => {
    kit.gateway.behaviour.refusals = 10
    await expect(kit.open()).rejects.toEqual(coded('unreachable'))
    expect(kit.gateway.handshakes).toHaveLength(3)
    await sleep(100)
    expect(kit.gateway.handshakes).toHaveLength(3)
  })

  test('rejects when the gateway speaks another wire, or never says that it is ready', async () => {
    kit.gateway.behaviour.protocol = 'cf-aig-authorization.t'
    await expect(kit.open({ token: 't' })).rejects.toEqual(coded('unreachable'))
    kit.proxy.set({ newcomers: 'hold' })
    await expect(kit.open({ limits: { handshakeMs: 20 } })).rejects.toEqual(coded('unreachable'))
  })

  test('rejects at once for what no URL or subprotocol may be', async () => {
    await expect(connect('nowhere')).rejects.toThrow(TypeError)
    await expect(kit.open({ token: 'two words' })).rejects.toMatchObject({ name: 'SyntaxError' })
  })

  test('rejects with the reason of its signal, and closes when that aborts later', async () => {
    const reason = new Error('enough')
    await expect(kit.open({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const early = new AbortController()
    kit.proxy.set({ newcomers: 'hold' })
    setTimeout(() => early.abort(reason), 20)
    await expect(kit.open({ signal: early.signal })).rejects.toBe(reason)
    kit.proxy.set({ newcomers: 'pass' })
    const late = new AbortController()
    const line = await kit.open({ signal: late.signal })
    late.abort(reason)
    expect(line.state).toBe('closed')
    await expect(post(line, '/x')).rejects.toBe(reason)
  })
})

describe('a request', () => {
  test('carries method, path, query, headers and text as they are', async () => {
    const line = await kit.open({ headers: { 'cf-aig-backoff': 'linear', 'x-own': 'line' } })
    const response = await line.fetch(`${line.url('openai')}/v1/chat?a=1&b=%2F#part`, {
      method: 'PUT',
      body: '{"é":"\\u0000 \u0000 😀"}',
      headers: { 'content-type': 'application/json', 'x-own': 'request', connection: 'close' },
    })
    const item = await echo(response)
    expect(item).toMatchObject({
      provider: 'openai',
      endpoint: 'v1/chat?a=1&b=%2F',
      method: 'PUT',
      raw: true,
    })
    expect(item.body).toBe('{"é":"\\u0000 \u0000 😀"}')
    expect(item).not.toHaveProperty('encoding')
    expect(item.headers).toMatchObject({ 'x-own': 'request', 'cf-aig-backoff': 'linear' })
    expect(item.headers).not.toHaveProperty('connection')
    expect(response.url).toBe(`${line.url('openai')}/v1/chat?a=1&b=%2F`)
  })

  test('without a body has none', async () => {
    const line = await kit.open()
    const item = await echo(await line.fetch(`${line.url('openai')}/models`))
    expect(item).toMatchObject({ method: 'GET', endpoint: 'models' })
    expect(item).not.toHaveProperty('body')
  })

  test('carries bytes, forms, multipart, blobs and streams', async () => {
    const line = await kit.open()
    const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => index * 7)
    const binary = await echo(await post(line, '/x', bytes as unknown as string))
    expect(binary.encoding).toBe('base64')
    expect(Buffer.from(binary.body ?? '', 'base64').equals(Buffer.from(bytes))).toBe(true)
    const form = await echo(await post(line, '/x', new URLSearchParams({ a: 'b c' }) as unknown as string))
    expect(form.body).toBe('a=b+c')
    expect(form.headers?.['content-type']).toContain('application/x-www-form-urlencoded')
    const data = new FormData()
    data.set('file', new Blob([bytes]), 'a.bin')
    const multipart = await echo(await post(line, '/x', data as unknown as string))
    const sent = Buffer.from(multipart.body ?? '', 'base64')
    expect(sent.includes(Buffer.from(bytes))).toBe(true)
    const [, boundary = 'none'] = /boundary=(\S+)/.exec(multipart.headers?.['content-type'] ?? '') ?? []
    expect(String(sent).startsWith(`--${boundary}`)).toBe(true)
    const stream = new Blob(['in ', 'parts']).stream()
    const streamed = await line.fetch(`${line.url('openai')}/x`, {
      method: 'POST',
      body: stream,
      duplex: 'half',
    } as RequestInit)
    expect((await echo(streamed)).body).toBe('in parts')
  })

  test('may be a Request', async () => {
    const line = await kit.open()
    const request = new Request(`${line.url('mine')}/x`, {
      method: 'POST',
      body: 'b',
      headers: { 'x-a': '1' },
    })
    const item = await echo(await line.fetch(request))
    expect(item).toMatchObject({ provider: 'mine', body: 'b', headers: { 'x-a': '1' } })
    expect(request.bodyUsed).toBe(true)
  })

  test('is refused when it is larger than a message may be', async () => {
    const line = await kit.open()
    await expect(post(line, '/x', 'x'.repeat(1 << 20))).rejects.toEqual(coded('too_large'))
    await expect(post(line, '/x', 'é'.repeat(1 << 19))).rejects.toEqual(coded('too_large'))
    expect(kit.gateway.calls).toEqual([])
    expect((await post(line, '/x', 'x'.repeat(1 << 19))).status).toBe(200)
  })

  test('elsewhere goes over HTTP, and only the gateway sees the token', async () => {
    const seen: [url: string, token: string | null][] = []
    const fetch = async (input: RequestInfo | URL) => {
      const request = input as Request
      seen.push([request.url, request.headers.get('cf-aig-authorization')])
      return new Response('http')
    }
    const line = await kit.open({ token: 'tk', fetch })
    for (const url of ['http://other.example/x', `${line.base}/run/r1`, line.base, `${line.base}extra/x/y`]) {
      expect(await (await line.fetch(url)).text()).toBe('http')
    }
    expect(seen).toEqual([
      ['http://other.example/x', null],
      [`${line.base}/run/r1`, 'Bearer tk'],
      [line.base, 'Bearer tk'],
      [`${line.base}extra/x/y`, null],
    ])
  })
})

describe('a response', () => {
  test('has status, headers and the bytes of a stream', async () => {
    const parts = [
      'data: {"a":1}\r\n\r\n',
      ': ping\n\n',
      'data: é\n\n',
      Uint8Array.of(0xff, 0, 0xfe),
      'data: [DONE]\n\n',
    ]
    kit.gateway.behaviour.answer = () => ({
      status: 201,
      headers: { ...sse, 'x-a': 'b' },
      events: parts,
      intervalMs: 2,
    })
    const response = await post(await kit.open(), '/x')
    expect([response.status, response.ok, response.headers.get('x-a')]).toEqual([201, true, 'b'])
    const own = ['event-id', 'run-id', 'step', 'cache-status', 'log-id']
    const [eventId] = kit.gateway.calls
    expect(own.map((name) => response.headers.get(`cf-aig-${name}`))).toEqual([
      eventId,
      `r-${eventId}`,
      '0',
      null,
      null,
    ])
    const expected = Buffer.concat(parts.map((part) => Buffer.from(part)))
    expect(Buffer.from(await response.arrayBuffer()).equals(expected)).toBe(true)
  })

  test('is read as it comes', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(3), intervalMs: 30, hangs: true })
    const reader = (await post(await kit.open(), '/x')).body!.getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe(events(1)[0])
    expect(kit.gateway.of('universal.cancel')).toHaveLength(0)
    await reader.cancel()
    await until(() => kit.gateway.of('universal.cancel').length === 1, 'the cancel')
  })

  test('leaves no listener on a signal once it is there, read or not', async () => {
    const line = await kit.open()
    const { signal } = new AbortController()
    const request = new Request(`${line.url('openai')}/x`, { signal })
    const own = getEventListeners(signal, 'abort').length
    for (let count = 0; count < 20; count += 1) {
      await post(line, '/x', '{}', { signal })
      await line.fetch(request)
    }
    await sleep(20)
    expect(getEventListeners(signal, 'abort')).toHaveLength(own)
    expect(getEventListeners(request.signal, 'abort')).toHaveLength(0)
  })

  test('is not tied to a signal that is set to null', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(3), intervalMs: 10 })
    const line = await kit.open()
    const controller = new AbortController()
    const request = new Request(`${line.url('openai')}/x`, { signal: controller.signal })
    const response = await line.fetch(request, { signal: null })
    controller.abort()
    expect(await response.text()).toBe(events(3).join(''))
  })

  test("carries the provider's and the gateway's own errors as answers", async () => {
    const line = await kit.open()
    kit.gateway.behaviour.answer = () => ({
      status: 429,
      headers: { 'retry-after': '1' },
      events: ['{"error":1}'],
    })
    const limited = await post(line, '/x')
    expect([limited.status, limited.headers.get('retry-after'), await limited.text()]).toEqual([
      429,
      '1',
      '{"error":1}',
    ])
    kit.gateway.behaviour.answer = () => ({ status: 400, response: { error: [{ code: 2008 }] } })
    const own = await post(line, '/x')
    expect([own.status, await own.json()]).toEqual([400, { error: [{ code: 2008 }] }])
  })

  test('without a body is one: HEAD, 204, 304', async () => {
    const line = await kit.open()
    for (const [status, method] of [
      [204, 'POST'],
      [304, 'GET'],
      [200, 'HEAD'],
    ] as const) {
      kit.gateway.behaviour.answer = () => ({ status })
      const response = await line.fetch(`${line.url('openai')}/x`, { method })
      expect([response.status, response.body]).toEqual([status, null])
    }
  })

  test('that breaks off, or was stopped, is never a clean end', async () => {
    const line = await kit.open()
    for (const outcome of ['incomplete', 'cancelled'] as const) {
      kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(2), outcome })
      const { text, error } = await drain(await post(line, '/x'))
      expect(text).toBe(events(2).join(''))
      expect(error).toEqual(coded(outcome))
      expect(error).toBeInstanceOf(LineError)
      expect(error).toBeInstanceOf(TypeError)
    }
  })

  test('with an event missing breaks off, and is stopped', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, hangs: true })
    const response = await post(await kit.open(), '/x')
    const [eventId] = kit.gateway.calls
    kit.gateway.say({ type: 'universal.stream', metadata: { eventId, seq: 0 }, data: 'a' })
    kit.gateway.say({ type: 'universal.stream', metadata: { eventId, seq: 0 }, data: 'a' })
    kit.gateway.say({ type: 'universal.stream', metadata: { eventId, seq: 2 }, data: 'c' })
    const { text, error } = await drain(response)
    expect([text, error]).toEqual(['a', coded('incomplete')])
    await until(() => kit.gateway.of('universal.cancel').length === 1, 'the cancel')
  })

  test('that the gateway refuses rejects, with its code', async () => {
    kit.gateway.behaviour.answer = () => ({ hangs: true, delayMs: 10_000 })
    const line = await kit.open()
    const asked = post(line, '/x')
    await until(() => kit.gateway.calls.length === 1)
    const error = { code: 'too_many_requests', message: 'm', retryable: true, retryAfterMs: 70 }
    kit.gateway.say({ type: 'universal.error', metadata: { eventId: kit.gateway.calls[0] }, error })
    await expect(asked).rejects.toMatchObject(error)
  })
})
