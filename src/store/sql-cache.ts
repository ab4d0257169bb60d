import { pause } from '../pause.ts'
import { join } from '../streams.ts'
import { type Cache, type CacheEntry, sizeOf } from './cache.ts'
import { createKnownKeys, forgetWriters, type KnownKeys, knownKeysSteps } from './known-keys.ts'
import { opener, type Sql, type SqlRow, type Statement } from './sql.ts'

/** A value of some stores is no larger than 2 MB. */
const partBytes = 1_048_576
/** A body up to this size stands in the row of its entry: a part of its own costs as much again. */
const inlineBytes = 65_536
/** Bytes in the database; past it the ones that expire first go. */
const storeBytes = 1_073_741_824
/**
 * Entries that come within this time are written together, as a transaction costs many times what it writes: some
 * milliseconds where each waits for the disk. What is lost with its process is asked for again.
 */
const gatherMs = 500
/** Bytes of entries that wait for that; past it they are written at once. */
const gatherBytes = 4_194_304
/** Bytes of entries that are not written yet; past it nothing more is kept. */
const unwrittenBytes = 67_108_864
/** Entries written between two looks at what is no longer fresh. */
const sweepEntries = 100
/** And time between two looks at the size of it all, which reads an index of it all. */
const sumMs = 10_000

const steps = [
  [
    'CREATE TABLE cache (key TEXT PRIMARY KEY, gateway TEXT NOT NULL, expires_at BIGINT NOT NULL, size BIGINT NOT NULL, head TEXT NOT NULL)',
    'CREATE INDEX cache_by_end ON cache (expires_at)',
    'CREATE TABLE cache_parts (key TEXT NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (key, part))',
  ],
  [
    ...knownKeysSteps,
    'ALTER TABLE cache ADD COLUMN body BLOB',
    'DROP INDEX cache_by_end',
    'CREATE INDEX cache_by_end ON cache (expires_at, size)',
  ],
]
const columns = ['gateway', 'expires_at', 'size', 'head', 'body']
const upsert = `INSERT INTO cache (key, ${columns.join(', ')}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET ${columns.map((name) => `${name} = excluded.${name}`).join(', ')}`

/** One statement, as another process or thread may write between two. */
const select =
  'SELECT c.head, c.body, c.size, c.expires_at, p.bytes FROM cache c LEFT JOIN cache_parts p ON p.key = c.key WHERE c.key = ? AND c.expires_at > ? ORDER BY p.part'

/** A cache in a SQL database, which is asked for what it may have only; its tables are made at the first use. */
export function createSqlCache(sql: Sql, options: Partial<SqlCacheOptions> = {}): Cache {
  const cache = new SqlCache(sql, { now: Date.now, gatherMs, ...options })
  return {
    get: (key) => cache.get(key),
    put: (key, gateway, entry) => cache.put(key, { gateway, entry }),
    clear: (gateway) => cache.clear(gateway),
  }
}

/** What differs in tests. */
export interface SqlCacheOptions {
  readonly now: () => number
  /** From a put to its being written, in milliseconds. */
  readonly gatherMs: number
}

interface Unwritten {
  readonly gateway: string
  readonly entry: CacheEntry
}

class SqlCache {
  readonly #open: () => Promise<Sql>
  readonly #now: () => number
  readonly #gatherMs: number
  readonly #known: KnownKeys
  /** What waits to be written, and what is being written. */
  #waiting = new Map<string, Unwritten>()
  readonly #writing = new Map<string, Unwritten>()
  #waitingBytes = 0
  #writingBytes = 0
  /** Of what waits: settles once it is written, or cannot be. */
  #written: PromiseWithResolvers<void> | undefined
  #unswept = 0
  #summedAt = 0

  constructor(sql: Sql, { now, gatherMs }: SqlCacheOptions) {
    this.#open = opener(sql, 'cache', steps)
    this.#now = now
    this.#gatherMs = gatherMs
    this.#known = createKnownKeys(now)
  }

  async get(key: string): Promise<CacheEntry | undefined> {
    const own = (this.#waiting.get(key) ?? this.#writing.get(key))?.entry
    if (own) return own.expiresAt > this.#now() ? own : undefined
    const db = await this.#open()
    if (!this.#known.mayHave(key, db)) return undefined
    return toEntry(await db.all(select, key, this.#now()))
  }

  /** Rejects where it could not be written. What finds too much unwritten is not kept. */
  put(key: string, one: Unwritten): Promise<void> {
    const bytes = sizeOf(one.entry)
    if (this.#waitingBytes + this.#writingBytes + bytes > unwrittenBytes) return Promise.resolve()
    this.#waiting.set(key, one)
    this.#waitingBytes += bytes
    this.#written ??= this.#begin()
    const { promise } = this.#written
    if (this.#waitingBytes > gatherBytes) void this.#write(this.#written)
    return promise
  }

  async clear(gateway: string): Promise<void> {
    for (const map of [this.#waiting, this.#writing])
      for (const [key, one] of map) if (one.gateway === gateway) map.delete(key)
    await remove(await this.#open(), 'SELECT key FROM cache WHERE gateway = ?', gateway)
  }

  #begin(): PromiseWithResolvers<void> {
    const written = Promise.withResolvers<void>()
    void pause(this.#gatherMs).then(() => this.#write(written))
    return written
  }

  /** Write what waits, unless that was done already. Never rejects. */
  async #write(written: PromiseWithResolvers<void>): Promise<void> {
    if (this.#written !== written) return
    const entries = [...this.#waiting]
    const bytes = this.#waitingBytes
    this.#waiting = new Map()
    this.#waitingBytes = 0
    this.#written = undefined
    this.#writingBytes += bytes
    for (const [key, one] of entries) this.#writing.set(key, one)
    await this.#insert(entries).then(written.resolve, written.reject)
    this.#writingBytes -= bytes
    for (const [key, one] of entries) if (this.#writing.get(key) === one) this.#writing.delete(key)
  }

  async #insert(entries: readonly [string, Unwritten][]): Promise<void> {
    const db = await this.#open()
    const at = this.#now()
    await db.batch([this.#known.sign(at), ...entries.flatMap(toStatements)])
    for (const [key] of entries) this.#known.add(key)
    this.#unswept += entries.length
    if (this.#unswept < sweepEntries) return
    this.#unswept = 0
    await remove(db, 'SELECT key FROM cache WHERE expires_at <= ?', at)
    if (at - this.#summedAt < sumMs) return
    this.#summedAt = at
    await makeRoom(db, at)
  }
}

function toStatements([key, { gateway, entry }]: [string, Unwritten]): Statement[] {
  const { body, expiresAt, ...head } = entry
  const text = JSON.stringify(head)
  const isInline = body.byteLength <= inlineBytes
  const row = [gateway, expiresAt, body.byteLength + text.length, text, isInline ? body : null]
  if (isInline) return [[upsert, key, ...row]]
  const parts = Array.from({ length: Math.ceil(body.byteLength / partBytes) }, (_, part): Statement => {
    const bytes = body.subarray(part * partBytes, (part + 1) * partBytes)
    return ['INSERT INTO cache_parts (key, part, bytes) VALUES (?, ?, ?)', key, part, bytes]
  })
  return [[upsert, key, ...row], ['DELETE FROM cache_parts WHERE key = ?', key], ...parts]
}

/** Undefined for one of which something is missing, as an older version may have written a part of it. */
function toEntry(rows: readonly SqlRow[]): CacheEntry | undefined {
  const [first] = rows
  if (!first) return undefined
  const head = String(first.head)
  const body = (first.body as Uint8Array<ArrayBuffer> | null) ?? joined(rows)
  if (body.byteLength + head.length !== Number(first.size)) return undefined
  return {
    ...(JSON.parse(head) as Omit<CacheEntry, 'body' | 'expiresAt'>),
    body,
    expiresAt: Number(first.expires_at),
  }
}

const joined = (rows: readonly SqlRow[]): Uint8Array<ArrayBuffer> =>
  join(rows.flatMap(({ bytes }) => (bytes ? [bytes as Uint8Array] : [])))

/** Of more than `storeBytes` goes what would go next. */
async function makeRoom(db: Sql, now: number): Promise<void> {
  await db.batch([forgetWriters(now)])
  const [row] = await db.all('SELECT sum(size) AS total, avg(expires_at) AS until FROM cache')
  if (Number(row?.total ?? 0) > storeBytes)
    await remove(db, 'SELECT key FROM cache WHERE expires_at <= ?', Number(row?.until ?? 0))
}

async function remove(db: Sql, keys: string, value: string | number): Promise<void> {
  await db.batch([
    [`DELETE FROM cache_parts WHERE key IN (${keys})`, value],
    [`DELETE FROM cache WHERE key IN (${keys})`, value],
  ])
}
