import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { limits } from '../../src/limits.ts'
import { Relay } from '../../src/session/relay.ts'
import type { Frame, RelayEnd, Side, Socket } from '../../src/socket.ts'

/** A socket that says when it has room, and remembers what it was told. */
function createSocket({ pauses = true } = {}) {
  const sent: Frame[] = []
  const told: string[] = []
  let full: (() => void) | undefined
  const state = { isFull: false, buffered: 0 }
  const socket: Socket = {
    send(frame) {
      sent.push(frame)
      if (!state.isFull) return undefined
      return new Promise<void>((resolve) => {
        full = resolve
      })
    },
    buffered: () => state.buffered,
    close: (code, reason) => void told.push(`close ${code} ${reason}`),
    ...(pauses && { pause: () => void told.push('pause'), resume: () => void told.push('resume') }),
  }
  const drain = async () => {
    state.isFull = false
    full?.()
    await Promise.resolve()
    await Promise.resolve()
  }
  return { socket, sent, told, state, drain }
}

function createRelay(options = {}) {
  const passed: [Side, Frame][] = []
  const ends: RelayEnd[] = []
  const relay = new Relay({
    passes(side, frame) {
      passed.push([side, frame])
      return frame === 'forbidden' ? 'not this' : undefined
    },
    ended: (end) => void ends.push(end),
  })
  const [client, provider] = [createSocket(options), createSocket(options)]
  return { relay, client, provider, passed, ends }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('a relay', () => {
  test('holds what a provider says before its client is there', () => {
    const { relay, client, provider } = createRelay()
    relay.join('provider', provider.socket)
    relay.provider.receive('one')
    relay.provider.receive('two')
    expect(client.sent).toEqual([])
    relay.join('client', client.socket)
    relay.provider.receive('three')
    expect(client.sent).toEqual(['one', 'two', 'three'])
  })

  test('closes a client that comes after its provider has gone, behind what the provider said', () => {
    const { relay, client, provider, ends } = createRelay()
    relay.join('provider', provider.socket)
    relay.provider.receive('last words')
    relay.provider.closed(4_002, 'gone')
    relay.join('client', client.socket)
    expect(client.sent).toEqual(['last words'])
    expect(client.told).toEqual(['close 4002 gone'])
    expect(ends).toEqual([{ by: 'provider', code: 4_002, reason: 'gone' }])
  })

  test('pauses a side while the other has no room, and goes on in order', async () => {
    const { relay, client, provider } = createRelay()
    relay.join('provider', provider.socket)
    relay.join('client', client.socket)
    client.state.isFull = true
    for (const frame of ['a', 'b', 'c']) relay.provider.receive(frame)
    expect(client.sent).toEqual(['a'])
    expect(provider.told.at(-1)).toBe('pause')
    await client.drain()
    expect(client.sent).toEqual(['a', 'b', 'c'])
    expect(provider.told.at(-1)).toBe('resume')
  })

  test('ends once more is held than may be, where a side cannot be paused', () => {
    const { relay, client, provider, ends } = createRelay({ pauses: false })
    relay.join('provider', provider.socket)
    relay.join('client', client.socket)
    client.state.isFull = true
    const frame = new Uint8Array(1 << 20)
    const most = 2 + limits.relayHeldBytes / frame.length
    for (let index = 0; index < most; index += 1) relay.provider.receive(frame)
    expect(ends).toEqual([{ by: 'gateway', code: 1013, reason: 'reader too slow' }])
    for (const side of [client, provider]) expect(side.told).toEqual(['close 1013 reader too slow'])
    relay.provider.receive('late')
    expect(client.sent).not.toContain('late')
  })

  test('gives up a side that takes nothing for too long', () => {
    const { relay, client, provider, ends } = createRelay()
    relay.join('provider', provider.socket)
    relay.join('client', client.socket)
    client.state.isFull = true
    relay.provider.receive('a')
    vi.advanceTimersByTime(limits.relayStallMs - 1)
    expect(ends).toEqual([])
    vi.advanceTimersByTime(1)
    expect(ends).toMatchObject([{ code: 1013 }])
    expect(provider.told).toContain('resume') // or its close would not be read
  })

  test('does not give up a side that takes a little of a long frame at a time', () => {
    const { relay, client, provider, ends } = createRelay()
    relay.join('provider', provider.socket)
    relay.join('client', client.socket)
    Object.assign(client.state, { isFull: true, buffered: 32_000 })
    relay.provider.receive('a')
    for (let second = 0; second < 100; second += 1) {
      client.state.buffered -= 7
      vi.advanceTimersByTime(1_000)
    }
    expect(ends).toEqual([])
    vi.advanceTimersByTime(limits.relayStallMs + 1_000)
    expect(ends).toMatchObject([{ code: 1013 }])
  })

  test('does not pass on what its watch refuses', () => {
    const { relay, client, provider, ends } = createRelay()
    relay.join('provider', provider.socket)
    relay.join('client', client.socket)
    relay.client.receive('forbidden')
    expect(provider.sent).toEqual([])
    expect(ends).toEqual([{ by: 'gateway', code: 1008, reason: 'not this' }])
  })

  test('cuts a reason that a close frame has no room for, between two letters', () => {
    const { relay, client, ends } = createRelay()
    relay.join('client', client.socket)
    relay.end(1008, `x${'é'.repeat(100)}`)
    expect(ends[0]?.reason).toBe(`x${'é'.repeat(61)}`)
  })

  test('tells each side what a lost one means, and ends once', () => {
    for (const [lost, code] of [
      ['client', 'close 1001 client lost'],
      ['provider', 'close 1011 provider lost'],
    ] as const) {
      const { relay, client, provider, ends } = createRelay()
      relay.join('provider', provider.socket)
      relay.join('client', client.socket)
      relay[lost].closed(1006, '')
      relay[lost].closed(1006, '')
      relay.client.closed(1000, '')
      relay.end(1001, '')
      expect((lost === 'client' ? provider : client).told.filter((word) => word.startsWith('close'))).toEqual(
        [code],
      )
      expect(ends).toHaveLength(1)
    }
  })

  test('whatever the order of frames, fills and drains, each frame passes once and in order', async () => {
    vi.useRealTimers()
    const deed = fc.oneof(
      fc.constant('fill' as const),
      fc.constant('drain' as const),
      fc.integer({ min: 1, max: 9 }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(deed, { maxLength: 60 }), async (deeds) => {
        const { relay, client, provider } = createRelay()
        relay.join('provider', provider.socket)
        relay.join('client', client.socket)
        const said: string[] = []
        for (const one of deeds) {
          if (one === 'fill') client.state.isFull = true
          else if (one === 'drain') await client.drain()
          else
            for (let index = 0; index < one; index += 1) {
              said.push(String(said.length))
              relay.provider.receive(said.at(-1)!)
            }
        }
        await client.drain()
        expect(client.sent).toEqual(said)
        relay.end(1001, '')
      }),
    )
  })
})
