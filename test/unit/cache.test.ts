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
  for (let number = 0; number < 99; number += 1) await cache.put(`old-${number}`, 'g', entryOf(10))
  state.now = 3_000
  await cache.put('fresh', 'g', entryOf(10, { expiresAt: 4_000 }))
  const left = await sql.all('SELECT key FROM cache UNION ALL SELECT key FROM cache_parts')
  expect(left).toEqual([{ key: 'fresh' }, { key: 'fresh' }])
})

test('the events of a stream take their place in memory', async () => {
  const asked: string[] = []
  const behind: Cache = {
    async get(key) {
      asked.push(key)
      return undefined
    },
    put: async () => undefined,
    clear: async () => undefined,
  }
  const cache = createMemoryCache(behind, () => 1_000)
  const events = Array.from({ length: 300_000 }, (_, index): [number, number] => [index, 0])
  await cache.put('one', 'g', entryOf(1, { events }))
  expect(await cache.get('one')).toBeDefined()
  await cache.put('two', 'g', entryOf(1, { events }))
  expect(await cache.get('two')).toBeDefined()
  expect(asked).toEqual([])
  expect(await cache.get('one')).toBeUndefined()
  expect(asked).toEqual(['one'])
})
