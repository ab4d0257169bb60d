import type { Sql, SqlRow, SqlValue } from '../src/store/sql.ts'

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

/** How long a statement waits for another process, or another thread; all of its own thread waits with it. */
const busyMs = 50
/** Pages of the log after which they go to where they belong: 16 MB, so that those written often go there once. */
const walPages = 4_000
/** Statements kept ready; past it they are made anew each time. */
const preparedMax = 200

/** A database in a file. Calls are carried out at once, in order, on the thread they are made on. */
export async function openFile(file: string): Promise<Sql> {
  const db = await open(file)
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
  db.exec(`PRAGMA busy_timeout = ${busyMs}; PRAGMA wal_autocheckpoint = ${walPages}`)
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
