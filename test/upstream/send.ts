import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { toFrame } from './bedrock.ts'
import type { Control } from './control.ts'
import { type Entry, type Ledger, now } from './ledger.ts'
import type { Event } from './wire.ts'
import type { Wire } from './wires.ts'

/** One request under way. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly entry: Entry
  readonly control: Control
  readonly ledger: Ledger
  /** Aborted when the connection is gone; everything that waits rejects then. */
  readonly left: AbortSignal
}

type Headers = Readonly<Record<string, string | number>>

const pieceBytes = 64 << 10
const pieceOfBytes: Uint8Array = Uint8Array.from({ length: pieceBytes }, (_, index) => index)
/** What was written before a reset goes out first. */
const resetGraceMs = 20
const breaks = ['cut', 'reset', 'truncate'] as const
type Break = (typeof breaks)[number]

/** A single JSON answer, as pretty, compressed or broken as was asked. */
export function sendJson(exchange: Exchange, status: number, value: unknown): void {
  const { malformed, pretty, gzip } = exchange.control
  const text = malformed ? '{"broken": ' : JSON.stringify(value, null, pretty ? 2 : undefined)
  const zip = gzip === true && status === 200
  const coding: Headers = zip ? { 'content-encoding': 'gzip' } : {}
  const headers = { 'content-type': 'application/json', ...coding }
  sendWhole(exchange, status, headers, zip ? gzipSync(text) : Buffer.from(text))
}

/** A single answer of any type. */
export function sendWhole(exchange: Exchange, status: number, headers: Headers, body: Buffer): void {
  const { response, control } = exchange
  const how = breaks.find((how) => control[how] !== undefined)
  // One that ends early, but cleanly, must not say how long it would have been.
  const length: Headers = how === 'truncate' ? {} : { 'content-length': body.length }
  sendHead(exchange, status, { ...headers, ...length })
  if (how || control.hang) response.flushHeaders()
  if (control.hang === 'body') return
  if (how) breakOff(exchange, how, body)
  else response.end(body)
}

/** `length` bytes of 0…255, no faster than they are read. */
export async function sendBytes(exchange: Exchange, status: number, length: number): Promise<void> {
  const pieces = Array.from({ length: Math.ceil(length / pieceBytes) }, (_, index) =>
    pieceOfBytes.subarray(0, Math.min(pieceBytes, length - index * pieceBytes)),
  )
  await sendPieces(exchange, status, { 'content-type': 'application/octet-stream' }, pieces)
}

/** A stream of events, framed as the wire has them. */
export async function sendEvents(
  exchange: Exchange,
  status: number,
  events: readonly Event[],
  { done, framing, error }: Wire,
): Promise<void> {
  const { control } = exchange
  const told = control.fault
    ? [{ event: 'error', data: error(control.fault, `emulated ${control.fault}`) }]
    : []
  const all = [...told, ...events]
  if (framing === 'aws') {
    const type = { 'content-type': 'application/vnd.amazon.eventstream' }
    const frames = all.map((event) =>
      toFrame(event.event === 'error' ? { ...event, event: 'throttlingException' } : event),
    )
    return sendPieces(exchange, status, type, frames)
  }
  const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' }
  const end = control.crlf ? '\r\n' : '\n'
  const last = done && !control.noDone ? `data: [DONE]${end}${end}` : ''
  await sendPieces(exchange, status, headers, toFrames(all, control, end), last)
}

function* toFrames(events: readonly Event[], control: Control, end: string): Generator<string> {
  for (const [index, { event, data }] of events.entries()) {
    const oops = control.malformed && index === 1 ? `data: {oops${end}${end}` : ''
    const comment = control.comments ? `: keep-alive${end}${end}` : ''
    const name = event ? `event: ${event}${end}` : ''
    yield `${oops}${comment}${name}data: ${JSON.stringify(data)}${end}${end}`
  }
}

/** Send pieces at the asked pace, no faster than they are read, until it is time to break off. */
async function sendPieces(
  exchange: Exchange,
  status: number,
  headers: Headers,
  pieces: Iterable<string | Uint8Array>,
  last = '',
): Promise<void> {
  const { response, control, entry, left } = exchange
  sendHead(exchange, status, headers)
  response.flushHeaders()
  if (control.hang === 'body') return
  const dueBreak = () => breaks.find((how) => control[how] === entry.eventsSent)
  for (const piece of pieces) {
    if (control.interval && entry.eventsSent > 0) await sleep(control.interval, undefined, { signal: left })
    const how = dueBreak()
    if (how) return breakOff(exchange, how, piece)
    let goOn = true
    for (const slice of slices(piece, control.slice)) {
      goOn = response.write(slice)
      if (control.slice) await sleep(0, undefined, { signal: left }) // or they would leave together
    }
    entry.eventsSent += 1
    if (!goOn) await once(response, 'drain', { signal: left })
  }
  const how = dueBreak()
  if (how) return breakOff(exchange, how, last)
  response.end(last)
}

function* slices(piece: string | Uint8Array, size: number | undefined): Generator<string | Uint8Array> {
  if (!size) return yield piece
  const bytes = Buffer.from(piece)
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

function sendHead({ response, entry, control }: Exchange, status: number, headers: Headers): void {
  response.writeHead(status, { ...headers, ...control.headers })
  entry.status = status
  entry.headersSentAt = now()
}

/** End badly, with half of what would have come next. */
function breakOff({ response, entry, ledger }: Exchange, how: Break, next: string | Uint8Array): void {
  const half = next.slice(0, next.length / 2)
  if (how === 'truncate') return void response.end(half)
  ledger.settle(entry, how)
  if (how === 'reset') {
    setTimeout(() => response.socket?.resetAndDestroy(), resetGraceMs)
    return
  }
  response.write(half, () => response.socket?.end())
}
