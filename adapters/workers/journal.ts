import type { DurableStorage } from 'cloudflare:workers'
import type { Head, Journal, Run, RunRecord, SessionStart, Terminal } from '../../src/index.ts'

/** Events are written together: so many bytes at once, or what came within so many milliseconds. */
const flushBytes = 65_536
const flushMs = 200

interface RunRow {
  readonly id: string
  readonly init: string
  readonly first: number
  readonly digest: string | null
  readonly head: string | null
  readonly terminal: string | null
  readonly ended_at: number | null
}

interface EventRow {
  readonly seq: number
  readonly bytes: ArrayBuffer
}

/** SQLite of a Durable Object takes no larger value. */
const rowBytesMax = 2_000_000

/** A session and its runs in the SQLite of its Durable Object. What was written outlives an eviction. */
export class SqlJournal implements Journal {
  readonly #sql: DurableStorage['sql']
  readonly #keepBytes: number
  /** Events that are not written yet, by run. */
  readonly #pending = new Map<string, { bytes: number; events: { seq: number; bytes: Uint8Array }[] }>()
  #timer: ReturnType<typeof setTimeout> | undefined
  #isMade = false

  constructor(sql: DurableStorage['sql'], keepBytes: number) {
    this.#sql = sql
    this.#keepBytes = keepBytes
  }

  /** An object that keeps nothing has no tables, and is dropped by the platform. */
  #make(): void {
    if (this.#isMade) return
    this.#isMade = true
    this.#sql.exec('CREATE TABLE IF NOT EXISTS session (id INTEGER PRIMARY KEY, start TEXT NOT NULL)')
    this.#sql.exec(
      'CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, init TEXT NOT NULL, first INTEGER NOT NULL DEFAULT 0, digest TEXT, head TEXT, terminal TEXT, ended_at INTEGER)',
    )
    this.#sql.exec(
      'CREATE TABLE IF NOT EXISTS events (run TEXT NOT NULL, seq INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (run, seq)) WITHOUT ROWID',
    )
  }

  /** Whose session this object holds. */
  keep(start: SessionStart): void {
    this.#make()
    this.#sql.exec('INSERT OR REPLACE INTO session (id, start) VALUES (1, ?)', JSON.stringify(start))
  }

  /** The session, if one is held. */
  start(): SessionStart | undefined {
    if (!this.#has('session')) return undefined
    const [row] = this.#sql.exec<{ start: string }>('SELECT start FROM session').toArray()
    return row && (JSON.parse(row.start) as SessionStart)
  }

  /** The runs that are held. */
  runs(): RunRecord[] {
    if (!this.#has('runs')) return []
    this.#isMade = true
    return this.#sql
      .exec<RunRow>('SELECT * FROM runs ORDER BY id')
      .toArray()
      .map((row) => this.#read(row))
  }

  #has(table: string): boolean {
    const query = "SELECT 1 AS one FROM sqlite_master WHERE type = 'table' AND name = ?"
    return this.#sql.exec(query, table).toArray().length > 0
  }

  #read({ id, init, first, digest, head, terminal, ended_at }: RunRow): RunRecord {
    const query = 'SELECT seq, bytes FROM events WHERE run = ? ORDER BY seq'
    const rows = this.#sql.exec<EventRow>(query, id).toArray()
    return {
      init: {
        ...(JSON.parse(init) as RunRecord['init']),
        ...(digest && { digest: Promise.resolve(digest) }),
      },
      ...(head && { head: JSON.parse(head) as Head }),
      ...(terminal && { terminal: JSON.parse(terminal) as Terminal }),
      ...(ended_at !== null && { endedAt: ended_at }),
      first: rows[0]?.seq ?? first,
      events: rows.map((row) => new Uint8Array(row.bytes)),
    }
  }

  create({ init }: Run): void {
    this.#make()
    const { id, eventId, owner, onDisconnect, raw, digest } = init
    const kept = JSON.stringify({ id, eventId, owner, onDisconnect, raw })
    this.#sql.exec('INSERT INTO runs (id, init) VALUES (?, ?)', id, kept)
    void digest?.then((hash) => this.#sql.exec('UPDATE runs SET digest = ? WHERE id = ?', hash, id))
  }

  head(run: Run, head: Head): void {
    this.#sql.exec('UPDATE runs SET head = ? WHERE id = ?', JSON.stringify(head), run.id)
  }

  append(run: Run, seq: number, bytes: Uint8Array): void {
    // Not kept are what is too large, as what lies before it can be no beginning of what comes after; and errors, as
    // providers quote the key they refuse.
    if (bytes.byteLength > rowBytesMax || (run.head?.status ?? 0) >= 400) {
      this.#cut(run, seq)
      return
    }
    const pending = this.#pending.get(run.id) ?? { bytes: 0, events: [] }
    this.#pending.set(run.id, pending)
    pending.events.push({ seq, bytes })
    pending.bytes += bytes.byteLength
    if (pending.bytes >= flushBytes) this.#flush(run)
    else this.#timer ??= setTimeout(() => this.#flushAll(), flushMs)
  }

  end(run: Run, terminal: Terminal): void {
    this.#flush(run)
    const query = 'UPDATE runs SET terminal = ?, ended_at = ? WHERE id = ?'
    this.#sql.exec(query, JSON.stringify(terminal), Date.now(), run.id)
  }

  drop(runId: string): void {
    this.#pending.delete(runId)
    this.#sql.exec('DELETE FROM events WHERE run = ?', runId)
    this.#sql.exec('DELETE FROM runs WHERE id = ?', runId)
  }

  /** All of it has been deleted. */
  forget(): void {
    this.#isMade = false
    this.#pending.clear()
  }

  #cut(run: Run, seq: number): void {
    this.#pending.delete(run.id)
    this.#sql.exec('DELETE FROM events WHERE run = ?', run.id)
    this.#sql.exec('UPDATE runs SET first = ? WHERE id = ?', seq + 1, run.id)
  }

  #flushAll(): void {
    this.#timer = undefined
    for (const id of [...this.#pending.keys()]) this.#write(id)
  }

  #flush(run: Run): void {
    this.#write(run.id)
    // What memory no longer keeps is not kept here either.
    if (run.keptBytes >= this.#keepBytes)
      this.#sql.exec('DELETE FROM events WHERE run = ? AND seq < ?', run.id, run.first)
  }

  #write(id: string): void {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    for (const { seq, bytes } of pending?.events ?? [])
      this.#sql.exec('INSERT OR REPLACE INTO events (run, seq, bytes) VALUES (?, ?, ?)', id, seq, bytes)
  }
}
