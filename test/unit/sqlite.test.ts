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

async function openKeys(sql: Sql, keys: readonly number[], now = 1_000): Promise<void> {
  const rows = keys.map(
    (number) => ['INSERT INTO cache (key, put_at) VALUES (?, ?)', key(number), now] as const,
  )
  await sql.batch(rows)
}

test('keys of before and of other processes are found, and what was never put is not asked for', async () => {
  const { sql } = await open()
  const state = { now: 1_000 }
  const create = () => createKnownKeys(() => state.now)
  await sql.batch([
    ['CREATE TABLE cache (key TEXT PRIMARY KEY)'],
    ...knownKeysSteps.map((step) => [step] as const),
  ])
  const early = Array.from({ length: 500 }, (_, number) => number)
  await openKeys(sql, early)
  const one = create()
  expect(one.mayHave(key(9_999), sql)).toBe(true) // nothing is known yet
  await expect.poll(() => one.mayHave(key(9_999), sql)).toBe(false)
  expect(early.every((number) => one.mayHave(key(number), sql))).toBe(true)
  one.add(key(700))
  expect(one.mayHave(key(700), sql)).toBe(true)

  const other = create()
  state.now += 5_000
  await openKeys(sql, [800], state.now)
  await sql.batch([other.sign(state.now)])
  expect(one.mayHave(key(800), sql)).toBe(false)
  await expect.poll(() => one.mayHave(key(800), sql)).toBe(true)

  state.now += 5_000
  one.mayHave(key(800), sql)
  await new Promise((resolve) => setTimeout(resolve, 50))
  state.now += 5_000
  await openKeys(sql, [801], state.now)
  await sql.batch([one.sign(state.now)]) // its own are not looked for
  one.mayHave(key(801), sql)
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(one.mayHave(key(801), sql)).toBe(false)
})

test('a database that cannot be asked is asked for every key, and tells itself why that fails', async () => {
  const { sql } = await open()
  const known = createKnownKeys(() => 10_000)
  const failing: Sql = { all: () => Promise.reject(new Error('locked')), batch: sql.batch }
  expect(known.mayHave(key(1), failing)).toBe(true)
  await new Promise((resolve) => setTimeout(resolve, 10))
  expect(known.mayHave(key(1), failing)).toBe(true)
})
