import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { limits } from '../../src/limits.ts'
import { anyone, create, createKit, isType, replyOf } from './session-kit.ts'

describe('exactly once (PROTOCOL.md, "universal.create")', () => {
  test('a run that was dropped to save memory is not asked for again', async () => {
    const kit = createKit({ heldBytes: 25, detachSeconds: 10 })
    const first = kit.connect()
    first.send(create('lost'))
    await first.next(isType('universal.done'))
    first.leave()
    const other = kit.connect()
    for (const eventId of ['a', 'b']) {
      other.send(create(eventId))
      await other.next(isType('universal.done', eventId))
    }
    const again = kit.connect({ id: first.id })
    expect(again.frames[0]?.session).toMatchObject({ resumed: true, runs: [] })
    again.send(create('lost'))
    expect(await again.next(isType('universal.error'))).toMatchObject({
      metadata: { eventId: 'lost' },
      error: { code: 'expired', retryable: false },
    })
    expect(kit.calls.map(({ eventId }) => eventId)).toEqual(['lost', 'a', 'b'])
    kit.pass(9)
    again.send(create('lost'))
    await again.next((frame) => frame !== again.frames[1] && isType('universal.error')(frame))
    kit.pass(1)
    again.send(create('lost'))
    await again.next(isType('universal.done'))
    expect(kit.calls).toHaveLength(4)
  })
})

describe('a session taken up again (PROTOCOL.md, "Connecting again")', () => {
  test('goes to the latest attempt, in whichever order they arrive', () => {
    const kit = createKit()
    const first = kit.connect()
    const second = kit.connect({ id: first.id, attempt: 2 })
    expect([first.code, second.code]).toEqual([4409, undefined])
    const late = kit.connect({ id: first.id, attempt: 1 })
    expect([late.code, late.frames, second.code]).toEqual([4409, [], undefined])
    late.send(create('x'))
    late.leave()
    const third = kit.connect({ id: first.id, attempt: 3 })
    expect([second.code, third.code]).toEqual([4409, undefined])
    const uncounted = kit.connect({ id: first.id })
    expect([third.code, uncounted.code]).toEqual([4409, undefined])
    expect(kit.connect({ id: first.id, attempt: 2 }).code).toBe(4409)
    expect(kit.calls).toEqual([])
  })
})

describe('the window (PROTOCOL.md, "universal.ack")', () => {
  const comments = (count: number): string[] =>
    Array.from({ length: count }, () => ': PROCESSING, please wait\n\n')
  const data = (n: number): string => `data: {"n":${n}}\n\n`

  test('holds nothing that the client is not sent', async () => {
    const kit = createKit({ windowBytes: 100, runBytes: 200 })
    const answer = [...comments(50), data(0), ...comments(50), data(1), ...comments(50), 'data: [DONE]\n\n']
    kit.answer = async () => replyOf(answer, 'text/event-stream')
    const client = kit.connect()
    client.send(create('e'))
    client.send({ type: 'universal.ack', eventId: 'e', seq: -1 })
    const done = await client.next(isType('universal.done'))
    expect(client.frames.filter(isType('universal.stream')).map(({ metadata }) => metadata.seq)).toEqual([
      50, 101,
    ])
    expect(done.metadata).toMatchObject({ seq: 152, outcome: 'completed' })
    const run = kit.home.find(String(done.metadata.runId), anyone)
    expect(run.keptBytes).toBeLessThanOrEqual(200 + 100)
  })

  test.each(['its first ack', 'its create'])(
    'holds from %s on what the client is sent, comments between or not, until that is acked',
    async (since) => {
      const kit = createKit({ windowBytes: 100 })
      let read = 0
      kit.answer = async () =>
        replyOf(
          (function* () {
            for (; read < 300; read += 1) yield read % 3 ? ': comment\n\n' : data(read)
          })(),
          'text/event-stream',
        )
      const client = kit.connect()
      client.send(create('e', { acks: since === 'its create' }))
      if (since === 'its first ack') client.send({ type: 'universal.ack', eventId: 'e', seq: -1 })
      const seen = () =>
        client.frames.filter(isType('universal.stream')).map(({ metadata }) => Number(metadata.seq))
      await sleep(50)
      expect(seen()).toEqual([0, 3, 6, 9, 12, 15, 18])
      expect(read).toBeLessThan(30)
      client.send({ type: 'universal.ack', eventId: 'e', seq: 9 })
      await sleep(50)
      expect(seen().at(-1)).toBe(30)
      for (let acked = 0; acked < 297; ) {
        acked = seen().at(-1) ?? 0
        client.send({ type: 'universal.ack', eventId: 'e', seq: acked })
        await sleep(1)
      }
      await client.next(isType('universal.done'))
      expect(seen()).toHaveLength(100)
    },
  )
})

describe('a client that never reads', () => {
  test.each([
    { type: 'session.ping', id: 'x' },
    { type: 'session.update', headers: {} },
    { type: 'universal.nothing' },
  ])('is put off when 1,000 answers wait for it: %o', (message) => {
    const client = createKit().connect({ isDeaf: true })
    for (let count = 0; count < 1_000; count += 1) client.send(message)
    expect(client.code).toBeUndefined()
    client.send(message)
    expect(client.code).toBe(1013)
  })

  test('is told of 1,000 runs at once', async () => {
    const kit = createKit()
    const first = kit.connect()
    first.send(create('a'))
    const { runId } = (await first.next(isType('universal.done'))).metadata
    const client = kit.connect({ id: first.id, isDeaf: true })
    for (let count = 0; count < 1_200; count += 1)
      client.send({ type: 'universal.resume', runId, eventId: `n${count}` })
    const run = kit.home.find(String(runId), anyone)
    expect(run.readers).toBe(1_000)
    client.leave()
    expect(run.readers).toBe(0)
  })
})

describe('the limit of sessions', () => {
  test('holds for those in use; of those that were left, the oldest give way', async () => {
    const kit = createKit({ sessions: 3 })
    const busy = kit.connect()
    kit.answer = async () =>
      replyOf(
        (async function* () {
          yield 'a'
          await new Promise(() => undefined)
        })(),
      )
    busy.send(create('a'))
    expect(kit.home.active).toBe(1)
    busy.leave()
    const ids = [1, 2, 3, 4].map(() => {
      kit.pass(1)
      const client = kit.connect()
      expect(client.code).toBeUndefined()
      client.leave()
      return client.id
    })
    expect([...kit.home.sessions.keys()]).toEqual([busy.id, ...ids.slice(2)])
    const [one, other] = [kit.connect(), kit.connect()]
    expect([one.code, other.code]).toEqual([undefined, undefined])
    expect(kit.connect().code).toBe(4429)
    expect(kit.connect({ id: busy.id }).frames[0]?.session).toMatchObject({ resumed: true })
  })
})

describe('heldBytes', () => {
  test('bounds what is kept of all runs, also of those under way; none is stopped', async () => {
    const kit = createKit({ heldBytes: 1_000, runBytes: 400 })
    const never = new Promise<string>(() => undefined)
    async function* answer() {
      for (let count = 0; count < 20; count += 1) yield 'x'.repeat(50)
      yield await never
    }
    kit.answer = async () => replyOf(answer(), 'application/octet-stream')
    const client = kit.connect()
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    for (const name of names) client.send(create(name, { raw: true }))
    const created = await Promise.all(names.map((name) => client.next(isType('universal.created', name))))
    client.leave()
    await sleep(50)
    const runs = created.map(({ metadata }) => kit.home.find(String(metadata.runId), anyone))
    expect(runs.map((run) => [run.end, run.terminal])).toEqual(names.map(() => [20, undefined]))
    const kept = runs.map((run) => run.keptBytes)
    expect(kept.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(1_000)
    expect(Math.min(...kept)).toBeGreaterThan(0)
    const again = kit.connect({ id: client.id })
    again.send({ type: 'universal.resume', eventId: 'a', from: 0 })
    expect(await again.next(isType('universal.error'))).toMatchObject({ error: { code: 'gap' } })
  })
})

describe('detachSeconds', () => {
  test('are kept to the moment, by runs under way, those that are over, and sessions', async () => {
    const kit = createKit({ detachSeconds: 1 }, 'real')
    const never = new Promise<string>(() => undefined)
    const client = kit.connect()
    client.send(create('done'))
    const { runId } = (await client.next(isType('universal.done'))).metadata
    kit.answer = async (_, signal) => {
      signal.addEventListener('abort', () => times.push(Date.now() - left))
      return replyOf(
        (async function* () {
          yield await never
        })(),
      )
    }
    const times: number[] = []
    client.send(create('on'))
    await sleep(50)
    const left = Date.now()
    client.leave()
    const isHeld = () => kit.home.sessions.size > 0
    const isKept = () => {
      try {
        return kit.home.find(String(runId), anyone) !== undefined
      } catch {
        return false
      }
    }
    while (isHeld() || isKept() || times.length === 0) {
      const ms = Date.now() - left
      if (ms < 900) expect([isHeld(), isKept(), times]).toEqual([true, true, []])
      expect(ms).toBeLessThan(limits.sweepMs / 2)
      await sleep(10)
    }
  })
})
