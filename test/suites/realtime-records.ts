import { expect, test } from 'vitest'
import { adminToken, tokens } from '../config.ts'
import { managerOf } from '../manager.ts'
import { type Relayed, refused, relay } from '../relay-client.ts'
import type { Target } from '../target.ts'

const waitMs = 10_000
const canary = 'sk-canary-77d0b3e1'
let counter = 0

/** Frames that a provider would send; the emulator returns what it is sent. */
const responseDone = (input: number, output: number): string =>
  JSON.stringify({
    type: 'response.done',
    response: {
      status: 'completed',
      usage: {
        total_tokens: input + output,
        input_tokens: input,
        output_tokens: output,
        input_token_details: { text_tokens: input, audio_tokens: 0, cached_tokens: 5 },
        output_token_details: { text_tokens: output, audio_tokens: 0 },
      },
    },
  })
const turnComplete = (prompt: number, response: number): Buffer =>
  Buffer.from(
    JSON.stringify({
      serverContent: { turnComplete: true },
      usageMetadata: {
        promptTokenCount: prompt,
        responseTokenCount: response,
        totalTokenCount: prompt + response,
      },
    }),
  )

type Row = Readonly<Record<string, unknown>>

/** What is recorded of relayed sessions, and what they are held against. */
export function realtimeRecordsSuite(target: Target): void {
  const manage = managerOf(target.url)
  const auth = { 'cf-aig-authorization': adminToken }

  const makeGateway = async (more: object = {}): Promise<string> => {
    const id = `rt${process.pid}-${Date.now().toString(36)}-${counter++}`
    expect((await manage('POST', '/gateways', { id, ...more })).errors).toEqual([])
    return id
  }

  /** The rows of a gateway, the oldest first, once there are so many. */
  const rowsOf = async (gateway: string, count: number): Promise<readonly Row[]> => {
    let rows: readonly Row[] = []
    const read = async () => {
      rows = (await manage('GET', `/gateways/${gateway}/logs?order_by_direction=asc`)).result
      return rows.length
    }
    await expect.poll(read, { timeout: waitMs, interval: 100 }).toBe(count)
    return rows
  }

  const echoed = async ({ socket, take }: Relayed, frames: readonly (string | Buffer)[]): Promise<void> => {
    for (const frame of frames) socket.send(frame)
    expect(await take(frames.length)).toEqual(frames)
  }

  test('a session is one row: frames, bytes, model, usage, cost, outcome, and no secret', async () => {
    const gateway = await makeGateway()
    const protocols = ['realtime', `openai-insecure-api-key.${canary}`]
    const headers = { ...auth, 'cf-aig-metadata': '{"user":"ada"}', 'cf-aig-event-id': 'call-1' }
    const path = `/openai?model=gpt-realtime&api_key=${canary}`
    const session = await relay(target, path, { gateway, protocols, headers })
    await echoed(session, [responseDone(1_000, 200), 'é', Buffer.alloc(7), responseDone(500, 100)])
    session.socket.close(1000)
    const [row] = await rowsOf(gateway, 1)
    const bytes = responseDone(1_000, 200).length + responseDone(500, 100).length + 2 + 7
    expect(row).toMatchObject({
      id: session.headers['cf-aig-log-id'],
      provider: 'openai',
      model: 'gpt-realtime',
      status_code: 101,
      success: true,
      outcome: 'completed',
      upstream_stopped: true,
      event_id: 'call-1',
      principal: 'admin',
      request_content_type: 'websocket',
      request_frames: 4,
      response_frames: 4,
      request_size: bytes,
      response_size: bytes,
      tokens_in: 1_500,
      tokens_out: 300,
      tokens_cached: 10,
      usage_basis: 'reported',
      cost_basis: 'estimated',
    })
    expect(row?.cost).toBeGreaterThan(0)
    expect(row?.duration).toBeGreaterThanOrEqual(0)
    expect(JSON.stringify(row)).not.toContain(canary)
  })

  test('Gemini tells its model and usage in binary frames', async () => {
    const gateway = await makeGateway()
    const session = await relay(target, `/google?key=${canary}`, { gateway, headers: auth })
    const setup = JSON.stringify({ setup: { model: 'models/gemini-2.5-flash' } })
    await echoed(session, [setup, turnComplete(100, 20), turnComplete(150, 30)])
    session.socket.close()
    const [row] = await rowsOf(gateway, 1)
    expect(row).toMatchObject({ model: 'gemini-2.5-flash', tokens_in: 250, tokens_out: 50 })
    expect(row?.cost).toBeGreaterThan(0)
    expect(JSON.stringify(row)).not.toContain(canary)
  })

  test('each end has its outcome', async () => {
    const gateway = await makeGateway()
    const open = (control: object) => relay(target, '/elevenlabs', { gateway, headers: auth, control })
    await (await open({ close: [1000, 'bye'] })).closed
    await (await open({ close: [1008, 'no such voice'] })).closed
    await (await open({ close: [1006], interval: 30 })).closed
    const lost = await open({})
    lost.socket.terminate()
    await lost.closed
    await refused(open({ status: 401 }))
    await refused(relay(target, '/offline', { gateway, headers: auth }))
    const rows = await rowsOf(gateway, 6)
    expect(rows.map(({ outcome, status_code = null }) => [outcome, status_code])).toEqual([
      ['completed', 101],
      ['failed', 101],
      ['incomplete', 101],
      ['cancelled', 101],
      ['failed', 401],
      ['failed', null],
    ])
    expect(rows[1]?.error).toContain('1008: no such voice')
  })

  test('a client may ask for no record', async () => {
    const gateway = await makeGateway()
    const quiet = { ...auth, 'cf-aig-collect-log': 'false' }
    const silent = await relay(target, '/openai', { gateway, headers: quiet })
    expect(silent.headers).not.toHaveProperty('cf-aig-log-id')
    silent.socket.close()
    await silent.closed
    const heard = await relay(target, '/openai', { gateway, headers: auth })
    heard.socket.close()
    await rowsOf(gateway, 1)
  })

  test('requests are limited by sessions', async () => {
    const gateway = await makeGateway({ rate_limiting_limit: 2, rate_limiting_interval: 3_600 })
    for (const remaining of [1, 0]) {
      const { socket, headers } = await relay(target, '/openai', { gateway, headers: auth })
      expect(headers.ratelimit).toContain(`r=${remaining}`)
      socket.close()
    }
    const { status, body } = await refused(relay(target, '/openai', { gateway, headers: auth }))
    expect([status, JSON.parse(body).internalCode]).toEqual([429, 2003])
  })

  const rule = { id: 'daily', limitType: 'cost', limit: 0.001, window: 86_400, technique: 'fixed' }
  test.each([
    ['tokens', { rate_limiting_tokens: 1_000, rate_limiting_interval: 3_600 }],
    ['money', { spend_limits: { enabled: true, rules: [rule] } }],
  ])(
    'a session that reaches a limit of %s ends with a reason, behind the frame that told',
    async (_, limit) => {
      const gateway = await makeGateway(limit)
      const session = await relay(target, '/openai?model=gpt-realtime', { gateway, headers: auth })
      await echoed(session, ['before', responseDone(4_000, 1_000)])
      const { code, reason } = await session.closed
      expect(code).toBe(1008)
      expect(reason).toMatch(/^The limit of the .+ is reached$/)
      const next = relay(target, '/openai?model=gpt-realtime', { gateway, headers: auth })
      expect((await refused(next)).status).toBe(429)
      const [row] = await rowsOf(gateway, 1)
      expect(row).toMatchObject({ outcome: 'incomplete', tokens_in: 4_000, error: reason })
    },
  )

  /** What the emulator gives back as the provider's word: so many tokens of a model, or of the session's. */
  const told = (model?: string): string =>
    JSON.stringify({
      type: 'response.completed',
      response: { ...(model && { model }), usage: { input_tokens: 1_000_000, output_tokens: 0 } },
    })
  test.each<[string, string, readonly string[]]>([
    ['another model of a frame', '/priced/realtime?model=dear', ['{"type":"x","model":"cheap"}', told()]],
    ['a model without a price', '/priced/realtime?model=dear', ['{"model":"nothing-known"}', told()]],
    ['a cheaper model before it', '/priced/responses', [told('cheap'), told('dear')]],
    ['one without a price before it', '/priced/responses', [told('nothing-known'), told('dear')]],
  ])('a limit of money is not stretched by %s', async (_, path, frames) => {
    const limit = { ...rule, limit: 50 }
    const gateway = await makeGateway({ spend_limits: { enabled: true, rules: [limit] } })
    const session = await relay(target, path, { gateway, headers: auth })
    for (const frame of frames) session.socket.send(frame)
    expect((await session.closed).reason).toContain('The limit of the daily is reached')
  })

  const free = { 'cf-aig-custom-cost': '{"per_token_in":0,"per_token_out":0}' }
  const setup = JSON.stringify({ setup: { model: 'models/gemini-2.5-flash' } })
  const oneModel = (value: string) => ({ ...rule, model: { mode: 'filter', values: [value] } })
  test.each<[string, object, Record<string, string>, string, readonly (string | Buffer)[]]>([
    ['the client’s own prices', rule, free, '/google', [setup, turnComplete(1_000_000, 100_000)]],
    [
      'a model that only frames name',
      oneModel('gemini-2.5-flash'),
      {},
      '/google?model=x',
      [setup, turnComplete(1_000_000, 100_000)],
    ],
    [
      'a model that an answer names',
      oneModel('gpt-realtime'),
      {},
      '/openai/responses?model=x',
      [told('gpt-realtime')],
    ],
  ])('nor by %s', async (_, one, headers, path, frames) => {
    const gateway = await makeGateway({ spend_limits: { enabled: true, rules: [one] } })
    const session = await relay(target, path, { gateway, headers: { ...auth, ...headers } })
    for (const frame of frames) session.socket.send(frame)
    expect((await session.closed).reason).toContain('The limit of the daily is reached')
  })

  test('secrets of the query are in no answer', async () => {
    const path = `/openai?model=m&api_key=${canary}&x-upstream=${encodeURIComponent('{"status":500}')}`
    const { body } = await refused(relay(target, path, { headers: { 'cf-aig-authorization': tokens.all } }))
    expect(body).not.toContain(canary)
  })
}
