import { pause } from '../pause.ts'
import type { Cache, CacheEntry } from './cache.ts'
import { migrate, type Sql, type SqlRow, type Statement } from './sql.ts'

/** A value of some stores is no larger than 2 MB. */
const partBytes = 1_048_576
/** Bytes in the database; past it the ones that expire first go. */
const storeBytes = 1_073_741_824
/** Entries that come within this time are written together: a transaction costs ten times what it writes. */
const gatherMs = 10
/** Bytes of bodies that wait for that; past it they are written at once. */
const gatherBytes = 1_048_576
/** Entries written between two looks at what may go. */
const sweepEntries = 100

const steps = [
  [
    'CREATE TABLE cache (key TEXT PRIMARY KEY, gateway TEXT NOT NULL, expires_at BIGINT NOT NULL, size BIGINT NOT NULL, head TEXT NOT NULL)',
    'CREATE INDEX cache_by_end ON cache (expires_at)',
    'CREATE TABLE cache_parts (key TEXT NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (key, part))',
  ],
]
const upsert =
  'INSERT INTO cache (key, gateway, expires_at, size, head) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET gateway = excluded.gateway, expires_at = excluded.expires_at, size = excluded.size, head = excluded.head'

/** A cache in a SQL database; its tables are made at the first use. */
export function createSqlCache(sql: Sql, now: () => number = Date.now): Cache {
  let ready: Promise<void> | undefined
  let unswept = 0
  /** What waits to be written, by key, and its being written. */
  let waiting = new Map<string, Waiting>()
  let waitingBytes = 0
  let written: Promise<void> | undefined
  const open = async (): Promise<Sql> => {
    ready ??= migrate(sql, 'cache', steps).catch((error: unknown) => {
      ready = undefined // a locked file may be free the next time
      throw error
    })
    await ready
    return sql
  }

  const write = async (): Promise<void> => {
    const entries = [...waiting]
    waiting = new Map()
    waitingBytes = 0
    written = undefined
    if (entries.length === 0) return // written at once meanwhile
    const db = await open()
    await db.batch(entries.flatMap(toStatements))
    unswept += entries.length
    if (unswept < sweepEntries) return
    unswept = 0
    await sweep(db, now())
  }

  return {
    async get(key) {
      const own = waiting.get(key)?.entry
      if (own) return own.expiresAt > now() ? own : undefined
      const db = await open()
      const [row] = await db.all(
        'SELECT head, expires_at FROM cache WHERE key = ? AND expires_at > ?',
        key,
        now(),
      )
      if (!row) return undefined
      const parts = await db.all('SELECT bytes FROM cache_parts WHERE key = ? ORDER BY part', key)
      return toEntry(row, parts)
    },
    put(key, gateway, entry) {
      waiting.set(key, { gateway, entry })
      waitingBytes += entry.body.byteLength
      written ??= pause(gatherMs).then(write)
      return waitingBytes > gatherBytes ? write() : written
    },
    async clear(gateway) {
      for (const [key, one] of waiting) if (one.gateway === gateway) waiting.delete(key)
      await remove(await open(), 'SELECT key FROM cache WHERE gateway = ?', gateway)
    },
  }
}

interface Waiting {
  readonly gateway: string
  readonly entry: CacheEntry
}

function toStatements([key, { gateway, entry }]: [string, Waiting]): Statement[] {
  const { body, expiresAt, ...head } = entry
  const parts = Array.from({ length: Math.ceil(body.byteLength / partBytes) }, (_, part): Statement => {
    const bytes = body.subarray(part * partBytes, (part + 1) * partBytes)
    return ['INSERT INTO cache_parts (key, part, bytes) VALUES (?, ?, ?)', key, part, bytes]
  })
  const text = JSON.stringify(head)
  return [
    [upsert, key, gateway, expiresAt, body.byteLength + text.length, text],
    ['DELETE FROM cache_parts WHERE key = ?', key],
    ...parts,
  ]
}

function toEntry({ head, expires_at }: SqlRow, parts: readonly SqlRow[]): CacheEntry {
  const pieces = parts.map(({ bytes }) => bytes as Uint8Array)
  const body = new Uint8Array(pieces.reduce((size, piece) => size + piece.byteLength, 0))
  let at = 0
  for (const piece of pieces) {
    body.set(piece, at)
    at += piece.byteLength
  }
  return {
    ...(JSON.parse(String(head)) as Omit<CacheEntry, 'body' | 'expiresAt'>),
    body,
    expiresAt: Number(expires_at),
  }
}

/** What is no longer fresh goes, and, over `storeBytes`, what would go next. */
async function sweep(db: Sql, now: number): Promise<void> {
  await remove(db, 'SELECT key FROM cache WHERE expires_at <= ?', now)
  const [row] = await db.all('SELECT sum(size) AS total FROM cache')
  if (Number(row?.total ?? 0) <= storeBytes) return
  const [middle] = await db.all('SELECT avg(expires_at) AS until FROM cache')
  await remove(db, 'SELECT key FROM cache WHERE expires_at <= ?', Number(middle?.until ?? 0))
}

async function remove(db: Sql, keys: string, value: string | number): Promise<void> {
  await db.batch([
    [`DELETE FROM cache_parts WHERE key IN (${keys})`, value],
    [`DELETE FROM cache WHERE key IN (${keys})`, value],
  ])
}
