import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

/** What the emulator saw of one request. Times are milliseconds since the epoch, with fractions. */
export interface Entry {
  readonly id: number
  key?: string
  readonly method: string
  /** The raw request target, query included. */
  readonly path: string
  readonly headers: IncomingMessage['headers']
  /** Names as they were sent, and values, in turn. */
  readonly rawHeaders: readonly string[]
  /** Of the other end of its connection. */
  readonly port: number
  /** Up to 64 KiB. */
  body: string
  bodyBytes: number
  bodySha256?: string
  readonly startedAt: number
  status?: number
  headersSentAt?: number
  eventsSent: number
  /** When the emulator was done, well or as it was asked to break. */
  finishedAt?: number
  /** When the gateway left before the answer was done. */
  closedAt?: number
  how?: 'finished' | 'client_closed' | 'cut' | 'reset'
  /** Of a socket. */
  framesSeen?: number
  closeCode?: number
  closeReason?: string
}

/** Someone who waits for an entry. */
interface Waiter {
  readonly test: (entry: Entry) => boolean
  readonly resolve: (entry: Entry) => void
}

const bodyTextBytesMax = 64 << 10
/** Older ones are forgotten. */
const entriesMax = 50_000
const waitMs = 5_000

/** Milliseconds since the epoch. */
export const now = (): number => performance.timeOrigin + performance.now()

/** All requests seen, and when each ended and how. */
export class Ledger {
  readonly #entries = new Map<number, Entry>()
  readonly #open = new Set<Entry>()
  readonly #counts = new Map<string, number>()
  readonly #waiters = new Set<Waiter>()
  readonly #onEnd: (entry: Entry) => void
  #nextId = 0

  /** `onEnd` is told each entry, once it has ended. */
  constructor(onEnd: (entry: Entry) => void) {
    this.#onEnd = onEnd
  }

  /** Note a request, and watch its end. */
  begin(request: IncomingMessage, response: ServerResponse): Entry {
    const entry = this.open(request)
    response.once('finish', () => this.settle(entry, 'finished'))
    response.once('close', () => this.settle(entry, 'client_closed'))
    return entry
  }

  /** Note a request whose end is told. */
  open(request: IncomingMessage): Entry {
    const { method = '', url: path = '', headers, rawHeaders } = request
    const id = this.#nextId++
    const port = request.socket.remotePort ?? 0
    const start = { id, method, path, headers, rawHeaders, port, startedAt: now() }
    const entry: Entry = { ...start, body: '', bodyBytes: 0, eventsSent: 0 }
    this.#entries.set(id, entry)
    this.#open.add(entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= entriesMax) break
      this.#entries.delete(oldest)
    }
    return entry
  }

  /** Name an entry, so that it can be found. */
  label(entry: Entry, key: string | undefined): void {
    if (key !== undefined) entry.key = String(key)
    this.#notify(entry)
  }

  /** Note how an entry ended; the first time counts. */
  settle(entry: Entry, how: NonNullable<Entry['how']>): void {
    if (entry.how) return
    entry.how = how
    entry[how === 'client_closed' ? 'closedAt' : 'finishedAt'] = now()
    this.#open.delete(entry)
    this.#notify(entry)
    this.#onEnd(entry)
  }

  /** How many were counted under this key before. */
  count(key: string): number {
    const count = this.#counts.get(key) ?? 0
    this.#counts.set(key, count + 1)
    return count
  }

  /** Read the body into the entry, hashing all of it; returns its first `keepBytes`, or a chunk more. */
  async read(request: IncomingMessage, entry: Entry, keepBytes: number): Promise<string> {
    const hash = createHash('sha256')
    const kept: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) {
      hash.update(chunk)
      if (entry.bodyBytes < keepBytes) kept.push(chunk)
      entry.bodyBytes += chunk.length
    }
    const bytes = Buffer.concat(kept)
    entry.body = bytes.subarray(0, bodyTextBytesMax).toString()
    entry.bodySha256 = hash.digest('hex')
    return bytes.toString()
  }

  /** What `path` of the ledger says; undefined if there is no such path. Waiting for nothing gives null. */
  async serve(method: string, path: string, query: string): Promise<unknown> {
    const asked = new URLSearchParams(query)
    const key = asked.get('key')
    const timeoutMs = Number(asked.get('timeout') ?? waitMs)
    const fits = (entry: Entry): boolean => key === null || entry.key === key
    if (path === '/ledger/now') return now()
    if (path === '/ledger/open') return this.#open.size
    if (path === '/ledger/seen') return this.#wait(fits, timeoutMs)
    if (path === '/ledger/closed') return this.#wait((entry) => fits(entry) && !!entry.how, timeoutMs)
    if (path !== '/ledger') return undefined
    if (method === 'DELETE') this.#clear()
    return [...this.#entries.values()].filter(fits)
  }

  #clear(): void {
    this.#entries.clear()
    this.#counts.clear()
  }

  async #wait(test: Waiter['test'], timeoutMs: number): Promise<Entry | null> {
    const found = [...this.#entries.values()].find(test)
    if (found) return found
    return new Promise((resolve) => {
      const waiter: Waiter = {
        test,
        resolve(entry) {
          clearTimeout(timer)
          resolve(entry)
        },
      }
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter)
        resolve(null)
      }, timeoutMs)
      this.#waiters.add(waiter)
    })
  }

  #notify(entry: Entry): void {
    for (const waiter of this.#waiters) {
      if (!waiter.test(entry)) continue
      this.#waiters.delete(waiter)
      waiter.resolve(entry)
    }
  }
}
