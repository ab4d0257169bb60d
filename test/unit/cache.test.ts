import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openSqlite } from '../../adapters/sqlite.ts'
import { type Cache, type CacheEntry, createMemoryCache } from '../../src/store/cache.ts'
import type { Sql } from '../../src/store/sql.ts'
import { createSqlCache } from '../../src/store/sql-cache.ts'

const entryOf = (size: number, more: Partial<CacheEntry> = {}): CacheEntry => ({
  status: 200,
  headers: [],
  body: new Uint8Array(size),
  events: [],
  step: 0,
  expiresAt: 2_000,
  ...more,
})

test('what is no longer fresh leaves the database while more is put', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'trunkline-cache-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const sql = await openSqlite(folder, 'cache')
  const state = { now: 1_000 }
  const cache = createSqlCache(sql, { now: () => state.now, gatherMs: 1 })
  for (let number = 0; number < 99; number += 1)
    await cache.put(`old-${number}`, 'g', entryOf(number < 90 ? 10 : 100_000))
  state.now = 3_000
  await cache.put('fresh', 'g', entryOf(100_000, { expiresAt: 4_000 }))
  const left = await sql.all('SELECT key FROM cache UNION ALL SELECT key FROM cache_parts')
  expect(left).toEqual([{ key: 'fresh' }, { key: 'fresh' }])
})

test('the events of a stream take their place in memory', async () => {
  const cache = createMemoryCache(undefined, () => 1_000)
  const events = Array.from({ length: 300_000 }, (_, index): [number, number] => [index, 0])
  await cache.put('one', 'g', entryOf(1, { events }))
  expect(await cache.get('one')).toBeDefined()
  await cache.put('two', 'g', entryOf(1, { events }))
  expect(await cache.get('two')).toBeDefined()
  expect(await cache.get('one')).toBeUndefined()
})

test('in front of a store, memory holds what was asked for again', async () => {
  const asked: string[] = []
  const behind: Cache = {
    async get(key) {
      asked.push(key)
      return entryOf(1)
    },
    put: async () => undefined,
    clear: async () => undefined,
  }
  const cache = createMemoryCache(behind, () => 1_000)
  await cache.put('one', 'g', entryOf(1))
  for (let time = 0; time < 3; time += 1) expect(await cache.get('one')).toBeDefined()
  expect(asked).toEqual(['one'])
  await cache.put('one', 'g', entryOf(2))
  expect((await cache.get('one'))?.body.byteLength).toBe(1)
  expect(asked).toEqual(['one', 'one'])
})

/** A database that may be taken away. */
async function openBreakable() {
  const folder = await mkdtemp(join(tmpdir(), 'trunkline-cache-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const sql = await openSqlite(folder, 'cache')
  const state = { isBroken: false }
  const batch: Sql['batch'] = (statements) =>
    state.isBroken ? Promise.reject(new Error('locked')) : sql.batch(statements)
  return { state, sql, cache: createSqlCache({ all: sql.all, batch }, { now: () => 1_000, gatherMs: 1 }) }
}

test('a batch that fails fails every put of it, those before a large one and behind it, and no later one', async () => {
  const { state, cache } = await openBreakable()
  await cache.put('first', 'g', entryOf(1))
  state.isBroken = true
  const puts = [10, 2_000_000, 20].map((size) => cache.put(`${size}`, 'g', entryOf(size)))
  expect((await Promise.allSettled(puts)).map(({ status }) => status)).toEqual(Array(3).fill('rejected'))
  state.isBroken = false
  await cache.put('last', 'g', entryOf(1))
  expect(await cache.get('last')).toBeDefined()
  expect(await cache.get('20')).toBeUndefined()
})

test('an entry of which a part is missing is none', async () => {
  const { sql, cache } = await openBreakable()
  await cache.put('short', 'g', entryOf(10))
  await cache.put('long', 'g', entryOf(3_000_000))
  expect((await cache.get('long'))?.body).toHaveLength(3_000_000)
  await sql.batch([
    ['DELETE FROM cache_parts WHERE part = ?', 1],
    ['UPDATE cache SET body = ? WHERE key = ?', new Uint8Array(9), 'short'],
  ])
  expect([await cache.get('short'), await cache.get('long')]).toEqual([undefined, undefined])
})
