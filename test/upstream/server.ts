import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { answer, targetOf } from './answer.ts'
import { type Entry, Ledger } from './ledger.ts'
import { openaiError } from './openai.ts'
import { createSockets } from './realtime.ts'

/** A running emulator. */
export interface Upstream {
  readonly url: string
  readonly port: number
  /** Also ends the connections that are open. */
  close(): Promise<void>
}

/** How to start one. */
export interface UpstreamOptions {
  /** Default: any free one. */
  readonly port?: number
  /** Default: 127.0.0.1. */
  readonly host?: string
  /** How it names itself in its answers and its log. */
  readonly name?: string
  /** Told one line per request, once it has ended. */
  readonly log?: (line: string) => void
}

/** Longer than gateways keep a connection, or they would meet it closing. */
const keepAliveMs = 120_000
const ignore = (): void => undefined

/**
 * An emulator of providers, for tests and for `--demo`: OpenAI chat, responses, embeddings and models, Anthropic,
 * Gemini and Workers AI wires under any path prefix; all else is echoed, and so are the frames of sockets. What it saw is
 * at `/ledger`.
 */
export async function startUpstream(options: UpstreamOptions = {}): Promise<Upstream> {
  const { port = 0, host = '127.0.0.1', name = 'Trunkline emulator', log } = options
  const label = name.includes('emulator') ? name : `${name} (emulator)`
  const ledger = new Ledger((entry) => log?.(`${label}: ${toLine(entry)}`))
  const server = createServer((request, response) => {
    request.on('error', ignore)
    response.on('error', ignore)
    const work = isLedger(request)
      ? serveLedger(request, response, ledger)
      : answer(request, response, ledger, name)
    work.catch((error: unknown) => fail(response, error))
  })
  const openSocket = createSockets(ledger)
  const upgraded = new Set<Duplex>()
  server.on('upgrade', (request, socket, head) => {
    upgraded.add(socket.once('close', () => upgraded.delete(socket)))
    openSocket(request, socket, head).catch(() => socket.destroy())
  })
  server.on('connection', (socket) => socket.on('error', ignore))
  server.on('clientError', (_error, socket) => socket.destroy())
  server.requestTimeout = 0
  server.keepAliveTimeout = keepAliveMs
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve))
  server.on('error', ignore)
  const { port: bound } = server.address() as AddressInfo
  return {
    url: `http://${host}:${bound}`,
    port: bound,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve()).closeAllConnections()
        for (const socket of upgraded) socket.destroy()
      }),
  }
}

/** Without the query, which may hold a key. */
function toLine({ method, path, status, how, startedAt, finishedAt, closedAt = 0 }: Entry): string {
  const took = Math.round((finishedAt ?? closedAt) - startedAt)
  return `${method} ${path.split('?')[0]} ${status ?? 'unanswered'} ${how} in ${took} ms`
}

const isLedger = (request: IncomingMessage): boolean => /^\/ledger(\/|\?|$)/.test(request.url ?? '')

async function serveLedger(
  request: IncomingMessage,
  response: ServerResponse,
  ledger: Ledger,
): Promise<void> {
  request.resume()
  const told = await ledger.serve(request.method ?? '', ...targetOf(request))
  response.writeHead(told === undefined ? 404 : 200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(told ?? null))
}

/** Either the client has left, or it asked for what cannot be: say so while that is possible. */
function fail(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) return void response.destroy()
  response.writeHead(400, { 'content-type': 'application/json' })
  response.end(JSON.stringify(openaiError(400, `x-upstream: ${String(error)}`)))
}
