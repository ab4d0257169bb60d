import { once } from 'node:events'
import { connect as dial } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { connect as connectLine } from '../src/client/index.ts'
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
  post,
  seen,
  upstream,
} from './client.ts'
import { configFor, env, tokens } from './config.ts'
import { type RuntimeName, runtimes, type Started, startEmulator, startGateway } from './launch.ts'
import type { Target } from './target.ts'

const v1 = { protocols: ['trunkline.v1'] }
const isStream = (frame: GatewayFrame): boolean => frame.type === 'universal.stream'
const long = { interval: 20, events: 2_000 }
/** Of the test in which nothing may be waited for that long. */
const drainMs = 15_000
const item = (control: object, more: object = {}): object => ({
  provider: 'openai',
  endpoint: 'chat/completions',
  headers: upstream(control),
  query: chat('x', { stream: true }),
  ...more,
})

interface Pair {
  readonly target: Target
  readonly gateway: Started
  readonly emulator: Started
  readonly config: object
}

async function startPair(runtime: RuntimeName, limits: object = {}): Promise<Pair> {
  const emulator = await startEmulator()
  const config = { ...configFor(emulator.url), limits }
  const gateway = await startGateway(runtime, config, env)
  const { url } = gateway
  const target = { runtime, url, ws: url.replace('http', 'ws'), upstream: emulator.url }
  return { target, gateway, emulator, config }
}

/** All that was sent over a line so far has reached its gateway, which takes messages in their order. */
async function taken(line: Line): Promise<void> {
  const isAnswer = ({ type, metadata }: GatewayFrame) => /error$/.test(type) && !metadata?.eventId
  const before = line.frames.filter(isAnswer).length
  line.socket.send('no message')
  await line.next(() => line.frames.filter(isAnswer).length > before)
}

/** The end of a body that must not look like one. */
const broken = (response: Response): Promise<unknown> => expect(response.text()).rejects.toThrow()

/** Of the gateway that wants a token. */
const as = (token: string): LineOptions & { headers: Record<string, string> } => ({
  gateway: 'locked',
  headers: { 'cf-aig-authorization': `Bearer ${token}` },
})

/** All that a token is told of a run, over a socket and over HTTP, but for the run's id and the request's. */
async function toldOf(target: Target, line: Line, runId: string, token: string): Promise<unknown> {
  const told: unknown[] = []
  for (const type of ['universal.resume', 'universal.cancel']) {
    const from = line.frames.length
    line.send({ type, runId })
    const { metadata, ...frame } = await line.next((one) => line.frames.indexOf(one) >= from)
    expect(metadata).toEqual({ runId })
    told.push(frame)
  }
  for (const [method, path] of [
    ['GET', ''],
    ['DELETE', ''],
    ['GET', '/resume?from=0'],
  ] as const) {
    const url = at(target, `/run/${runId}${path}`, 'locked')
    const response = await fetch(url, { method, headers: as(token).headers })
    const headers = [...response.headers].filter(([name]) => !/^(date|cf-aig-request-id)$/.test(name))
    told.push([response.status, headers, await response.text()])
  }
  return told
}

describe.each(runtimes)('%s', { timeout: 60_000 }, (runtime) => {
  test('who has another token cannot tell a run from one that has expired, or never was', async () => {
    const { target, gateway, emulator } = await startPair(runtime, { detachSeconds: 1 })
    const [mine, theirs] = await Promise.all(
      [tokens.locked, tokens.all].map((token) => connect(target, { ...v1, ...as(token) })),
    )
    const live = mine!.create(item(long))
    const over = mine!.create(item({ events: 3 }))
    const expired = String((await mine!.result(over)).at(-1)?.metadata.runId)
    const running = await mine!.next(({ metadata }) => metadata?.eventId === live)
    const runId = String(running.metadata.runId)
    const own = at(target, `/run/${expired}`, 'locked')
    const status = async () => (await fetch(own, as(tokens.locked))).status
    await expect.poll(status, { timeout: 10_000, interval: 100 }).toBe(404)
    const ids = [expired, `${runId}zzz`, '0199aaaa-0000-7000-8000-000000000000-0', runId]
    const told: unknown[] = []
    for (const id of ids) told.push(await toldOf(target, theirs!, id, tokens.all))
    for (const one of told) expect(one).toEqual(told[0])
    const refused = { type: 'universal.error', error: { code: 'forbidden', retryable: false } }
    const missing = [404, expect.anything(), '{"error":"Request not found"}']
    expect(told[0]).toMatchObject([refused, refused, missing, missing, missing])
    // It is still there, for whom it belongs to, who is told that the other one was his.
    mine!.send({ type: 'universal.resume', runId: expired, eventId: 'late' })
    expect((await mine!.result('late')).at(-1)).toMatchObject({ error: { code: 'expired' } })
    mine!.send({ type: 'universal.cancel', runId })
    expect((await mine!.result(live)).at(-1)).toMatchObject({ metadata: { outcome: 'cancelled' } })
    await gateway.stop()
    await emulator.stop()
  })

  test('a provider that is killed leaves incomplete answers on every way in', async () => {
    const { target, gateway, emulator } = await startPair(runtime)
    const to = { gateway: 'patient' } // which tries three times, but nothing of which a part was told
    const [base, own] = await Promise.all([connect(target, to), connect(target, { ...v1, ...to })])
    const streams = [base, own].map((line) => [line, line.create(item(long))] as const)
    const url = at(target, '/openai/chat/completions', 'patient')
    const http = await post(url, chat('x', { stream: true }), upstream(long))
    const line = await connectLine(at(target, '', 'patient'))
    const init = {
      method: 'POST',
      body: JSON.stringify(chat('x', { stream: true })),
      headers: upstream(long),
    }
    const fetched = await line.fetch(url, init)
    await Promise.all([base.next(isStream), own.next(isStream)])
    await emulator.kill()
    const second = await startEmulator(emulator)
    for (const [line, eventId] of streams) {
      const done = (await line.result(eventId)).at(-1)
      expect(done).toMatchObject({ type: 'universal.done', error: { code: 'provider_failed' } })
      expect(done?.metadata.outcome ?? done?.metadata.status).toBe('incomplete')
    }
    await broken(http)
    await expect(fetched.text()).rejects.toMatchObject({ code: 'incomplete' })
    await sleep(500) // longer than any wait before another try
    expect(await (await fetch(`${second.url}/ledger`)).json()).toEqual([])
    line.close()
    await gateway.stop()
    await second.stop()
  })

  test('a gateway that is killed leaves nothing that looks whole, and nothing is called again', async () => {
    const { target, gateway, emulator, config } = await startPair(runtime)
    const line = await connect(target, v1)
    const ready = await line.next((frame) => frame.type === 'session.ready')
    const [key, other] = [newKey(), newKey()]
    const eventId = line.create(item({ ...long, key }))
    const url = at(target, '/openai/chat/completions')
    const http = await post(url, chat('x', { stream: true }), {
      ...upstream({ ...long, key: other }),
      'cf-aig-on-disconnect': 'detach',
    })
    await line.next((frame) => isStream(frame) && Number(frame.metadata.seq) > 20)
    const { runId } = (await line.next((frame) => frame.type === 'universal.created')).metadata
    await gateway.kill()
    await broken(http)
    expect(line.frames.some((frame) => frame.type === 'universal.done')).toBe(false)
    expect((await ended(target, key))?.how).toBe('client_closed')

    const second = await startGateway(runtime, config, env, [], gateway)
    const back = await connect(target, { ...v1, search: `?session=${ready.session?.id}` })
    // A Durable Object outlives its process; elsewhere sessions end with it, and the client is told so.
    const isKept = runtime === 'workers'
    const again = await back.next((frame) => frame.type === 'session.ready')
    expect(again.session?.resumed).toBe(isKept)
    back.send({ type: 'universal.resume', runId, eventId, from: 0 })
    const frames = await back.result(eventId)
    const state = await fetch(at(target, `/run/${runId}`))
    if (isKept) {
      expect(frames.at(-1)).toMatchObject({ type: 'universal.done', metadata: { outcome: 'incomplete' } })
      const had = line.frames.filter(isStream).map((frame) => frame.response)
      const kept = frames.filter(isStream).map((frame) => frame.response)
      expect(kept.length).toBeGreaterThan(5)
      expect(had.slice(0, kept.length)).toEqual(kept.slice(0, had.length))
      expect(await state.json()).toMatchObject({ state: 'done', outcome: 'incomplete' })
    } else {
      expect(frames.at(-1)).toMatchObject({ type: 'universal.error', error: { code: 'forbidden' } })
      expect(state.status).toBe(404)
    }
    expect(await ledger(target, key)).toHaveLength(1)
    expect(await ledger(target, other)).toHaveLength(1)
    await second.stop()
    await emulator.stop()
  })

  // A Worker is never told that it will stop; what it kept is proven above.
  if (runtime === 'workers') return

  test('SIGTERM: no new runs, those under way finish, exit code 0', async () => {
    const { target, gateway, emulator } = await startPair(runtime, { drainSeconds: drainMs / 1_000 })
    const [base, own, late] = await Promise.all([connect(target), connect(target, v1), connect(target, v1)])
    const short = { interval: 20, events: 100 }
    const streams = [base, own].map((line) => [line, line.create(item(short))] as const)
    const url = at(target, '/openai/chat/completions')
    const http = await post(url, chat('x', { stream: true }), upstream(short))
    for (const how of ['stop', 'detach'])
      await fetch(at(target, '/openai/models'), { method: 'HEAD', headers: { 'cf-aig-on-disconnect': how } })
    await Promise.all([base.next(isStream), own.next(isStream)])
    const exit = gateway.terminate()
    const began = Date.now()
    const goaway = await own.next((frame) => frame.type === 'session.goaway')
    expect(goaway).toMatchObject({ reason: 'shutdown', deadlineMs: drainMs })
    const refused = await late.result(late.create(item({})))
    expect(refused[0]).toMatchObject({ error: { code: 'draining', retryable: true } })
    for (const [line, eventId] of streams) {
      const done = (await line.result(eventId)).at(-1)
      expect(done?.metadata.outcome ?? done?.metadata.status).not.toBe('incomplete')
    }
    expect(await http.text()).toMatch(/\[DONE\]\n\n$/)
    expect((await own.closed).code).toBe(1001)
    expect(await exit).toBe(0)
    expect(Date.now() - began).toBeLessThan(drainMs) // nothing is waited for that is over
    await emulator.stop()
  })

  test('SIGTERM: a client that answers nothing holds nobody up', async () => {
    const { target, gateway, emulator } = await startPair(runtime, { drainSeconds: 1 })
    const { hostname, port, host } = new URL(target.url)
    const mute = dial(Number(port), hostname)
    mute.on('error', () => undefined)
    const head = [
      'GET /v1/default/default HTTP/1.1',
      `Host: ${host}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
    ]
    const keys = ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', '']
    mute.write([...head, ...keys].join('\r\n'))
    expect(String(await once(mute, 'data'))).toContain(' 101 ')
    const began = Date.now()
    expect(await gateway.terminate()).toBe(0)
    expect(Date.now() - began).toBeLessThan(10_000)
    mute.destroy()
    await emulator.stop()
  })

  test('SIGTERM: what still waits for its turn at the deadline is asked of no provider, and is told', async () => {
    const { target, gateway, emulator } = await startPair(runtime, { drainSeconds: 1, inFlight: 1 })
    const lines = await Promise.all([connect(target), connect(target, v1)])
    const waiting = lines.flatMap((line) => {
      line.create(item(long))
      return Array.from({ length: 30 }, () => {
        const key = newKey()
        return [line, line.create(item({ ...long, key })), key] as const
      })
    })
    await Promise.all(lines.map((line) => line.next(isStream)))
    await Promise.all(lines.map(taken))
    const exit = gateway.terminate()
    for (const [line, eventId, key] of waiting) {
      const frames = await line.result(eventId)
      const told = line === lines[0] ? frames[0]?.response : frames.at(-1)
      expect(JSON.stringify(told), eventId).toContain('The gateway stopped')
      expect(await ledger(target, key)).toEqual([])
    }
    expect(await exit).toBe(0)
    await emulator.stop()
  })

  test('SIGTERM: what has not finished by the deadline ends incomplete, exit code 0', async () => {
    const { target, gateway, emulator } = await startPair(runtime, { drainSeconds: 1 })
    const [base, own] = await Promise.all([connect(target), connect(target, v1)])
    const keys = Array.from({ length: 5 }, newKey)
    const streams = [base, own].map((line, index) => {
      return [line, line.create(item({ ...long, key: keys[index] }))] as const
    })
    const url = at(target, '/openai/chat/completions')
    const http = await post(url, chat('x', { stream: true }), upstream({ ...long, key: keys[2]! }))
    const unanswered = ['1', '3'].map((tries, index) => {
      const headers = upstream({ key: keys[3 + index]!, hang: 'headers' })
      return post(url, chat('x'), { ...headers, 'cf-aig-max-attempts': tries })
    })
    await Promise.all(keys.map((key) => seen(target, key)))
    await Promise.all([base.next(isStream), own.next(isStream)])
    const exit = gateway.terminate()
    for (const [line, eventId] of streams) {
      const done = (await line.result(eventId)).at(-1)
      expect(done).toMatchObject({ type: 'universal.done', error: { code: 'draining' } })
      expect(done?.metadata.outcome ?? done?.metadata.status).toBe('incomplete')
    }
    await broken(http)
    for (const response of await Promise.all(unanswered))
      expect([response.status, await response.json()]).toMatchObject([
        503,
        { message: 'The gateway stopped' },
      ])
    expect(await exit).toBe(0)
    for (const key of keys) expect((await ended(target, key))?.how).toBe('client_closed')
    await emulator.stop()
  })
})
