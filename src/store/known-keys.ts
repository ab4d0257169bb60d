import { newId } from '../ids.ts'
import { pause } from '../pause.ts'
import type { Sql, Statement } from './sql.ts'

/** Of a Bloom filter, a power of two: a megabyte, by which of a million keys one in thirty that is not there may be. */
const bits = 8_388_608
/** Digits of a digest in hex that make one place of it, and how many it has. */
const placeDigits = 6
const places = 3
/** Keys after which the filter is made anew, as what has gone from the database stays in it. */
const addedMax = 2_000_000
/** How often it is looked whether this is the only process that writes. */
const lookMs = 1_000
/** A process that has written nothing for so long writes no more. */
const writerMs = 3_600_000
/** Keys read in one go: some 1 ms of the process's time. */
const pageKeys = 200

/** What this needs beside the table `cache`. */
export const knownKeysSteps: readonly string[] = [
  'CREATE TABLE cache_writers (id TEXT PRIMARY KEY, put_at BIGINT NOT NULL)',
]

/** Which keys the table `cache` of a database may have, known without asking it. */
export interface KnownKeys {
  /** A key was put. */
  add(key: string): void
  /** Tells other processes that this one writes: part of the batch that does. */
  sign(at: number): Statement
  /** False only for what is not there, but for what another process has begun to put within the last second or two. */
  mayHave(key: string, sql: Sql): boolean
}

/**
 * A Bloom filter (Bloom 1970) of digests in hex, which are their own hashes. What is there already is read in the
 * background, and until then anything may be there; so it may while another process writes to the same database.
 */
export function createKnownKeys(now: () => number): KnownKeys {
  const id = newId()
  let words: Uint32Array | undefined
  let added = 0
  let isComplete = false
  let isLooking = false
  let lookedAt = Number.NEGATIVE_INFINITY

  const add = (key: string): void => {
    words ??= new Uint32Array(bits / 32)
    for (const place of placesOf(key)) words[place >>> 5]! |= 1 << (place & 31)
    added += 1
    isComplete &&= added <= addedMax
  }
  const has = (key: string): boolean =>
    placesOf(key).every((place) => ((words?.[place >>> 5] ?? 0) & (1 << (place & 31))) !== 0)

  const read = async (sql: Sql): Promise<void> => {
    if (added > addedMax) words = undefined
    added = 0
    for (let last: string | undefined = ''; last !== undefined; await pause(0)) {
      const rows = await sql.all('SELECT key FROM cache WHERE key > ? ORDER BY key LIMIT ?', last, pageKeys)
      for (const { key } of rows) add(String(key))
      last = rows.length === pageKeys ? String(rows.at(-1)?.key) : undefined
    }
  }
  const look = async (sql: Sql, at: number): Promise<void> => {
    isLooking = true
    try {
      const [other] = await sql.all(selectOther, id, at - writerMs)
      if (!other && !isComplete) await read(sql)
      isComplete = !other
    } catch {
      isComplete = false // each key is asked for, and who asks is told why that fails
    }
    lookedAt = at
    isLooking = false
  }

  return {
    add,
    sign: (at) => [sign, id, at],
    mayHave(key, sql) {
      const at = now()
      const isKnown = at - lookedAt < lookMs
      if (!isKnown && !isLooking) void look(sql, at)
      return !isKnown || !isComplete || has(key)
    },
  }
}

const selectOther = 'SELECT id FROM cache_writers WHERE id <> ? AND put_at >= ? LIMIT 1'
const sign =
  'INSERT INTO cache_writers (id, put_at) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET put_at = excluded.put_at'

/** Forgets those that write no more. */
export const forgetWriters = (now: number): Statement => [
  'DELETE FROM cache_writers WHERE put_at < ?',
  now - 2 * writerMs,
]

const placesOf = (digest: string): number[] =>
  Array.from({ length: places }, (_, index) => {
    const start = index * placeDigits
    return Number.parseInt(digest.slice(start, start + placeDigits), 16) % bits
  })
