import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Change, type ConfigStore, nothingStored, type Stored } from '../../src/store/config.ts'
import { createLive } from '../../src/store/live.ts'

/** A store in memory that counts what it is asked, and can be out of reach. */
function fakeStore() {
  const state = { revision: 0, reads: 0, asks: 0, isDown: false, hangs: false }
  const reach = async (): Promise<void> => {
    if (state.hangs) await new Promise(() => undefined)
    if (state.isDown) throw new Error('out of reach')
  }
  const store: ConfigStore = {
    async revision() {
      state.asks += 1
      await reach()
      return state.revision
    },
    async read() {
      state.reads += 1
      await reach()
      return { ...nothingStored, revision: state.revision }
    },
    async change(since: number, _changes: readonly Change[]) {
      await reach()
      if (since !== state.revision) return false
      state.revision += 1
      return true
    },
    async note() {
      state.revision += 1
    },
    audit: async () => [],
    auditCount: async () => 0,
  }
  return { store, state }
}

const entry = { principal: 'p', action: 'a', target: 't', gateway_id: null, fields: [] }

describe('what is stored, held in memory', () => {
  beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }))
  afterEach(() => void vi.useRealTimers())

  function start() {
    const { store, state } = fakeStore()
    const applied: number[] = []
    const reports: string[] = []
    const live = createLive(
      store,
      async ({ revision }: Stored) =>
        () =>
          void applied.push(revision),
      (where) => reports.push(where),
    )
    return { live, state, applied, reports }
  }

  test('the first use waits; then nothing is asked for a while, and nothing read that has not changed', async () => {
    const { live, state, applied } = start()
    await live.check()
    expect([state.asks, state.reads]).toEqual([1, 0])
    for (let use = 0; use < 1_000; use += 1) expect(live.check()).toBeUndefined()
    await vi.advanceTimersByTimeAsync(4_000)
    expect(live.check()).toBeUndefined()
    expect(state.asks).toBe(1)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(live.check()).toBeUndefined() // asked beside, not waited for
    await vi.advanceTimersByTimeAsync(0)
    expect([state.asks, state.reads]).toEqual([2, 0])
    expect(applied).toEqual([])
  })

  test('a change made elsewhere is in force within 30 s, whether requests come often or seldom', async () => {
    for (const pauseMs of [10, 3_000, 9_000, 24_000, 3_600_000]) {
      const { live, state, applied } = start()
      await live.check()
      state.revision = 7
      for (let passedMs = 0; passedMs + pauseMs <= 30_000; passedMs += pauseMs) {
        await vi.advanceTimersByTimeAsync(pauseMs)
        await live.check()
      }
      if (pauseMs > 30_000) {
        await vi.advanceTimersByTimeAsync(pauseMs)
        await live.check()
      }
      expect(applied, `${pauseMs} ms between requests`).toEqual([7])
    }
  })

  test('a clock that is set back delays nothing', async () => {
    const { live, state, applied } = start()
    await live.check()
    vi.setSystemTime(1)
    state.revision = 7
    await vi.advanceTimersByTimeAsync(25_000)
    await live.check()
    expect(applied).toEqual([7])
  })

  test('a change made here is in force at once', async () => {
    const { live, applied } = start()
    await live.change(() => ({ changes: [], entry }))
    expect(applied).toEqual([1])
  })

  test('whoever is overtaken decides again, on what is there by then', async () => {
    const { live, state } = start()
    const seen: number[] = []
    await live.change(({ revision }) => {
      seen.push(revision)
      if (seen.length === 1) state.revision = 5
      return { changes: [], entry }
    })
    expect(seen).toEqual([0, 5])
    expect(state.revision).toBe(6)
  })

  test('what decides may refuse, and then nothing is changed', async () => {
    const { live, state } = start()
    const refusing = live.change(() => {
      throw new Error('no')
    })
    await expect(refusing).rejects.toThrow('no')
    expect(state.revision).toBe(0)
  })

  test('a store out of reach costs a word, not a request, and is seldom waited for', async () => {
    const { live, state, reports } = start()
    state.isDown = true
    await live.check()
    expect(reports).toHaveLength(1)
    for (let use = 0; use < 100; use += 1) expect(live.check()).toBeUndefined()
    await vi.advanceTimersByTimeAsync(10_000)
    await live.check()
    expect(reports).toHaveLength(1)
    await expect(live.latest()).rejects.toThrow('out of reach')
    state.isDown = false
    state.revision = 3
    await vi.advanceTimersByTimeAsync(10_000)
    await live.check()
    expect((await live.latest()).revision).toBe(3)
  })

  test('a store that does not answer is waited for 2 s', async () => {
    const { live, state } = start()
    state.hangs = true
    const waiting = live.check()
    expect(waiting).toBeInstanceOf(Promise)
    let isOver = false
    void waiting!.then(() => {
      isOver = true
    })
    await vi.advanceTimersByTimeAsync(1_900)
    expect(isOver).toBe(false)
    await vi.advanceTimersByTimeAsync(200)
    expect(isOver).toBe(true)
  })

  test('an answer that comes late does not undo a later one', async () => {
    const { store, state } = fakeStore()
    const applied: number[] = []
    const slow: { release?: () => void } = {}
    const live = createLive(
      {
        ...store,
        async read() {
          const { revision } = state
          if (revision === 1) await new Promise<void>((resolve) => (slow.release = resolve))
          return { ...nothingStored, revision }
        },
      },
      async ({ revision }) =>
        () =>
          void applied.push(revision),
      () => undefined,
    )
    state.revision = 1
    const late = live.latest()
    await vi.advanceTimersByTimeAsync(0)
    state.revision = 2
    await live.latest()
    slow.release?.()
    expect((await late).revision).toBe(2)
    expect(applied).toEqual([2])
  })

  test('what takes long to prepare does not undo what came after it', async () => {
    const { store, state } = fakeStore()
    const applied: number[] = []
    const slow: { release?: () => void } = {}
    const live = createLive(
      store,
      async ({ revision }) => {
        if (revision === 1) await new Promise<void>((resolve) => (slow.release = resolve))
        return () => void applied.push(revision)
      },
      () => undefined,
    )
    state.revision = 1
    const late = live.latest()
    await vi.advanceTimersByTimeAsync(0)
    state.revision = 2
    await live.latest()
    slow.release?.()
    expect((await late).revision).toBe(2)
    expect(applied).toEqual([2])
  })
})
