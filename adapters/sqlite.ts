import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { Env, Given } from '../src/index.ts'
import { createManagement } from '../src/manage/app.ts'
import { createSettings } from '../src/store/settings.ts'
import type { Sql, SqlRow, SqlValue } from '../src/store/sql.ts'
import { createSqlCache } from '../src/store/sql-cache.ts'
import { createSqlConfig } from '../src/store/sql-config.ts'
import { createSqlCounters } from '../src/store/sql-counters.ts'
import { createSqlLogs } from '../src/store/sql-logs.ts'
import { parts } from './parts.ts'
import { report } from './server.ts'

/** What `node:sqlite` and `bun:sqlite` have in common, as far as it is used here. */
interface Database {
  exec(text: string): void
  prepare(text: string): Prepared
  /** Of Node and Deno. */
  readonly isTransaction?: boolean
  /** Of Bun. */
  readonly inTransaction?: boolean
}
interface Prepared {
  all(...values: SqlValue[]): unknown[]
  run(...values: SqlValue[]): unknown
}

/** How long a statement waits for another process; the whole event loop waits with it. */
const busyMs = 50
/** Statements kept ready; past it they are made anew each time. */
const preparedMax = 200

/** The embedded stores of a folder, a file each, with the environment and the parts that need no store. */
export async function givenBy(env: Env | undefined, data: string | undefined): Promise<Given> {
  const own = { ...parts, ...(env && { env }) }
  if (data === undefined) return own
  return {
    ...own,
    manage: createManagement,
    logs: createSqlLogs(await openSqlite(data, 'logs')),
    counters: createSqlCounters(await openSqlite(data, 'counters'), { report }),
    cache: createSqlCache(await openSqlite(data, 'cache')),
    settings: createSettings(createSqlConfig(await openSqlite(data, 'config')), env ?? {}),
  }
}

/**
 * A database in a folder, which is made if need be. Calls are carried out at once, in order.
 * @throws the file system's errors, for a folder that cannot be had
 */
export async function openSqlite(folder: string, name: string): Promise<Sql> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, `${name}.sqlite`)
  // Nobody else's to read; what SQLite puts beside it gets the same.
  closeSync(openSync(file, 'a', 0o600))
  chmodSync(file, 0o600)
  const db = await open(file)
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = ${busyMs}`)
  const prepared = new Map<string, Prepared>()
  const prepare = (text: string): Prepared => {
    const known = prepared.get(text)
    const made = known ?? db.prepare(text)
    if (!known && prepared.size < preparedMax) prepared.set(text, made)
    return made
  }
  return {
    async all(text, ...values) {
      return prepare(text).all(...values) as SqlRow[]
    },
    async batch(statements) {
      db.exec('BEGIN IMMEDIATE')
      try {
        for (const [text, ...values] of statements) prepare(text).run(...values)
        db.exec('COMMIT')
      } catch (error) {
        if (db.isTransaction ?? db.inTransaction) db.exec('ROLLBACK') // a full disk has already rolled it back
        throw error
      }
    },
  }
}

async function open(file: string): Promise<Database> {
  if ('Bun' in globalThis) {
    const { Database } = (await import('bun:sqlite' as string)) as {
      Database: new (file: string) => Database
    }
    return new Database(file)
  }
  const { DatabaseSync } = await import('node:sqlite')
  return new DatabaseSync(file) as unknown as Database
}
