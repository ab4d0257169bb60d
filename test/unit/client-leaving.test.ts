import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { coded, drain, events, post, sse, until, useKit, watch } from './line-kit.ts'

const kit = useKit()
const hanging = () => ({ headers: sse, events: events(1), hangs: true })
const cancels = (): number => kit.gateway.of('universal.cancel').length

/** A socket that can be ended without its peer, as those of `ws` and Bun can. */
function counted(): { made: WebSocket[]; WebSocket: typeof WebSocket } {
  const made: WebSocket[] = []
  class Counted extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      made.push(this)
    }
  }
  return { made, WebSocket: Counted as unknown as typeof WebSocket }
}

describe('a connection that is dead', () => {
  test('is ended at once, where a socket can be', async () => {
    const sockets = counted()
    const line = await kit.open({ WebSocket: sockets.WebSocket, limits: { heartbeatMs: 30 } })
    const states = watch(line)
    for (let round = 1; round <= 3; round += 1) {
      kit.proxy.freeze()
      await until(() => states.filter((state) => state === 'open').length === round, 'the next connection')
      expect(sockets.made.map(({ readyState }) => readyState)).toEqual([...Array(round).fill(3), 1])
    }
  })

  test('is ended after the time of a handshake when the line is closed', async () => {
    const sockets = counted()
    const line = await kit.open({ WebSocket: sockets.WebSocket })
    kit.proxy.freeze()
    line.close()
    await until(() => sockets.made[0]?.readyState === 3, 'the end of the socket')
    await sleep(50)
    expect(kit.gateway.handshakes).toHaveLength(1)
  })
})

describe('closing a line stops its runs at the gateway', () => {
  test('while it connects again: over one last connection', async () => {
    kit.gateway.behaviour.answer = hanging
    const line = await kit.open({ limits: { backoffMs: 10_000, backoffMaxMs: 10_000 } })
    const response = await post(line, '/x')
    kit.proxy.cut()
    await until(() => line.state === 'reconnecting')
    line.close()
    expect(line.state).toBe('closed')
    expect((await drain(response)).error).toEqual(coded('closed'))
    await until(() => cancels() === 1, 'the cancel')
    expect(kit.gateway.handshakes.at(-1)?.url).toContain('?session=s0')
    await until(() => kit.proxy.open === 0, 'the end of the connection')
    expect(kit.gateway.handshakes).toHaveLength(2)
  })

  test('while it is in the middle of that', async () => {
    kit.gateway.behaviour.answer = hanging
    const line = await kit.open()
    await post(line, '/x')
    kit.proxy.set({ delayMs: 60 })
    kit.proxy.cut()
    await until(() => kit.proxy.total === 2, 'the next connection')
    line.close()
    await until(() => cancels() === 1, 'the cancel')
    await until(() => kit.proxy.open === 0, 'the end of the connection')
  })

  test('over a connection that is dead: over another', async () => {
    kit.gateway.behaviour.answer = hanging
    const line = await kit.open()
    await post(line, '/x')
    kit.proxy.freeze()
    line.close()
    await until(() => cancels() === 1, 'the cancel')
    expect(kit.gateway.handshakes).toHaveLength(2)
  })

  test('where none can be made: after one try, and for good', async () => {
    kit.gateway.behaviour.answer = hanging
    for (const newcomers of ['refuse', 'hold'] as const) {
      kit.proxy.set({ newcomers: 'pass' })
      const { made, WebSocket } = counted()
      const line = await kit.open({ WebSocket, limits: { backoffMs: 10_000, backoffMaxMs: 10_000 } })
      await post(line, '/x')
      kit.proxy.set({ newcomers })
      kit.proxy.cut()
      await until(() => line.state === 'reconnecting')
      line.close()
      await sleep(500)
      expect(made.map(({ readyState }) => readyState)).toEqual([3, 3])
    }
    expect(cancels()).toBe(0)
  })

  test('makes no connection for runs that have ended', async () => {
    const line = await kit.open({ limits: { backoffMs: 10_000, backoffMaxMs: 10_000 } })
    await (await post(line, '/x')).text()
    kit.proxy.cut()
    await until(() => line.state === 'reconnecting')
    line.close()
    await sleep(50)
    expect(kit.proxy.total).toBe(1)
  })
})
