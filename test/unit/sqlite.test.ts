import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createThread, openSqlite } from '../../adapters/sqlite.ts'
import { createKnownKeys, knownKeysSteps } from '../../src/store/known-keys.ts'
import type { Sql } from '../../src/store/sql.ts'

async function open(
  name = 'db',
  thread = createThread(),
  folder?: string,
): Promise<{ sql: Sql; folder: string }> {
  const own = folder ?? (await mkdtemp(join(tmpdir(), 'trunkline-sqlite-')))
  if (!folder) onTestFinished(() => rm(own, { recursive: true, force: true }))
  return { sql: await openSqlite(own, name, thread), folder: own }
}

test('what a thread has written is there once it says so, and in order', async () => {
  const { sql } = await open()
  await sql.batch([['CREATE TABLE t (n INTEGER, b BLOB)']])
  const wholes = new Uint8Array(70_000).map((_, index) => index & 255)
  const batches = Array.from({ length: 50 }, (_, n) =>
    sql.batch([['INSERT INTO t (n, b) VALUES (?, ?)', n, wholes.subarray(n, n + 3)]]),
  )
  await Promise.all(batches)
  const rows = await sql.all('SELECT n, b FROM t ORDER BY rowid')
  expect(rows.map(({ n }) => n)).toEqual(Array.from({ length: 50 }, (_, n) => n))
  expect(Buffer.from(rows[7]!.b as Uint8Array).toString('hex')).toBe('070809')
})

test('a batch that fails tells why, is undone, and hurts no other', async () => {
  const { sql } = await open()
  await sql.batch([['CREATE TABLE t (n INTEGER NOT NULL)']])
  const bad = sql.batch([
    ['INSERT INTO t (n) VALUES (?)', 1],
    ['INSERT INTO t (n) VALUES (?)', null],
  ])
  const good = sql.batch([['INSERT INTO t (n) VALUES (?)', 2]])
  await expect(bad).rejects.toThrow(/NOT NULL/)
  await good
  expect(await sql.all('SELECT n FROM t')).toEqual([{ n: 2 }])
})

test('a thread writes to any number of files', async () => {
  const thread = createThread()
  const { sql, folder } = await open('one', thread)
  const { sql: other } = await open('other', thread, folder)
  await Promise.all([sql.batch([['CREATE TABLE t (n)']]), other.batch([['CREATE TABLE u (n)']])])
  expect(await sql.all("SELECT name FROM sqlite_schema WHERE type = 'table'")).toEqual([{ name: 't' }])
  expect(await other.all("SELECT name FROM sqlite_schema WHERE type = 'table'")).toEqual([{ name: 'u' }])
})

/** Digests, as keys are. */
const key = (number: number): string => number.toString(16).padStart(6, '0').repeat(11).slice(0, 64)

async function putKeys(sql: Sql, keys: readonly number[]): Promise<void> {
  await sql.batch(keys.map((number) => ['INSERT INTO cache (key) VALUES (?)', key(number)] as const))
}

async function openCache(): Promise<Sql> {
  const { sql } = await open()
  await sql.batch([
    ['CREATE TABLE cache (key TEXT PRIMARY KEY)'],
    ...knownKeysSteps.map((step) => [step] as const),
  ])
  return sql
}

test('what was never put is not asked for, and what was there before is', async () => {
  const sql = await openCache()
  const early = Array.from({ length: 500 }, (_, number) => number)
  await putKeys(sql, early)
  const known = createKnownKeys(() => 1_000)
  expect(known.mayHave(key(9_999), sql)).toBe(true) // nothing is known yet
  await expect.poll(() => known.mayHave(key(9_999), sql)).toBe(false)
  expect(early.every((number) => known.mayHave(key(number), sql))).toBe(true)
  known.add(key(700))
  expect(known.mayHave(key(700), sql)).toBe(true)
})

test('beside another process that writes, or may, every key is asked for', async () => {
  const sql = await openCache()
  const state = { now: 10_000 }
  const create = () => createKnownKeys(() => state.now)
  const [one, other] = [create(), create()]
  const settled = async () => {
    one.mayHave(key(1), sql)
    await new Promise((resolve) => setTimeout(resolve, 50))
    return one.mayHave(key(1), sql)
  }
  await sql.batch([one.sign(state.now)])
  expect(await settled()).toBe(false)
  await sql.batch([other.sign(state.now)])
  state.now += 2_000
  expect(one.mayHave(key(1), sql)).toBe(true) // the last look was too long ago
  expect(await settled()).toBe(true)
  await putKeys(sql, [1])
  state.now += 3_000_000
  expect(await settled()).toBe(true)
  state.now += 3_000_000 // the other has gone, and what it has put is known
  expect(await settled()).toBe(true)
  expect(one.mayHave(key(2), sql)).toBe(false)
})

test('a database that cannot be asked is asked for every key, and tells itself why that fails', async () => {
  const { sql } = await open()
  const known = createKnownKeys(() => 10_000)
  const failing: Sql = { all: () => Promise.reject(new Error('locked')), batch: sql.batch }
  expect(known.mayHave(key(1), failing)).toBe(true)
  await new Promise((resolve) => setTimeout(resolve, 10))
  expect(known.mayHave(key(1), failing)).toBe(true)
})
