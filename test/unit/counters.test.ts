import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openSqlite } from '../../adapters/sqlite.ts'
import type { Sql } from '../../src/store/sql.ts'
import { createSqlCounters } from '../../src/store/sql-counters.ts'

const claim = { key: 'k', limit: 3, windowMs: 86_400_000, technique: 'fixed', amount: 1 } as const
const none = { report: () => undefined }

/** A database that holds two of three already, and the same one behind a door. */
async function open() {
  const folder = mkdtempSync(join(tmpdir(), 'counters-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const sql = await openSqlite(folder, 'counters')
  const before = createSqlCounters(sql, none)
  for (const _ of [1, 2]) await before.take('g', [claim])
  await before.flush()
  const state = { isLocked: true }
  const behind = <Args extends readonly unknown[], Result>(call: (...args: Args) => Promise<Result>) => {
    return async (...args: Args): Promise<Result> => {
      if (state.isLocked) throw new Error('locked')
      return await call(...args)
    }
  }
  const door: Sql = { all: behind(sql.all), batch: behind(sql.batch) }
  const amount = async () => (await sql.all('SELECT amount FROM counters')).map((row) => row.amount)
  return { door, state, amount }
}

test('what was counted before counts as soon as it can be read, and nothing is written before or twice', async () => {
  const { door, state, amount } = await open()
  let now = Date.now()
  const said: string[] = []
  const counters = createSqlCounters(door, { report: (where) => said.push(where), now: () => now })
  const take = async () => (await counters.take('g', [claim])).refused === undefined
  expect(await take()).toBe(true)
  await counters.flush()
  expect([await amount(), said]).toEqual([[2], ['counters cannot be read']])
  state.isLocked = false
  now += 1_001
  // Two from before, and one while nothing could be read.
  expect(await take()).toBe(false)
  await counters.flush()
  await counters.flush()
  expect(await amount()).toEqual([3])
})

test('what is no number is neither counted nor written', async () => {
  const { door, state, amount } = await open()
  state.isLocked = false
  const counters = createSqlCounters(door, none)
  await counters.settle('g', [{ ...claim, at: Date.now(), amount: Number.NaN }])
  expect((await counters.take('g', [claim])).standings[0]?.remaining).toBe(0)
  expect((await counters.take('g', [claim])).refused).toBe(0)
  await counters.flush()
  expect(await amount()).toEqual([3])
})
