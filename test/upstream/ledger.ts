import { createHash, type Hash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

/** What the emulator saw of one request. Times are milliseconds since the epoch. */
export interface Entry {
  readonly id: number
  key?: string
  readonly method: string
  /** The raw request target. */
  readonly path: string
  readonly headers: IncomingMessage['headers']
  /** Up to 64 KiB. */
  body: string
  bodyBytes: number
  bodySha256?: string
  readonly startedAt: number
  eventsSent: number
  finishedAt?: number
  /** When the gateway left before the answer was done. */
  closedAt?: number
  how?: 'finished' | 'client_closed' | 'cut' | 'reset'
}

const bodyTextBytes = 65_536
const pollMs = 5
const now = (): number => performance.timeOrigin + performance.now()

/** All requests seen, and when each connection ended and how. */
export class Ledger {
  entries: Entry[] = []
  readonly counts: Map<string, number> = new Map()
  #next = 0

  /** Note a request, and watch its end. */
  begin(request: IncomingMessage, response: ServerResponse): Entry {
    const { method = '', url: path = '', headers } = request
    const entry: Entry = {
      id: this.#next++,
      method,
      path,
      headers,
      body: '',
      bodyBytes: 0,
      startedAt: now(),
      eventsSent: 0,
    }
    this.entries.push(entry)
    response.once('finish', () => {
      entry.finishedAt = now()
      entry.how ??= 'finished'
    })
    response.once('close', () => {
      if (entry.finishedAt === undefined) entry.closedAt ??= now()
      entry.how ??= 'client_closed'
    })
    return entry
  }

  /** Read the request's body into the entry, hashing all of it, keeping its head; returns the text when it is small. */
  async read(request: IncomingMessage, entry: Entry, keepBytes: number): Promise<string> {
    const hash: Hash = createHash('sha256')
    const kept: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) {
      hash.update(chunk)
      if (entry.bodyBytes < keepBytes) kept.push(chunk)
      entry.bodyBytes += chunk.length
    }
    const text = Buffer.concat(kept).toString()
    entry.body = text.slice(0, bodyTextBytes)
    entry.bodySha256 = hash.digest('hex')
    return text
  }

  /** Answer `/ledger…`. */
  async serve(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const key = url.searchParams.get('key')
    const until = now() + Number(url.searchParams.get('timeout') ?? 5_000)
    const matching = () => this.entries.filter((entry) => key === null || entry.key === key)
    const wait = async (test: (entry: Entry) => boolean): Promise<Entry | undefined> => {
      for (;;) {
        const found = matching().find(test)
        if (found || now() > until) return found
        await new Promise((wake) => setTimeout(wake, pollMs))
      }
    }
    const send = (value: unknown) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value ?? null))
    }
    if (request.method === 'DELETE') this.entries = []
    if (url.pathname === '/ledger/seen') return send(await wait(() => true))
    if (url.pathname === '/ledger/closed')
      return send(await wait((entry) => (entry.closedAt ?? entry.finishedAt) !== undefined))
    if (url.pathname === '/ledger/open')
      return send(this.entries.filter((entry) => entry.how === undefined).length)
    send(matching())
  }
}
