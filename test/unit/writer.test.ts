import { describe, expect, test } from 'vitest'
import type { LogEntry, LogRow, Logs } from '../../src/store/logs.ts'
import { createLogWriter, type LogWriter, type Retention } from '../../src/store/writer.ts'

const logBytes = 1 << 20
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A store of ids alone, that may be told to refuse. */
function createStore() {
  const ids: string[] = []
  const state = { refuse: (_id: string): boolean => false, trims: 0 }
  const logs = {
    async append(entries: readonly LogEntry[]) {
      const refused = entries.find(({ row }) => state.refuse(row.id))
      if (refused) throw new Error(`refused ${refused.row.id}`)
      ids.push(...entries.map(({ row }) => row.id))
    },
    async count() {
      return ids.length
    },
    async trim() {
      state.trims += 1
    },
  } as unknown as Logs
  return { logs, ids, state }
}

function open(retention: Partial<Retention> = {}) {
  const store = createStore()
  const said: string[] = []
  const kept: Retention = { rows: 1_000_000, strategy: 'DELETE_OLDEST', ...retention }
  const writer = createLogWriter({
    logs: store.logs,
    retentionOf: () => kept,
    report: (where) => said.push(where),
  })
  return { ...store, writer, said, kept }
}

function add(writer: LogWriter, id: string, bytes = 100): void {
  const row = { id, gateway: 'g' } as LogRow
  writer.add({ gateway: 'g', bytes, make: () => ({ row, bodies: { request: null, response: null } }) })
}

describe('records that wait', () => {
  test('many megabytes that come at once are written, as they are made room for before the time is up', async () => {
    const { writer, ids, said } = open()
    for (let index = 0; index < 300; index += 1) {
      add(writer, String(index), logBytes)
      await wait(0)
    }
    await writer.flush()
    expect([ids.length, writer.health(), said]).toEqual([300, { status: 'ok', lost: 0, waiting: 0 }, []])
  })

  test('what is lost is counted and said, and says nothing of what comes after', async () => {
    const { writer, ids, said } = open()
    for (let index = 0; index < 100; index += 1) add(writer, String(index), logBytes)
    await writer.flush()
    const { lost, status } = writer.health()
    expect([lost + ids.length, status, said]).toEqual([100, 'ok', ['records are lost']])
    expect(lost).toBeGreaterThan(0)
  })

  test('one that the store refuses for itself holds the others up for a while, and is lost alone', async () => {
    const { writer, ids, state, said } = open()
    state.refuse = (id) => id === 'poison'
    for (const id of ['a', 'poison', 'b']) add(writer, id)
    for (let tries = 0; tries < 6; tries += 1) await writer.flush()
    add(writer, 'c')
    await writer.flush()
    expect(ids.toSorted()).toEqual(['a', 'b', 'c'])
    expect(writer.health()).toEqual({ status: 'ok', lost: 1, waiting: 0 })
    expect(said).toEqual(['logs cannot be written', 'records are lost'])
  })

  test('a store that refuses everything loses nothing', async () => {
    const { writer, ids, state } = open()
    state.refuse = () => true
    for (const id of ['a', 'b']) add(writer, id)
    for (let tries = 0; tries < 12; tries += 1) await writer.flush()
    expect(writer.health()).toMatchObject({ status: 'degraded', lost: 0 })
    state.refuse = () => false
    await writer.flush()
    expect(ids.toSorted()).toEqual(['a', 'b'])
  })
})

describe('retention', () => {
  test('is looked at with the first rows, and then every thousand', async () => {
    const { writer, state } = open({ ageMs: 1_000 })
    add(writer, 'first')
    await writer.flush()
    expect(state.trims).toBe(1)
    for (let index = 0; index < 999; index += 1) add(writer, String(index))
    await writer.flush()
    expect(state.trims).toBe(1)
    add(writer, 'thousandth')
    await writer.flush()
    expect(state.trims).toBe(2)
  })

  test('STOP_INSERTING goes on once there is room again', async () => {
    const { writer, ids } = open({ rows: 3, strategy: 'STOP_INSERTING' })
    for (const id of ['a', 'b', 'c']) add(writer, id)
    await writer.flush()
    add(writer, 'too many')
    await writer.flush()
    expect(ids).toEqual(['a', 'b', 'c'])
    ids.splice(0, 2)
    await wait(2_100)
    add(writer, 'asks again') // and is not yet taken
    await wait(50)
    add(writer, 'd')
    await writer.flush()
    expect(ids).toEqual(['c', 'd'])
  })
})
