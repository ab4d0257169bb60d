import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { coded, collect, drain, events, post, sse, until, useKit } from './line-kit.ts'

const kit = useKit()
const query = { provider: 'a', endpoint: 'b', query: 1 }
/** A stream of 50 events, 2 ms apart. */
const slowly = () => ({ headers: sse, events: events(50), intervalMs: 2 })
const whole = events(50).join('')

describe('sockets that do not get through', () => {
  const limits = { httpRetryMs: 50 }

  test('are stood in for by HTTP when asked, until they do', async () => {
    kit.gateway.behaviour.refusals = 4
    const line = await kit.open({ fallback: true, token: 'tk', headers: { 'x-own': 'line' }, limits })
    expect([line.state, kit.gateway.handshakes.length]).toEqual(['http', 3])
    const response = await post(line, '/x?a=b', '{"b":1}')
    expect(await response.json()).toEqual({
      via: 'http',
      method: 'POST',
      url: '/v1/default/default/openai/x?a=b',
    })
    expect(kit.gateway.requests).toMatchObject([
      { body: '{"b":1}', headers: { 'cf-aig-authorization': 'Bearer tk', 'x-own': 'line' } },
    ])
    await until(() => line.state === 'open', 'the socket')
    await (await post(line, '/x')).text()
    expect(kit.gateway.requests).toHaveLength(1)
  })

  test('follow no redirect, which would take the token and the keys along', async () => {
    const asked: string[] = []
    const foreign = createServer((request, response) => {
      asked.push(String(request.url))
      response.end('stolen')
    }).listen(0, '127.0.0.1')
    await once(foreign, 'listening')
    kit.gateway.behaviour.refusals = 100
    kit.gateway.behaviour.location = `http://127.0.0.1:${(foreign.address() as AddressInfo).port}/steal`
    const line = await kit.open({ fallback: true, token: 'tk' })
    const response = await post(line, '/redirect', '{}', { headers: { 'x-api-key': 'secret' } })
    expect([response.status, response.headers.get('location')]).toEqual([302, kit.gateway.behaviour.location])
    const { frames } = await collect(line.stream({ ...query, endpoint: 'redirect' }))
    expect(frames.at(-1)?.metadata).toMatchObject({ status: 302, outcome: 'completed' })
    expect((await line.fetch(`${line.base}/run/redirect`)).status).toBe(302)
    const opaque = Object.defineProperty(Response.error(), 'type', { value: 'opaqueredirect' })
    const page = await kit.open({ fallback: true, fetch: async () => opaque })
    await expect(post(page, '/redirect')).rejects.toMatchObject({ name: 'LineError', code: 'redirected' })
    expect(asked).toEqual([])
    foreign.close()
  })

  test('for want of a good token end the line, and say so', async () => {
    kit.gateway.behaviour.isTokenDead = true
    for (const fallback of [false, true])
      await expect(kit.open({ token: 'tk', fallback })).rejects.toMatchObject({
        code: 'unauthorized',
        retryable: false,
      })
    expect(kit.gateway.asked).toBe(2)
    expect(kit.gateway.handshakes.length).toBeLessThanOrEqual(6)
    kit.gateway.behaviour.isTokenDead = false
    const line = await kit.open({ token: 'tk' })
    kit.gateway.behaviour.isTokenDead = true
    kit.proxy.cut()
    const waiting = post(line, '/x')
    await expect(waiting).rejects.toEqual(coded('unauthorized'))
    expect(line.state).toBe('closed')
    await sleep(100)
    expect(kit.gateway.handshakes.length).toBeLessThanOrEqual(10)
  })

  test('for another reason are asked about once, and no longer than a handshake', async () => {
    kit.gateway.behaviour.refusals = 100
    const line = await kit.open({ fallback: true, limits: { httpRetryMs: 5 } })
    await until(() => kit.gateway.handshakes.length > 8, 'more tries')
    expect([line.state, kit.gateway.asked]).toEqual(['http', 1])
    kit.proxy.set({ newcomers: 'hold' })
    const began = Date.now()
    await expect(kit.open({ limits: { handshakeMs: 50 } })).rejects.toMatchObject({
      code: 'unreachable',
      retryable: true,
    })
    expect(Date.now() - began).toBeLessThan(4_000)
  })

  test('send what waits over HTTP, and keep what runs for the socket', async () => {
    kit.gateway.behaviour.answer = slowly
    const line = await kit.open({ fallback: true, limits })
    const running = drain(await post(line, '/running'))
    kit.gateway.behaviour.refusals = 3
    kit.proxy.cut()
    await until(() => line.state === 'reconnecting')
    expect(await (await post(line, '/x', 'body')).json()).toMatchObject({ via: 'http' })
    expect(kit.gateway.requests[0]?.body).toBe('body')
    expect(await running).toEqual({ text: whole, error: undefined })
    expect(line.state).toBe('open')
  })

  test("speak the socket's words over HTTP", async () => {
    kit.gateway.behaviour.refusals = 100
    const line = await kit.open({ fallback: true })
    const said: unknown[] = []
    for await (const frame of line.stream({ ...query, endpoint: 'stream', eventId: 'e' })) said.push(frame)
    const metadata = { eventId: 'e', status: 200, contentType: 'text/event-stream', step: '0' }
    expect(said).toEqual([
      { type: 'universal.created', metadata },
      { type: 'universal.stream', metadata: { eventId: 'e', seq: 1 }, response: { a: 1 } },
      { type: 'universal.stream', metadata: { eventId: 'e', seq: 2 }, event: 'b', response: 2 },
      { type: 'universal.done', metadata: { ...metadata, seq: 3, outcome: 'completed' } },
    ])
    expect(kit.gateway.requests[0]).toMatchObject({ method: 'POST', url: '/v1/default/default' })
    const raw: string[] = []
    for await (const frame of line.stream({ provider: 'a', endpoint: 'stream', raw: true, body: 'b' }))
      if (frame.type === 'universal.stream') raw.push(frame.data ?? '')
    expect(raw).toEqual([': hello\n\n', 'data: {"a":1}\r\n\r\n', 'event: b\ndata: 2\n\n', 'data: [DONE]\n\n'])
    const single: unknown[] = []
    for await (const frame of line.stream(query)) single.push(frame)
    expect(single).toMatchObject([
      { response: { via: 'http' } },
      { metadata: { outcome: 'completed', seq: -1 } },
    ])
  })

  test('make requests fail with unreachable after a while where HTTP may not stand in', async () => {
    const line = await kit.open({ limits: { backoffMaxMs: 10, patienceMs: 100 } })
    kit.proxy.set({ newcomers: 'refuse' })
    const began = Date.now()
    kit.proxy.cut()
    await until(() => line.state === 'reconnecting')
    await expect(post(line, '/x')).rejects.toMatchObject({ code: 'unreachable', retryable: true })
    expect(Date.now() - began).toBeGreaterThan(90)
    await expect(post(line, '/x')).rejects.toMatchObject({ code: 'unreachable' })
    kit.proxy.set({ newcomers: 'pass' })
    await until(() => line.state === 'open', 'the socket')
    expect((await post(line, '/x')).status).toBe(200)
  })

  test('keep requests waiting until then', async () => {
    const line = await kit.open({ limits: { backoffMaxMs: 10 } })
    kit.gateway.behaviour.refusals = 10
    kit.proxy.cut()
    await until(() => line.state === 'reconnecting')
    expect((await post(line, '/x')).status).toBe(200)
    expect(kit.gateway.handshakes).toHaveLength(12)
  })
})
