import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { firstOf } from './fake-gateway.ts'
import { coded, drain, events, post, sse, until, useKit, watch } from './line-kit.ts'

const kit = useKit()
/** A stream of 50 events, 2 ms apart. */
const slowly = () => ({ headers: sse, events: events(50), intervalMs: 2 })
const whole = events(50).join('')

describe('a connection that is cut', () => {
  test.each(['rst', 'fin'] as const)('is made again, and streams go on where they were (%s)', async (how) => {
    kit.gateway.behaviour.answer = slowly
    const line = await kit.open({ token: 'tk' })
    const states = watch(line)
    const response = await post(line, '/x')
    const read = drain(response)
    await sleep(30)
    kit.proxy.cut({ how })
    expect(await read).toEqual({ text: whole, error: undefined })
    expect(states).toEqual(['reconnecting', 'open'])
    expect(kit.gateway.handshakes[1]).toEqual({
      protocols: 'trunkline.v1, cf-aig-authorization.tk',
      url: '/v1/default/default?session=s0&attempt=2',
    })
    expect(kit.gateway.of('universal.resume')[0]?.from).toBeGreaterThan(0)
    expect(kit.gateway.calls).toHaveLength(1)
  })

  test('again and again leaves 300 streams whole, each asked for once', async () => {
    kit.gateway.behaviour.answer = (item) => ({ ...slowly(), events: events(50, item.endpoint) })
    const line = await kit.open({ limits: { backoffMs: 2, backoffMaxMs: 10 } })
    const timer = setInterval(() => kit.proxy.cut({ how: Math.random() < 0.5 ? 'rst' : 'fin' }), 40)
    const streams = Array.from({ length: 300 }, async (_, index) => {
      expect(await drain(await post(line, `/${index}`))).toEqual({
        text: events(50, String(index)).join(''),
        error: undefined,
      })
    })
    await Promise.all(streams)
    clearInterval(timer)
    expect(kit.proxy.total).toBeGreaterThan(10)
    expect(new Set(kit.gateway.calls).size).toBe(300)
    expect(kit.gateway.calls).toHaveLength(300)
  })

  test('before a create has come through sends it again', async () => {
    kit.gateway.behaviour.cutAtCreate.before = 2
    const line = await kit.open()
    expect((await post(line, '/x')).status).toBe(200)
    expect(kit.gateway.of('universal.create')).toHaveLength(3)
    expect(kit.gateway.calls).toHaveLength(1)
  })

  test('before a create was confirmed takes the run up', async () => {
    kit.gateway.behaviour.cutAtCreate.after = 1
    kit.gateway.behaviour.answer = () => ({ ...slowly(), delayMs: 50 })
    expect(await drain(await post(await kit.open(), '/x'))).toEqual({ text: whole, error: undefined })
    expect(kit.gateway.of('universal.create')).toHaveLength(1)
    expect(kit.gateway.of('universal.resume')).toMatchObject([{ from: 0 }])
  })

  test('while the gateway kept too little stops the run it can no longer be read whole from', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(3), hangs: true })
    const response = await post(await kit.open(), '/x')
    kit.gateway.behaviour.hasGap = true
    kit.proxy.cut()
    expect((await drain(response)).error).toEqual(coded('incomplete'))
    await until(() => kit.gateway.of('universal.cancel').length === 1, 'the cancel')
  })

  test('while the gateway had to drop the run breaks it off, and asks for nothing again', async () => {
    for (const { isConfirmed } of [{ isConfirmed: false }, { isConfirmed: true }]) {
      kit.gateway.behaviour.cutAtCreate.after = isConfirmed ? 0 : 1
      kit.gateway.behaviour.answer = () => ({ headers: sse, hangs: isConfirmed })
      kit.gateway.calls.length = 0
      const asked = post(await kit.open({ limits: { backoffMs: 100 } }), '/x')
      if (isConfirmed) await asked
      await until(() => kit.gateway.calls.length === 1)
      kit.gateway.drop()
      kit.proxy.cut()
      const failed = isConfirmed ? (await asked).text() : asked
      await expect(failed).rejects.toEqual(coded('incomplete'))
      expect(kit.gateway.calls).toHaveLength(1)
    }
  })

  test('leaves requests waiting, which then go out', async () => {
    kit.proxy.set({ newcomers: 'pass' })
    const line = await kit.open({ limits: { backoffMs: 40, backoffMaxMs: 40 } })
    kit.proxy.cut()
    await until(() => line.state === 'reconnecting')
    expect((await post(line, '/x')).status).toBe(200)
    expect(line.state).toBe('open')
  })

  test('adds no window to what a reader that stands still has been sent', async () => {
    kit.gateway.behaviour.windowBytes = 2_000
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(200, 'x'.repeat(80)) })
    const line = await kit.open()
    const response = await post(line, '/x')
    for (let round = 1; round <= 3; round++) {
      await sleep(20)
      kit.proxy.cut()
      await until(() => kit.gateway.of('universal.resume').length === round, 'the resume')
    }
    expect(kit.gateway.of('universal.resume').map(({ from }) => from)).toEqual([0, 0, 0])
    expect((await drain(response)).text).toBe(events(200, 'x'.repeat(80)).join(''))
  })

  test('takes a cancel along that was lost with it', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(2), hangs: true })
    const line = await kit.open()
    const controller = new AbortController()
    await post(line, '/x', '{}', { signal: controller.signal })
    kit.proxy.freeze()
    controller.abort()
    await sleep(20)
    expect(kit.gateway.of('universal.cancel')).toHaveLength(0)
    kit.proxy.cut()
    await until(() => kit.gateway.of('universal.cancel').length === 1, 'the cancel')
  })

  test.each(['{oops', '5', 'null', '"x"', '[]', '{"error":null}', '{"type":7}'])(
    'is not the end for frames that are no message: %s',
    async (frame) => {
      kit.gateway.behaviour.answer = slowly
      const line = await kit.open()
      const read = drain(await post(line, '/x'))
      kit.gateway.say(frame)
      expect(await read).toEqual({ text: whole, error: undefined })
      expect(kit.gateway.calls).toHaveLength(1)
    },
  )
})

describe('messages that say nothing', () => {
  test('hurt neither their run nor the line', async () => {
    kit.gateway.behaviour.answer = slowly
    const line = await kit.open()
    const read = drain(await post(line, '/x'))
    const metadata = { eventId: kit.gateway.calls[0] }
    for (const type of ['universal.stream', 'universal.error', 'error', 'universal.new', 'session.pong'])
      for (const frame of [{ type }, { type, metadata }, { type, metadata: 7, error: {} }])
        kit.gateway.say(frame)
    expect(await read).toEqual({ text: whole, error: undefined })
    expect(kit.gateway.handshakes).toHaveLength(1)
  })
})

describe('a session that is lost', () => {
  test('breaks off what was sent, sends none of it again, and sends what was not', async () => {
    kit.gateway.behaviour.inFlight = 2
    kit.gateway.behaviour.answer = ({ endpoint }) =>
      endpoint === 'begun' ? slowly() : { delayMs: endpoint === 'asked' ? 10_000 : 0, events: ['x'] }
    const line = await kit.open()
    const begun = await post(line, '/begun')
    const reader = begun.body!.getReader()
    await reader.read()
    const asked = post(line, '/asked')
    const waiting = post(line, '/waiting')
    await until(() => kit.gateway.calls.length === 2)
    kit.gateway.forget()
    kit.proxy.cut()
    await expect(asked).rejects.toEqual(coded('incomplete'))
    const failing = (async () => {
      for (;;) if ((await reader.read()).done) return
    })()
    await expect(failing).rejects.toEqual(coded('incomplete'))
    expect(await (await waiting).text()).toBe('x')
    expect(kit.gateway.of('universal.create').map((message) => firstOf(message)?.endpoint)).toEqual([
      'begun',
      'asked',
      'waiting',
    ])
  })

  test('is presumed so for a create that may have ended and been dropped since', async () => {
    kit.gateway.behaviour.detachSeconds = 0
    kit.gateway.behaviour.cutAtCreate.before = 1
    await expect(post(await kit.open(), '/x')).rejects.toEqual(coded('incomplete'))
    expect(kit.gateway.of('universal.create')).toHaveLength(1)
  })

  test('is so once the gateway has been away for longer than it keeps anything', async () => {
    kit.gateway.behaviour.detachSeconds = 0.1
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(2), hangs: true })
    const response = await post(await kit.open(), '/x')
    kit.proxy.set({ newcomers: 'refuse' })
    kit.proxy.cut()
    expect((await drain(response)).error).toEqual(coded('incomplete'))
  })
})

describe('a message too large for something on the way', () => {
  test('fails alone: what the gateway holds goes on, and the others are sent again', async () => {
    kit.gateway.behaviour.tooBigBytes = 20_000
    kit.gateway.behaviour.answer = ({ endpoint }) => ({ delayMs: 50, events: [endpoint] })
    const line = await kit.open()
    const held = ['a', 'b'].map((name) => post(line, `/${name}`))
    await until(() => kit.gateway.calls.length === 2)
    const large = post(line, '/c', 'x'.repeat(30_000))
    const larger = post(line, '/d', 'x'.repeat(50_000))
    const small = post(line, '/e')
    const tooLarge = [large, larger].map((asked) => expect(asked).rejects.toEqual(coded('too_large')))
    await Promise.all(tooLarge)
    const answers = await Promise.all([...held, small])
    expect(await Promise.all(answers.map((answer) => answer.text()))).toEqual(['a', 'b', 'e'])
    expect(kit.gateway.calls).toHaveLength(3)
    expect(kit.gateway.handshakes).toHaveLength(3)
  })

  test('is none that the gateway has taken', async () => {
    kit.gateway.behaviour.answer = ({ endpoint }) => ({ delayMs: 50, events: [endpoint] })
    const line = await kit.open()
    const asked = post(line, '/x')
    await until(() => kit.gateway.calls.length === 1)
    kit.gateway.closeWith(1009)
    expect(await (await asked).text()).toBe('x')
    expect(kit.gateway.calls).toHaveLength(1)
  })
})

describe('a connection that is dead without a word', () => {
  test('is noticed within two heartbeats and a half, and left', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(20), intervalMs: 20 })
    const line = await kit.open({ limits: { heartbeatMs: 400 } })
    const read = drain(await post(line, '/x'))
    const states = watch(line)
    await sleep(50)
    kit.proxy.freeze()
    const frozen = Date.now()
    await until(() => states.includes('reconnecting'), 'the notice')
    expect(Date.now() - frozen).toBeLessThan(400 * 2.5 + 350)
    expect(await read).toEqual({ text: events(20).join(''), error: undefined })
    expect(kit.gateway.calls).toHaveLength(1)
  })

  test('is told from one that is quiet by pings', async () => {
    const line = await kit.open({ limits: { heartbeatMs: 20 } })
    const states = watch(line)
    await sleep(200)
    expect(states).toEqual([])
    expect(kit.gateway.of('session.ping').length).toBeGreaterThan(4)
    kit.gateway.behaviour.isMute = true
    await until(() => states.includes('reconnecting'), 'the notice')
  })

  test("keeps the gateway's own rhythm where it is told no other", async () => {
    kit.gateway.behaviour.heartbeatSeconds = 0.02
    await kit.open()
    await until(() => kit.gateway.of('session.ping').length > 2, 'the pings')
  })
})

describe('a gateway that goes away', () => {
  test('finishes what runs, while new requests go to a new session', async () => {
    kit.gateway.behaviour.answer = slowly
    const line = await kit.open()
    const old = await post(line, '/old')
    kit.gateway.say({ type: 'session.goaway', reason: 'shutdown', deadlineMs: 20_000 })
    const [fresh, before] = await Promise.all([post(line, '/new'), drain(old)])
    expect(before).toEqual({ text: whole, error: undefined })
    expect(await drain(fresh)).toEqual({ text: whole, error: undefined })
    expect(kit.gateway.handshakes.map(({ url }) => url)).toEqual([
      '/v1/default/default',
      '/v1/default/default',
    ])
    await until(() => kit.proxy.open === 1, 'the end of the old connection')
    expect(line.state).toBe('open')
  })

  test('takes up what runs after a cut, too', async () => {
    kit.gateway.behaviour.answer = slowly
    const line = await kit.open()
    const old = drain(await post(line, '/old'))
    kit.gateway.say({ type: 'session.goaway', reason: 'shutdown', deadlineMs: 20_000 })
    await until(() => line.state === 'open' && kit.gateway.handshakes.length === 2, 'the new session')
    kit.proxy.cut()
    expect(await old).toEqual({ text: whole, error: undefined })
    expect(kit.gateway.calls).toHaveLength(1)
  })

  test('and refuses a create has it sent to the next', async () => {
    kit.gateway.behaviour.answer = ({ eventId }) => {
      const isFirst = kit.gateway.calls[0] === eventId
      const error = { code: 'draining', message: 'stops', retryable: true }
      if (isFirst) kit.gateway.say({ type: 'universal.error', metadata: { eventId }, error })
      return isFirst ? { delayMs: 10_000 } : { events: ['x'] }
    }
    const line = await kit.open()
    const asked = post(line, '/x')
    await until(() => kit.gateway.handshakes.length === 2, 'the new session')
    kit.gateway.calls.length = 0
    kit.gateway.calls.push('none')
    expect(await (await asked).text()).toBe('x')
  })

  test('over and over is asked less and less often', async () => {
    const line = await kit.open({ limits: { backoffMs: 20, backoffMaxMs: 10_000 } })
    const began = Date.now()
    const timer = setInterval(
      () => kit.gateway.say({ type: 'session.goaway', reason: 'shutdown', deadlineMs: 0 }),
      1,
    )
    await until(() => kit.gateway.handshakes.length === 5, 'the fifth session')
    clearInterval(timer)
    expect(Date.now() - began).toBeGreaterThan((40 + 80 + 160 + 320) / 2 - 20)
    line.close()
  })
})
