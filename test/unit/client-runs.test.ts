import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { firstOf } from './fake-gateway.ts'
import { coded, collect, drain, events, post, sse, until, useKit, watch } from './line-kit.ts'

const kit = useKit()

describe('aborting', () => {
  test('rejects with the reason of the signal, and sends nothing when it came first', async () => {
    const line = await kit.open()
    await expect(post(line, '/x', '', { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    })
    expect(kit.gateway.received).toEqual([])
  })

  test('before the answer rejects and cancels', async () => {
    kit.gateway.behaviour.answer = () => ({ delayMs: 10_000 })
    const line = await kit.open()
    const controller = new AbortController()
    const asked = post(line, '/x', '{}', { signal: controller.signal })
    await until(() => kit.gateway.calls.length === 1)
    const reason = new Error('changed my mind')
    controller.abort(reason)
    await expect(asked).rejects.toBe(reason)
    await until(() => kit.gateway.of('universal.cancel')[0]?.eventId === kit.gateway.calls[0], 'the cancel')
  })

  test('inside the body ends it with the reason, of a Request too', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(1), hangs: true })
    const line = await kit.open()
    const controller = new AbortController()
    const request = new Request(`${line.url('openai')}/x`, { signal: controller.signal })
    const reader = (await line.fetch(request)).body!.getReader()
    await reader.read()
    const reading = reader.read()
    controller.abort()
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' })
    await until(() => kit.gateway.of('universal.cancel').length === 1, 'the cancel')
  })

  test('while it waits for a place takes it out of the queue', async () => {
    kit.gateway.behaviour.inFlight = 1
    kit.gateway.behaviour.answer = ({ endpoint }) =>
      endpoint === 'slow' ? { hangs: true } : { events: ['x'] }
    const line = await kit.open()
    await post(line, '/slow')
    const controller = new AbortController()
    const waiting = post(line, '/never', '{}', { signal: controller.signal })
    const next = post(line, '/next')
    await sleep(20)
    expect(kit.gateway.calls).toHaveLength(1)
    controller.abort()
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
    kit.gateway.say({
      type: 'universal.done',
      metadata: { eventId: kit.gateway.calls[0], outcome: 'completed' },
    })
    expect(await (await next).text()).toBe('x')
    expect(kit.gateway.of('universal.create').map((message) => firstOf(message)?.endpoint)).toEqual([
      'slow',
      'next',
    ])
  })

  test('after the end does nothing', async () => {
    const line = await kit.open()
    const controller = new AbortController()
    await (await post(line, '/x', '{}', { signal: controller.signal })).text()
    controller.abort()
    await sleep(20)
    expect(kit.gateway.of('universal.cancel')).toHaveLength(0)
  })
})

describe('back-pressure', () => {
  test('a reader that stops is sent a window, and the others all', async () => {
    const many = events(400, 'x'.repeat(1_000))
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: many })
    const line = await kit.open()
    const still = await post(line, '/still')
    const other = await post(line, '/other')
    expect((await drain(other)).text).toBe(many.join(''))
    const [first] = kit.gateway.calls
    const acks = () => kit.gateway.of('universal.ack').filter(({ eventId }) => eventId === first)
    expect(acks()).toEqual([])
    expect((await drain(still)).text).toBe(many.join(''))
    expect(acks().at(-1)?.seq).toBeGreaterThan(330)
  })

  test('what was read to its end is acknowledged to its end, and no sooner', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(3) })
    const line = await kit.open({ limits: { ackMs: 10_000 } })
    const response = await post(line, '/x')
    const [eventId] = kit.gateway.calls
    const acks = () => kit.gateway.of('universal.ack').filter((ack) => ack.eventId === eventId)
    await sleep(30)
    expect(acks()).toEqual([])
    await response.text()
    await until(() => acks().at(-1)?.seq === 2, 'the last ack')
    for await (const frame of line.stream({ provider: 'a', endpoint: 'b', query: 1, eventId: 'e' }))
      if (frame.type === 'universal.done')
        await until(() => kit.gateway.of('universal.ack').some((ack) => ack.eventId === 'e' && ack.seq === 2))
  })

  test('what was read before a connection was lost is acknowledged on the next', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(3) })
    const line = await kit.open()
    const response = await post(line, '/x')
    await sleep(30)
    kit.proxy.cut()
    await until(() => line.state === 'reconnecting')
    await response.text()
    await until(() => kit.gateway.of('universal.ack').at(-1)?.seq === 2, 'the last ack')
  })

  test('events larger than a window pass', async () => {
    const large = events(5, 'x'.repeat(100_000))
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: large })
    expect((await drain(await post(await kit.open(), '/x'))).text).toBe(large.join(''))
  })

  test('what is more than may be in flight waits here', async () => {
    kit.gateway.behaviour.inFlight = 4
    let [running, most] = [0, 0]
    kit.gateway.behaviour.answer = () => {
      running += 1
      most = Math.max(most, running)
      setTimeout(() => {
        running -= 1
      }, 5)
      return { delayMs: 5, events: ['x'] }
    }
    const line = await kit.open()
    const all = await Promise.all(Array.from({ length: 50 }, () => post(line, '/x')))
    expect(await Promise.all(all.map((response) => response.text()))).toEqual(Array(50).fill('x'))
    expect(most).toBeLessThanOrEqual(5)
  })
})

describe("the socket's own words", () => {
  test('come as they are, for a list of items too', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(3) })
    const line = await kit.open()
    const item = { provider: 'openai', endpoint: 'x', query: { a: 1 }, eventId: 'mine' }
    const { frames, error } = await collect(line.stream([item, { provider: 'b', endpoint: 'y', query: {} }]))
    expect(error).toBeUndefined()
    expect(frames.map(({ type }) => type)).toEqual([
      'universal.created',
      ...Array(3).fill('universal.stream'),
      'universal.done',
    ])
    expect(frames[2]).toMatchObject({ metadata: { eventId: 'mine', seq: 1 }, response: { n: 1 } })
    expect(kit.gateway.of('universal.create')[0]?.request).toMatchObject([
      { eventId: 'mine' },
      { provider: 'b' },
    ])
  })

  test('may leave out numbers', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, hangs: true })
    const frames = (await kit.open()).stream({ provider: 'a', endpoint: 'b', query: 1, eventId: 'e' })
    await frames.next()
    for (const seq of [1, 1, 0, 4])
      kit.gateway.say({ type: 'universal.stream', metadata: { eventId: 'e', seq }, response: seq })
    expect((await frames.next()).value).toMatchObject({ response: 1 })
    expect((await frames.next()).value).toMatchObject({ response: 4 })
    await frames.return()
  })

  test('end with an error where the answer did not end well', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(1), outcome: 'incomplete' })
    const { frames, error } = await collect(
      (await kit.open()).stream({ provider: 'a', endpoint: 'b', query: 1 }),
    )
    expect(error).toEqual(coded('incomplete'))
    expect(frames.at(-1)).toMatchObject({ type: 'universal.done', metadata: { outcome: 'incomplete' } })
  })

  test('stop the run when the loop is left, or the signal aborts', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, events: events(3), hangs: true })
    const line = await kit.open()
    for await (const frame of line.stream({ provider: 'a', endpoint: 'b', query: 1 })) {
      if (frame.type === 'universal.stream') break
    }
    await until(() => kit.gateway.of('universal.cancel').length === 1, 'the cancel')
    const signal = AbortSignal.timeout(50)
    const { error } = await collect(line.stream({ provider: 'a', endpoint: 'b', query: 1 }, { signal }))
    expect(error).toBe(signal.reason)
    await until(() => kit.gateway.of('universal.cancel').length === 2, 'the cancel')
  })

  test('an eventId in use fails alone', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, hangs: true })
    const line = await kit.open()
    const item = { provider: 'a', endpoint: 'b', query: 1, eventId: 'e' }
    const first = line.stream(item)
    await first.next()
    expect((await collect(line.stream(item))).error).toEqual(coded('conflict'))
    await first.return()
  })
})

describe('closing', () => {
  test('stops every run and tells of it', async () => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, hangs: true })
    const line = await kit.open()
    const states = watch(line)
    const response = await post(line, '/x')
    line.close()
    line.close()
    expect((await drain(response)).error).toEqual(coded('closed'))
    await expect(post(line, '/x')).rejects.toEqual(coded('closed'))
    await until(() => kit.gateway.of('universal.cancel').length === 1, 'the cancel')
    expect(states).toEqual(['closed'])
    await until(() => kit.proxy.open === 0, 'the end of the connection')
    expect(kit.gateway.handshakes).toHaveLength(1)
  })

  test.each([
    [4401, 'unauthorized'],
    [4409, 'taken_over'],
  ])('happens by itself for code %i', async (code, named) => {
    kit.gateway.behaviour.answer = () => ({ headers: sse, hangs: true })
    const line = await kit.open()
    const response = await post(line, '/x')
    kit.gateway.closeWith(code)
    expect((await drain(response)).error).toEqual(coded('incomplete'))
    expect(line.state).toBe('closed')
    await expect(post(line, '/x')).rejects.toEqual(coded(named))
    await sleep(50)
    expect(kit.gateway.handshakes).toHaveLength(1)
  })
})
