import { pause } from '../pause.ts'
import type { LogEntry, Logs } from './logs.ts'

/** Rows written together at the most: some 2 ms of a database's time. */
const batchRows = 100
/** An entry waits at most this long: what a process that is killed may lose. */
const flushMs = 500
/** Entries that wait while the store cannot be reached; what comes after is counted as lost. */
const waitingRows = 10_000
/** Bytes of bodies that wait. */
const waitingBytes = 64 << 20
/** Between two tries to reach a store. */
const retryMs = 2_000
/** Rows of a gateway written between two looks at its retention. */
const trimRows = 1_000

/** How recording fares. */
export interface Health {
  readonly status: 'ok' | 'degraded'
  /** Entries that were lost since the start. */
  readonly lost: number
}

/** What a gateway's logs are kept for. */
export interface Retention {
  readonly rows: number
  /** What gives way when there are as many, which is looked at every 1,000 rows. */
  readonly strategy: 'STOP_INSERTING' | 'DELETE_OLDEST'
  /** Milliseconds; undefined: for ever. */
  readonly ageMs?: number
}

/** Writes logs behind the answers. */
export interface LogWriter {
  /** Never throws, never waits. */
  add(entry: LogEntry): void
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

const sizeOf = ({ bodies }: LogEntry): number =>
  (bodies.request?.length ?? 0) + (bodies.response?.length ?? 0)

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
  readonly #waiting: LogEntry[] = []
  readonly #writing = new Set<Promise<boolean>>()
  /** Rows written since a gateway's retention was looked at. */
  readonly #untrimmed = new Map<string, number>()
  /** Gateways that take no more. */
  readonly #full = new Set<string>()
  #bytes = 0
  #lost = 0
  #isDegraded = false
  /** When the next write is due, in ms since the epoch; 0 when none is. */
  #dueAt = 0

  constructor(options: WriterOptions) {
    this.#options = options
  }

  add(entry: LogEntry): void {
    if (this.#full.has(entry.row.gateway)) return
    const size = sizeOf(entry)
    if (this.#waiting.length >= waitingRows || this.#bytes + size > waitingBytes) {
      this.#lost += 1
      return
    }
    this.#waiting.push(entry)
    this.#bytes += size
    if (this.#waiting.length < batchRows || this.#isDegraded) this.#later(flushMs)
    else this.#options.defer?.(this.#flush())
  }

  health(): Health {
    return { status: this.#isDegraded || this.#lost > 0 ? 'degraded' : 'ok', lost: this.#lost }
  }

  /** Write what waits, and wait for what is being written. */
  async settle(): Promise<void> {
    await this.#flush()
    await Promise.all(this.#writing)
  }

  async #flush(): Promise<void> {
    let isWritten = true
    while (this.#waiting.length > 0 && isWritten) {
      const one = this.#writeBatch()
      this.#writing.add(one)
      isWritten = await one
      this.#writing.delete(one)
    }
    if (!isWritten) this.#later(retryMs)
  }

  async #writeBatch(): Promise<boolean> {
    const { logs, report } = this.#options
    const batch = this.#waiting.splice(0, batchRows)
    try {
      await logs.append(batch)
    } catch (error) {
      this.#waiting.unshift(...batch)
      if (!this.#isDegraded) report('logs cannot be written', error)
      this.#isDegraded = true
      return false
    }
    for (const entry of batch) this.#bytes -= sizeOf(entry)
    this.#isDegraded = false
    await this.#trim(batch)
    return true
  }

  async #trim(batch: readonly LogEntry[]): Promise<void> {
    for (const { row } of batch) this.#untrimmed.set(row.gateway, (this.#untrimmed.get(row.gateway) ?? 0) + 1)
    for (const [gateway, rows] of this.#untrimmed) {
      if (rows < trimRows) continue
      this.#untrimmed.delete(gateway)
      await this.#retain(gateway).catch((error: unknown) =>
        this.#options.report('logs cannot be trimmed', error),
      )
    }
  }

  async #retain(gateway: string): Promise<void> {
    const { logs, retentionOf } = this.#options
    const { rows, strategy, ageMs } = retentionOf(gateway)
    const before = ageMs === undefined ? 0 : Date.now() - ageMs
    const isStopping = strategy === 'STOP_INSERTING'
    await logs.trim(gateway, isStopping ? Number.MAX_SAFE_INTEGER : rows, before)
    if (isStopping && (await logs.count({ gateway, filters: [] })) >= rows) this.#full.add(gateway)
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
