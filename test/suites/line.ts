import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect, type Line } from '../../src/client/index.ts'
import { at, chat, ended, type GatewayFrame, ledger, newKey, post, seen, upstream } from '../client.ts'
import { configFor, env, tokens } from '../config.ts'
import { flows } from '../flows/flows.ts'
import { type Started, startGateway } from '../launch.ts'
import { cancelMs, clock, stoppedAfter, timeOf } from '../prompt.ts'
import { startProxy } from '../proxy.ts'
import type { Target } from '../target.ts'
import { until, watch } from '../unit/line-kit.ts'
import type { Control } from '../upstream/control.ts'

const path = 'chat/completions'
const cutMs = 300
const carryMs = 100
const streams = 1_000

/** Of HTTP itself, or of a request that has no other name here than its event id. */
const connection = /^(connection|keep-alive|date|transfer-encoding|content-length|vary|cf-aig-request-id)$/
/** No two requests share them. */
const differing = /^cf-aig-(event|log)-id$/

const ask = (line: Line, control: Control, text: string, init: RequestInit = {}): Promise<Response> =>
  line.fetch(`${line.url('openai')}/${path}`, {
    method: 'POST',
    body: JSON.stringify(chat(text, { stream: true })),
    headers: { 'content-type': 'application/json', ...upstream(control) },
    ...init,
  })

/** What the emulator itself answers, byte for byte. */
const truth = async (target: Target, control: Control, text: string): Promise<string> =>
  (await post(`${target.upstream}/openai/${path}`, chat(text, { stream: true }), upstream(control))).text()

/** The client, `trunkline/client`, against a gateway. */
export function lineSuite(target: Target): void {
  describe('SDKs through line.fetch', () => sdkSuite(target))
  fetchSuite(target)
  delaySuite(target)
  ackSuite(target)
  closeSuite(target)
  cutSuite(target)
  killSuite(target)
}

function sdkSuite(target: Target): void {
  let line: Line
  beforeAll(async () => {
    line = await connect(at(target))
  })
  afterAll(() => line.close())
  for (const { name, run } of flows) {
    test(name, () =>
      run({ url: (slug) => line.url(slug), fetch: line.fetch, upstream: target.upstream, newKey }),
    )
  }
}

function fetchSuite(target: Target): void {
  test('line.fetch answers as plain fetch does: status, headers, bytes', async () => {
    const line = await connect(at(target, '', 'locked'), { token: tokens.locked })
    const cases: [path: string, init: RequestInit][] = [
      [
        'chat/completions',
        { method: 'POST', body: JSON.stringify(chat('hé')), headers: upstream({ pretty: true }) },
      ],
      ['x', { headers: upstream({ bytes: 200_000 }) }],
      ['x', { headers: upstream({ text: 'plain', status: 404, headers: { 'x-a': 'b' } }) }],
      ['x', { headers: upstream({ redirect: '/elsewhere' }), redirect: 'manual' }],
      ['chat/completions', { method: 'POST', body: JSON.stringify(chat('x', { stream: true })) }],
      ['models', {}],
    ]
    for (const [rest, init] of cases) {
      const url = `${line.url('openai')}/${rest}`
      const headers = { 'content-type': 'application/json', ...(init.headers as Record<string, string>) }
      const plain = await fetch(url, {
        ...init,
        headers: { ...headers, 'cf-aig-authorization': tokens.locked },
      })
      const response = await line.fetch(url, { ...init, headers })
      expect(response.status).toBe(plain.status)
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(new Uint8Array(await plain.arrayBuffer()))
      const names = [...plain.headers.keys()].filter((name) => !connection.test(name))
      // A body without a type gets one from some HTTP servers.
      for (const name of names.filter((one) => plain.status !== 302 || one !== 'content-type')) {
        if (differing.test(name)) expect(response.headers.get(name), name).toMatch(/./)
        else expect(response.headers.get(name), name).toBe(plain.headers.get(name))
      }
      expect(names).toContain('cf-aig-step')
      expect(response.headers.get('cf-aig-run-id')).toMatch(/./)
    }
    line.close()
  })

  test('a wrong token, or none, is told from a gateway that is not there', async () => {
    for (const token of [{ token: 'wrong' }, {}])
      await expect(
        connect(at(target, '', 'locked'), { ...token, limits: { backoffMs: 5 } }),
      ).rejects.toMatchObject({
        name: 'LineError',
        code: 'unauthorized',
        retryable: false,
      })
  })

  test('line.fetch carries bodies of any bytes', async () => {
    const line = await connect(at(target))
    const key = newKey()
    const body = Uint8Array.from({ length: 1_000_000 }, (_, index) => index * 31)
    const headers = upstream({ key })
    await (await line.fetch(`${line.url('openai')}/x`, { method: 'PUT', body, headers })).text()
    const [entry] = await ledger(target, key)
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', body))
    expect([entry?.method, entry?.bodySha256]).toEqual(['PUT', Buffer.from(hash).toString('hex')])
    line.close()
  })

  test('an aborted line.fetch closes the provider’s connection within 100 ms', async () => {
    const line = await connect(at(target))
    const stream = async () => {
      const [key, controller] = [newKey(), new AbortController()]
      const { signal } = controller
      const response = await ask(line, { interval: 20, events: 1_000, key }, 'x', { signal })
      const reader = response.body!.getReader()
      for (let text = ''; !/"content":"\w/.test(text); ) {
        const { done, value } = await reader.read()
        expect(done, text).toBe(false)
        text += new TextDecoder().decode(value)
      }
      const left = await clock(target)
      controller.abort()
      await expect(untilEnd(reader)).rejects.toMatchObject({ name: 'AbortError' })
      const ms = await stoppedAfter(target, key, left)
      const url = at(target, `/run/${response.headers.get('cf-aig-run-id')}`)
      const state = async () => (await fetch(url)).json() as Promise<{ usage?: { outputTokens: number } }>
      await expect.poll(state, { timeout: 5_000 }).toMatchObject({
        state: 'done',
        outcome: 'cancelled',
        upstreamStopped: true,
        usage: { basis: 'estimated' },
      })
      expect((await state()).usage?.outputTokens).toBeGreaterThan(0)
      return ms
    }
    const wait = async () => {
      const [key, controller] = [newKey(), new AbortController()]
      const asked = ask(line, { hang: 'headers', key }, 'x', { signal: controller.signal })
      asked.catch(() => undefined)
      await seen(target, key)
      const left = await clock(target)
      controller.abort()
      await expect(asked).rejects.toMatchObject({ name: 'AbortError' })
      return stoppedAfter(target, key, left)
    }
    for (const attempt of [stream, wait]) expect(await timeOf(attempt)).toBeLessThanOrEqual(cancelMs)
    line.close()
  })

  test('line.stream ends with an error where the provider broke off', async () => {
    const line = await connect(at(target))
    const types: string[] = []
    const reading = (async () => {
      const query = chat('a b c d', { stream: true })
      const headers = upstream({ cut: 3 })
      for await (const frame of line.stream({ provider: 'openai', endpoint: path, headers, query }))
        types.push(frame.type)
    })()
    await expect(reading).rejects.toMatchObject({ name: 'LineError', code: 'incomplete' })
    expect([types[0], types.at(-1)]).toEqual(['universal.created', 'universal.done'])
    line.close()
  })
}

async function untilEnd(reader: ReadableStreamDefaultReader<unknown>): Promise<void> {
  while (!(await reader.read()).done);
}

function cutSuite(target: Target): void {
  test('1,000 streams over one line that is cut every 300 ms arrive whole, each asked for once', {
    timeout: 240_000,
  }, async () => {
    const proxy = await startProxy(portOf(target.url))
    const line = await connect(`ws://127.0.0.1:${proxy.port}/v1/default/default`)
    // None is cut before it has carried something for a while: on a busy machine there would be no end.
    let carriesSince = Number.POSITIVE_INFINITY
    line.addEventListener('statechange', () => {
      carriesSince = Number.POSITIVE_INFINITY
    })
    let cuts = 0
    const timer = setInterval(() => {
      if (performance.now() - carriesSince < carryMs) return
      cuts += proxy.cut({ how: Math.random() < 0.5 ? 'rst' : 'fin' })
    }, cutMs)
    const read = async (response: Response) => {
      let text = ''
      for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
        text += part
        if (line.state === 'open') carriesSince = Math.min(carriesSince, performance.now())
      }
      return text
    }
    const key = newKey()
    const texts = Array.from({ length: streams }, (_, index) => `stream ${index} é`)
    const control = { events: 50, comments: true }
    const got = await Promise.all(
      texts.map(async (text) => read(await ask(line, { ...control, interval: 10, key }, text))),
    )
    clearInterval(timer)
    line.close()
    await proxy.close()
    if (process.env.SHOW_FIGURES) console.log(target.runtime, { cuts })
    expect(cuts).toBeGreaterThan(5)
    const entries = await ledger(target, key)
    expect(entries).toHaveLength(streams)
    expect(new Set(entries.map(({ bodySha256 }) => bodySha256)).size).toBe(streams)
    expect(entries.filter(({ how }) => how !== 'finished')).toEqual([])
    for (const [index, text] of texts.entries()) {
      const expected = await truth(target, control, text)
      expect(got[index] === expected, `stream ${index}: ${got[index]?.length} of ${expected.length}`).toBe(
        true,
      )
    }
  })
}

/** What was read to its end needs no more words. */
function ackSuite(target: Target): void {
  test('a session that is taken up again names no run that was read to its end', async () => {
    const listed: (number | undefined)[] = []
    /** Last events that were told, and acknowledged, by event id. */
    const [ends, acks] = [new Map<string, number>(), new Map<string, number>()]
    class Spying extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols)
        this.addEventListener('message', ({ data }) => {
          const { type, session, metadata } = JSON.parse(String(data)) as GatewayFrame
          if (type === 'session.ready') listed.push(session?.runs?.length)
          if (type === 'universal.done') ends.set(String(metadata.eventId), Number(metadata.seq))
        })
      }
      override send(data: string) {
        const { type, eventId, seq } = JSON.parse(data) as { type: string; eventId: string; seq: number }
        if (type === 'universal.ack') acks.set(eventId, seq)
        super.send(data)
      }
    }
    const proxy = await startProxy(portOf(target.url))
    const line = await connect(`ws://127.0.0.1:${proxy.port}/v1/default/default`, { WebSocket: Spying })
    const read = async () => (await ask(line, { events: 5, interval: 5 }, 'x')).text()
    await Promise.all(Array.from({ length: 30 }, read))
    await until(() => [...ends].every(([id, seq]) => acks.get(id) === seq), 'the last acks')
    expect(ends.size).toBe(30)
    await ask(line, { events: 1_000, interval: 20 }, 'y') // answered after what was sent before
    proxy.cut()
    await until(() => listed.length === 2, 'the next connection')
    expect(listed).toEqual([undefined, 1])
    line.close()
    await proxy.close()
  })
}

/** A line that ends takes its runs along, whatever its connection is like. */
function closeSuite(target: Target): void {
  test.each(['cut', 'freeze'] as const)(
    'closing a line stops the provider, over a connection that was %s',
    async (how) => {
      const proxy = await startProxy(portOf(target.url))
      const limits = { handshakeMs: 1_500, backoffMs: 5_000 }
      const line = await connect(`ws://127.0.0.1:${proxy.port}/v1/default/default`, { limits })
      const key = newKey()
      await ask(line, { key, interval: 20, events: 1_000 }, 'x')
      proxy[how]()
      if (how === 'cut') await until(() => line.state === 'reconnecting')
      line.close()
      expect(await ended(target, key)).toMatchObject({ how: 'client_closed' })
      await proxy.close()
    },
  )
}

/** Whatever is between a client and its gateway. */
function delaySuite(target: Target): void {
  test('a connection that was given up, and arrives after the next one, takes nothing over', async () => {
    const proxy = await startProxy(portOf(target.url))
    const limits = { handshakeMs: 800, backoffMs: 20 }
    const line = await connect(`ws://127.0.0.1:${proxy.port}/v1/default/default`, { limits })
    const control = { interval: 20, events: 200 }
    const read = ask(line, control, 'x').then((response) => response.text())
    const states = watch(line)
    await sleep(200)
    const { total } = proxy
    proxy.set({ delayMs: 2_000 })
    proxy.cut()
    await until(() => proxy.total > total, 'the connection that is late')
    await sleep(50)
    proxy.set({ delayMs: 0 })
    await until(() => line.state === 'open', 'the connection after it')
    expect(await read).toBe(await truth(target, { events: 200 }, 'x'))
    expect(states).toEqual(['reconnecting', 'open'])
    expect((await ask(line, {}, 'y')).status).toBe(200)
    line.close()
    await proxy.close()
  })
}

const portOf = (url: string): number => Number(new URL(url).port)

function killSuite(target: Target): void {
  test('streams of a gateway that is killed and started again end incomplete, and none is asked for again', {
    timeout: 60_000,
  }, async () => {
    const start = (again?: Started) =>
      startGateway(target.runtime, configFor(target.upstream), env, [], again)
    const first = await start()
    const line = await connect(`${first.url}/v1/default/default`)
    const [key, hung] = [newKey(), newKey()]
    const readers = await Promise.all(
      Array.from({ length: 10 }, async (_, index) => {
        const response = await ask(line, { key, interval: 20, events: 500 }, `x ${index}`)
        return response.body!.pipeThrough(new TextDecoderStream()).getReader()
      }),
    )
    for (const reader of readers) expect((await reader.read()).value).toContain('data: ')
    const waiting = ask(line, { key: hung, hang: 'headers' }, 'x').catch((error: unknown) => error)
    await seen(target, hung)
    await first.kill()
    const second = await start(first)
    const incomplete = expect.objectContaining({ name: 'LineError', code: 'incomplete' })
    expect(await waiting).toEqual(incomplete)
    for (const reader of readers) await expect(untilEnd(reader)).rejects.toEqual(incomplete)
    expect(await (await ask(line, {}, 'again')).text()).toBe(await truth(target, {}, 'again'))
    expect(await ledger(target, key)).toHaveLength(10)
    expect(await ledger(target, hung)).toHaveLength(1)
    line.close()
    await second.stop()
  })
}
