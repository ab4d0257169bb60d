import { describe, expect, test } from 'vitest'
import { create, createKit, isType } from './session-kit.ts'

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
