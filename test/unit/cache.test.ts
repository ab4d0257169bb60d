import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openSqlite } from '../../adapters/sqlite.ts'
import { type Cache, type CacheEntry, createMemoryCache } from '../../src/store/cache.ts'
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
  const cache = createSqlCache(sql, () => state.now)
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
