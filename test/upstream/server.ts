import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { type Control, readControl } from './control.ts'
import { type Entry, Ledger } from './ledger.ts'
import { type Body, lastText, type Wire, wireOf } from './wires.ts'

/** A running emulator. */
export interface Upstream {
  readonly url: string
  readonly port: number
  close(): Promise<void>
}

/** How to start one. */
export interface UpstreamOptions {
  /** Default: any free one. */
  readonly port?: number
  readonly host?: string
  /** How it names itself in its answers and its log. */
  readonly name?: string
  /** Told one line per request. */
  readonly log?: (line: string) => void
}

/** One request under way. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly entry: Entry
  readonly control: Control
}

const keepBytes = 64 << 20
const pieceBytes = 64 << 10

/**
 * An emulator of providers, for tests and for `--demo`: OpenAI chat, responses, embeddings and models, Anthropic,
 * Gemini and Workers AI wires under any path prefix; all else is echoed. What it saw is at `/ledger`.
 */
export async function startUpstream(options: UpstreamOptions = {}): Promise<Upstream> {
  const { port = 0, host = '127.0.0.1', name = 'emulator', log } = options
  const ledger = new Ledger()
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://upstream')
    const work = url.pathname.startsWith('/ledger')
      ? ledger.serve(request, response, url)
      : answer(request, response, url)
    work.catch(() => response.destroy()) // the client has left, or sent a broken body
  })
  const answer = async (request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> => {
    log?.(`${name} (emulator): ${request.method} ${url.pathname}`)
    const entry = ledger.begin(request, response)
    const early = readControl(request, '')
    if (early.key !== undefined) entry.key = early.key
    const text = await ledger.read(request, entry, keepBytes)
    const path = decodeURIComponent(url.pathname)
    const body = parse(text)
    const control = early.key === undefined ? readControl(request, body?.model ?? path + url.search) : early
    if (control.key !== undefined) entry.key = control.key
    await respond({ request, response, entry, control }, wireOf(path), body, ledger, name)
  }
  server.on('clientError', (_error, socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(port, host, resolve))
  const { port: bound } = server.address() as AddressInfo
  return {
    url: `http://${host}:${bound}`,
    port: bound,
    close: () => new Promise((resolve) => server.close(() => resolve()).closeAllConnections()),
  }
}

function parse(text: string): Body | undefined {
  try {
    return JSON.parse(text) as Body
  } catch {
    return undefined
  }
}

async function respond(
  exchange: Exchange,
  wire: Wire | undefined,
  body: Body | undefined,
  ledger: Ledger,
  name: string,
): Promise<void> {
  const { request, response, control } = exchange
  if (control.hang === 'headers') return
  if (control.delay) await sleep(control.delay)
  if (control.garbage) return void response.socket?.end('\u0000this is not HTTP\r\n\r\n')
  if (control.redirect) return void response.writeHead(302, { location: control.redirect }).end()
  const status = nextStatus(control, ledger)
  if (status >= 400)
    return sendJson(exchange, status, (wire ?? { error: () => ({}) }).error(status, `emulated ${status}`))
  if (control.bytes !== undefined) return sendBytes(exchange, control.bytes)
  if (control.text !== undefined)
    return void response
      .writeHead(status, { 'content-type': 'text/plain', ...control.headers })
      .end(control.text)
  if (request.url?.split('?')[0]?.endsWith('/models')) return sendJson(exchange, 200, models(name))
  if (!wire) return sendJson(exchange, status, echo(exchange))
  if (!body) return sendJson(exchange, 400, wire.error(400, 'the body is not JSON'))
  const model = body.model ?? 'emulated'
  const words = toWords(
    `This is ${name}, an emulator and not a model. You said: ${lastText(body)}`,
    control.events,
  )
  if (body.stream || request.url?.includes(':streamGenerateContent'))
    return sendStream(exchange, wire, wire.stream(words, model, body))
  sendJson(exchange, status, wire.single(words, model))
}

/** Words with the spaces before them, so that joined they are the text again. */
function toWords(text: string, count: number | undefined): readonly string[] {
  if (count !== undefined) return Array.from({ length: count }, (_, index) => ` ${index}`)
  return text.match(/\s*\S+/g) ?? []
}

const models = (name: string) => ({
  object: 'list',
  data: [{ id: `${name}-1`, object: 'model', created: 0, owned_by: name }],
})

const echo = ({ request, entry }: Exchange) => ({
  method: request.method,
  path: request.url,
  headers: request.headers,
  bodyBytes: entry.bodyBytes,
  bodySha256: entry.bodySha256,
})

function nextStatus({ status = 200, statuses, key = '' }: Control, ledger: Ledger): number {
  if (!statuses) return status
  const count = ledger.counts.get(key) ?? 0
  ledger.counts.set(key, count + 1)
  return statuses[Math.min(count, statuses.length - 1)] ?? status
}

function sendJson({ response, control }: Exchange, status: number, value: unknown): void {
  const headers = { 'content-type': 'application/json', ...control.headers }
  if (control.hang === 'body') return void response.writeHead(status, headers).flushHeaders()
  const text = control.malformed ? '{"broken": ' : JSON.stringify(value, null, control.pretty ? 2 : undefined)
  if (control.gzip) response.writeHead(status, { ...headers, 'content-encoding': 'gzip' }).end(gzipSync(text))
  else response.writeHead(status, headers).end(text)
}

async function sendBytes({ response, control }: Exchange, bytes: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/octet-stream', ...control.headers })
  const piece = Buffer.alloc(
    pieceBytes,
    Uint8Array.from({ length: 256 }, (_, index) => index),
  )
  for (let left = bytes; left > 0; left -= pieceBytes) {
    if (response.write(piece.subarray(0, Math.min(left, pieceBytes)))) continue
    await new Promise<void>((resolve) => response.once('drain', resolve).once('close', resolve))
    if (response.destroyed) return
  }
  response.end()
}

async function sendStream(
  { response, control, entry }: Exchange,
  wire: Wire,
  events: readonly { event?: string; data: unknown }[],
): Promise<void> {
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache',
    ...control.headers,
  })
  response.flushHeaders()
  if (control.hang === 'body') return
  const end = control.crlf ? '\r\n' : '\n'
  for (const { event, data } of events) {
    if (response.destroyed) return
    const text = `${event ? `event: ${event}${end}` : ''}data: ${JSON.stringify(data)}${end}${end}`
    if (breakOff(response, control, entry, text)) return
    if (control.malformed && entry.eventsSent === 1) response.write(`data: {oops${end}${end}`)
    response.write(control.comments ? `: keep-alive${end}${end}${text}` : text)
    entry.eventsSent += 1
    if (control.interval) await sleep(control.interval)
  }
  response.end(wire.done && !control.noDone ? `data: [DONE]${end}${end}` : undefined)
}

/** End badly, if it is time to. */
function breakOff(response: ServerResponse, control: Control, entry: Entry, next: string): boolean {
  const half = next.slice(0, next.length / 2)
  if (control.truncate === entry.eventsSent) return response.end(half) !== undefined
  if (control.reset === entry.eventsSent) {
    entry.how = 'reset'
    setTimeout(() => response.socket?.resetAndDestroy(), 20) // what was written goes out first
    return true
  }
  if (control.cut !== entry.eventsSent) return false
  entry.how = 'cut'
  response.write(half, () => response.socket?.end())
  return true
}
