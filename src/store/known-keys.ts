import { newId } from '../ids.ts'
import { pause } from '../pause.ts'
import type { Sql, SqlValue, Statement } from './sql.ts'

/** Of a Bloom filter, a power of two: a megabyte, by which of a million keys one in thirty that is not there may be. */
const bits = 8_388_608
/** Digits of a digest in hex that make one place of it, and how many it has. */
const placeDigits = 6
const places = 3
/** How long it takes until what another process has kept is looked for. */
const lookMs = 1_000
/** What another process writes now may be this old by its own account. */
const lateMs = 2_000
/** Keys read in one go: some 1 ms of the process's time. */
const pageKeys = 200
/** A process that has written nothing for so long is forgotten. */
export const writerMs = 86_400_000

/** What `createKnownKeys` needs beside the table `cache`, of which `put_at` tells when a row was put. */
export const knownKeysSteps: readonly string[] = [
  'ALTER TABLE cache ADD COLUMN put_at BIGINT NOT NULL DEFAULT 0',
  'CREATE INDEX cache_by_put ON cache (put_at, key)',
  'CREATE TABLE cache_writers (id TEXT PRIMARY KEY, put_at BIGINT NOT NULL)',
]

/** Which keys a database may have, known without asking it. */
export interface KnownKeys {
  /** A key was put. */
  add(key: string): void
  /** Tells other processes that keys were put now: part of the same batch. */
  sign(at: number): Statement
  /** False only for what is not there, or was put by another process within the last seconds. */
  mayHave(key: string, sql: Sql): boolean
}

/**
 * A Bloom filter (Bloom 1970) of digests in hex, which are their own hashes. What is there already is read in the
 * background, and until then anything may be there; so is what other processes put. What goes stays in it.
 */
export function createKnownKeys(now: () => number): KnownKeys {
  let words: Uint32Array | undefined
  const id = newId()
  let isLoaded = false
  let isLooking = false
  let lookedAt = 0

  const add = (key: string): void => {
    words ??= new Uint32Array(bits / 32)
    for (const place of placesOf(key)) words[place >>> 5]! |= 1 << (place & 31)
  }
  const read = async (sql: Sql, since: number): Promise<void> => {
    let [at, key]: [SqlValue, SqlValue] = [since, '']
    for (let isMore = true; isMore; await pause(0)) {
      const rows = await sql.all(select, at, key, pageKeys)
      for (const row of rows) add(String(row.key))
      const last = rows.at(-1)
      isMore = rows.length === pageKeys
      if (last) [at, key] = [last.put_at ?? 0, last.key ?? '']
    }
  }
  const look = async (sql: Sql, since: number): Promise<void> => {
    const [other] = isLoaded ? await sql.all(selectOther, id, since) : [true]
    if (other) await read(sql, since)
    isLoaded = true
  }

  return {
    add,
    sign: (at) => [sign, id, at],
    mayHave(key, sql) {
      const at = now()
      if (!isLooking && at - lookedAt >= lookMs) {
        const since = isLoaded ? lookedAt - lateMs : 0
        isLooking = true
        lookedAt = at
        void look(sql, since)
          .catch(() => {
            isLoaded = false // each key is asked for, and who asks is told why that fails
          })
          .finally(() => {
            isLooking = false
          })
      }
      return (
        !isLoaded || placesOf(key).every((place) => ((words?.[place >>> 5] ?? 0) & (1 << (place & 31))) !== 0)
      )
    },
  }
}

const select = 'SELECT put_at, key FROM cache WHERE (put_at, key) > (?, ?) ORDER BY put_at, key LIMIT ?'
const selectOther = 'SELECT id FROM cache_writers WHERE id <> ? AND put_at >= ? LIMIT 1'
const sign =
  'INSERT INTO cache_writers (id, put_at) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET put_at = excluded.put_at'

const placesOf = (digest: string): number[] =>
  Array.from({ length: places }, (_, index) => {
    const start = index * placeDigits
    return Number.parseInt(digest.slice(start, start + placeDigits), 16) % bits
  })
