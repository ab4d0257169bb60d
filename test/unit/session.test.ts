import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
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

  test('holds what the client is sent, comments between or not, until that is acked', async () => {
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
    client.send(create('e'))
    client.send({ type: 'universal.ack', eventId: 'e', seq: -1 })
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
  })
})
