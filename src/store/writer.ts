import { pause } from '../pause.ts'
import type { LogEntry, Logs } from './logs.ts'

/** Rows written together at the most: some 2 ms of a database's time. */
const batchRows = 100
/** Bodies made in one go: some 10 ms of the process's time. */
const batchBytes = 524_288
/** An entry waits at most this long: what a process that is killed may lose. */
const flushMs = 500
/** Entries that wait while the store cannot be reached; what comes after is counted as lost. */
const waitingRows = 10_000
/** Bytes of bodies that wait. */
const waitingBytes = 64 << 20
/** Between two tries to reach a store. */
const retryMs = 2_000
/** A batch that was begun this long ago belonged to a request that was cut off, and is written anew. */
const abandonedMs = 10_000
/** Rows of a gateway written between two looks at its retention, and time. */
const trimRows = 1_000
const trimMs = 600_000
/** A gateway that takes no more is asked again whether it does this often. */
const fullMs = 2_000
/** Between two words about lost entries. */
const lostMs = 60_000
/** A batch that the store refuses this often is lost, so that others are written. */
const batchTries = 5

/** How recording fares. */
export interface Health {
  /** Whether what was to be written last was. */
  readonly status: 'ok' | 'degraded'
  /** Entries that were lost since the start. */
  readonly lost: number
  /** Entries that are not written yet. */
  readonly waiting: number
}

/** What a gateway's logs are kept for. */
export interface Retention {
  readonly rows: number
  /** What gives way when there are as many, which is looked at every 1,000 rows and every 10 minutes. */
  readonly strategy: 'STOP_INSERTING' | 'DELETE_OLDEST'
  /** Milliseconds; undefined: for ever. */
  readonly ageMs?: number
}

/** An entry that is made when it is written, so that no answer waits for that. */
export interface PendingEntry {
  readonly gateway: string
  /** Held until then. */
  readonly bytes: number
  make(): LogEntry
}

/** Writes logs behind the answers. */
export interface LogWriter {
  /** Never throws, never waits. */
  add(entry: PendingEntry): void
  /** Write what waits, once. Never rejects. */
  flush(): Promise<void>
  health(): Health
}

/** What a writer is made of. */
export interface WriterOptions {
  readonly logs: Logs
  readonly retentionOf: (gateway: string) => Retention
  readonly report: (where: string, error: unknown) => void
  /** Keeps the work going where a runtime ends it with the response. */
  readonly defer?: ((work: Promise<unknown>) => void) | undefined
}

const toMade = (entry: LogEntry): PendingEntry => ({
  gateway: entry.row.gateway,
  bytes: (entry.bodies.request?.length ?? 0) + (entry.bodies.response?.length ?? 0),
  make: () => entry,
})

/** A store that cannot be reached costs records, with a word to `report`, and never an answer. */
export function createLogWriter(options: WriterOptions): LogWriter {
  const writer = new Writer(options)
  return {
    add: (entry) => writer.add(entry),
    flush: () => writer.settle(),
    health: () => writer.health(),
  }
}

class Writer {
  readonly #options: WriterOptions
  /** Taken out before they are written: work of one request may not wait for that of another, which may be cut off. */
  readonly #waiting: PendingEntry[] = []
  readonly #writing = new Map<
    Promise<boolean>,
    { readonly batch: readonly PendingEntry[]; readonly since: number }
  >()
  /** Rows written since a gateway's retention was looked at, and when that was. */
  readonly #untrimmed = new Map<string, { rows: number; since: number }>()
  /** Gateways that take no more, and when that was found. */
  readonly #full = new Map<string, number>()
  #bytes = 0
  #lost = 0
  #isDegraded = false
  #refusals = 0
  #toldLostAt = Number.NEGATIVE_INFINITY
  /** When the next write is due, in ms since the epoch; 0 when none is. */
  #dueAt = 0
  /** When a write was begun ahead of that; 0 when none is. */
  #hurriedAt = 0

  constructor(options: WriterOptions) {
    this.#options = options
  }

  add(entry: PendingEntry): void {
    if (this.#isFull(entry.gateway)) return
    if (this.#waiting.length >= waitingRows || this.#bytes + entry.bytes > waitingBytes) {
      this.#lose(1)
      return
    }
    this.#waiting.push(entry)
    this.#bytes += entry.bytes
    const isMuch = this.#waiting.length >= batchRows || this.#bytes >= batchBytes
    if (isMuch && !this.#isDegraded) this.#hurry()
    else this.#later(flushMs)
  }

  /** Not at once, since rows are made then, and whose answer ends just now would wait for them. */
  #hurry(): void {
    const now = Date.now()
    if (now - this.#hurriedAt < flushMs) return
    this.#hurriedAt = now
    this.#defer(
      pause(0)
        .then(() => this.#flush())
        .then(() => {
          this.#hurriedAt = 0
        }),
    )
  }

  #defer(work: Promise<void>): void {
    this.#options.defer?.(work)
  }

  #lose(entries: number): void {
    this.#lost += entries
    const now = Date.now()
    if (now - this.#toldLostAt < lostMs) return
    this.#toldLostAt = now
    this.#options.report('records are lost', new Error(`${this.#lost} since the start`))
  }

  #isFull(gateway: string): boolean {
    const since = this.#full.get(gateway)
    if (since === undefined) return false
    if (Date.now() - since >= fullMs) {
      this.#full.set(gateway, Date.now())
      this.#defer(this.#retainOrTell(gateway))
    }
    return true
  }

  health(): Health {
    const waiting = this.#waiting.length + this.#writing.size
    return { status: this.#isDegraded ? 'degraded' : 'ok', lost: this.#lost, waiting }
  }

  /** Write what waits, and wait for what is being written. */
  async settle(): Promise<void> {
    await this.#flush()
    await Promise.all(this.#writing.keys())
  }

  async #flush(): Promise<void> {
    this.#reclaim()
    let isWritten = true
    while (this.#waiting.length > 0 && isWritten) {
      const batch = this.#take()
      const one = this.#write(batch)
      this.#writing.set(one, { batch, since: Date.now() })
      isWritten = await one
      this.#writing.delete(one)
      if (this.#waiting.length > 0) await pause(0) // others may want the process meanwhile
    }
    if (!isWritten) this.#later(retryMs)
  }

  #reclaim(): void {
    for (const [one, { batch, since }] of this.#writing) {
      if (Date.now() - since < abandonedMs) continue
      this.#writing.delete(one)
      this.#waiting.unshift(...batch)
      for (const { bytes } of batch) this.#bytes += bytes
    }
  }

  async #write(batch: readonly PendingEntry[]): Promise<boolean> {
    const { logs, report } = this.#options
    const entries = batch.flatMap((entry) => this.#make(entry))
    for (const { bytes } of batch) this.#bytes -= bytes
    try {
      await logs.append(entries)
    } catch (error) {
      if (!this.#isDegraded) report('logs cannot be written', error)
      this.#isDegraded = true
      this.#refusals += 1
      // Behind the others: what is refused again and again may be refused for itself.
      if (this.#refusals % batchTries === 0) await this.#writeApart(entries)
      else this.#keep(entries)
      return false
    }
    this.#isDegraded = false
    this.#refusals = 0
    await this.#trim(entries)
    return true
  }

  #keep(entries: readonly LogEntry[]): void {
    const made = entries.map(toMade)
    this.#waiting.unshift(...made)
    for (const { bytes } of made) this.#bytes += bytes
  }

  /** One by one, so that a store which takes some of them is told from one that takes none. */
  async #writeApart(entries: readonly LogEntry[]): Promise<void> {
    const refused: LogEntry[] = []
    for (const entry of entries) await this.#options.logs.append([entry]).catch(() => refused.push(entry))
    if (refused.length < entries.length) this.#lose(refused.length)
    else this.#keep(refused)
  }

  /** The next batch, out of what waits. */
  #take(): PendingEntry[] {
    let count = 0
    let bytes = 0
    while (count < this.#waiting.length && count < batchRows && bytes < batchBytes) {
      bytes += this.#waiting[count]?.bytes ?? 0
      count += 1
    }
    return this.#waiting.splice(0, count)
  }

  #make(entry: PendingEntry): LogEntry[] {
    try {
      return [entry.make()]
    } catch (error) {
      this.#lost += 1
      this.#options.report('a record cannot be made', error)
      return []
    }
  }

  async #trim(batch: readonly LogEntry[]): Promise<void> {
    const now = Date.now()
    for (const { row } of batch) {
      const own = this.#untrimmed.get(row.gateway) ?? { rows: 0, since: Number.NEGATIVE_INFINITY }
      own.rows += 1
      this.#untrimmed.set(row.gateway, own)
    }
    for (const [gateway, own] of this.#untrimmed) {
      if (own.rows < trimRows && now - own.since < trimMs) continue
      this.#untrimmed.set(gateway, { rows: 0, since: now })
      await this.#retainOrTell(gateway)
    }
  }

  #retainOrTell(gateway: string): Promise<void> {
    return this.#retain(gateway).catch((error: unknown) =>
      this.#options.report('logs cannot be trimmed', error),
    )
  }

  async #retain(gateway: string): Promise<void> {
    const { logs, retentionOf } = this.#options
    const { rows, strategy, ageMs } = retentionOf(gateway)
    const before = ageMs === undefined ? 0 : Date.now() - ageMs
    const isStopping = strategy === 'STOP_INSERTING'
    await logs.trim(gateway, isStopping ? Number.MAX_SAFE_INTEGER : rows, before)
    if (isStopping && (await logs.count({ gateway, filters: [] })) >= rows)
      this.#full.set(gateway, Date.now())
    else this.#full.delete(gateway)
  }

  #later(ms: number): void {
    const now = Date.now()
    // One that is overdue was cut off with the request that it was begun in.
    if (now < this.#dueAt + flushMs) return
    this.#dueAt = now + ms
    const work = pause(ms).then(() => {
      this.#dueAt = 0
      return this.#flush()
    })
    this.#options.defer?.(work)
  }
}
