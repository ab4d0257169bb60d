import { get } from 'node:http'
import process from 'node:process'
import { WebSocket } from 'ws'
import type { Target } from './target.ts'
import type { Control } from './upstream/control.ts'
import type { Entry } from './upstream/ledger.ts'

/** A frame of the gateway. */
export interface GatewayFrame {
  readonly type: string
  readonly metadata: { readonly eventId?: string; readonly status?: number | string } & Readonly<
    Record<string, unknown>
  >
  readonly response?: unknown
  readonly event?: string
  readonly error?: { readonly code: string; readonly message: string; readonly retryable?: boolean }
  /** Of `trunkline.v1` with `raw`. */
  readonly data?: string
  readonly encoding?: 'base64'
  readonly headers?: readonly [string, string][]
  /** Of `session.ready`. */
  readonly session?: {
    readonly id: string
    readonly resumed: boolean
    readonly runs?: readonly { eventId: string; runId: string; seq: number; outcome?: string }[]
  }
}

const waitMs = 10_000
/** Long answers may have far to go. */
const endMs = 15_000
let counter = 0

/** A label no other test has, for the ledger and for event ids. */
export const newKey = (): string => `k${process.pid}-${counter++}`

/** Headers that control the emulator. */
export const upstream = (control: Control): Record<string, string> => ({
  'x-upstream': JSON.stringify(control),
})

/** An OpenAI chat body. */
export const chat = (text: string, more: object = {}): object => ({
  model: 'm',
  messages: [{ role: 'user', content: text }],
  ...more,
})

/** `/v1/default/{gateway}{path}` of a target. */
export const at = (target: Target, path = '', gateway = 'default'): string =>
  `${target.url}/v1/default/${gateway}${path}`

/** POST JSON. */
export function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return fetch(url, {
    method: 'POST',
    body: text,
    headers: { 'content-type': 'application/json', ...headers },
  })
}

/** What the emulator saw under a key. */
export async function ledger(target: Target, key: string): Promise<Entry[]> {
  return (await fetch(`${target.upstream}/ledger?key=${key}`)).json() as Promise<Entry[]>
}

/** Wait until a request with this key has reached the emulator. */
export async function seen(target: Target, key: string): Promise<Entry> {
  return (await fetch(`${target.upstream}/ledger/seen?key=${key}&timeout=${waitMs}`)).json() as Promise<Entry>
}

/** Wait until the request with this key has ended, and tell how. */
export async function ended(target: Target, key: string): Promise<Entry | null> {
  return (
    await fetch(`${target.upstream}/ledger/closed?key=${key}&timeout=${endMs}`)
  ).json() as Promise<Entry | null>
}

/** Milliseconds since the epoch, as the ledger counts them. */
export const now = (): number => performance.timeOrigin + performance.now()

/** A client's socket whose frames can be awaited. */
export interface Line {
  readonly socket: WebSocket
  readonly frames: readonly GatewayFrame[]
  readonly protocol: string
  /** Resolves with the close code and reason. */
  readonly closed: Promise<{ code: number; reason: string }>
  /** Send a message. */
  send(message: object): void
  /** Start a request; returns its event id. */
  create(request: object | object[]): string
  /** All frames of one request, once it has ended. */
  result(eventId: string): Promise<readonly GatewayFrame[]>
  /** The first frame that fits. */
  next(test: (frame: GatewayFrame) => boolean): Promise<GatewayFrame>
  close(): void
}

/** Where and how to connect. */
export interface LineOptions {
  readonly gateway?: string
  readonly headers?: Record<string, string>
  readonly protocols?: readonly string[]
  /** With its question mark. */
  readonly search?: string
}

/** A refused upgrade. */
export class Refused extends Error {
  readonly status: number
  readonly body: string
  constructor(status: number, body: string) {
    super(`refused with ${status}: ${body}`)
    this.status = status
    this.body = body
  }
}

/** Whether a frame ends its request: `done`, an error, or on the base wire a `created` that carries the answer. */
export const isLast = (frame: GatewayFrame): boolean =>
  frame.type === 'universal.done' ||
  frame.type === 'universal.error' ||
  (frame.type === 'universal.created' && 'response' in frame && !('runId' in frame.metadata))

/** Connect; rejects with `Refused` when the upgrade is. */
export async function connect(target: Target, options: LineOptions = {}): Promise<Line> {
  const url = `${target.ws}/v1/default/${options.gateway ?? 'default'}${options.search ?? ''}`
  const socket = new WebSocket(url, [...(options.protocols ?? [])], { headers: options.headers })
  const frames: GatewayFrame[] = []
  const watchers = new Set<() => void>()
  socket.on('message', (data) => {
    frames.push(JSON.parse(String(data)) as GatewayFrame)
    for (const watcher of watchers) watcher()
  })
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }))
  })
  await opened(socket)

  const until = <T>(look: () => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const check = () => {
        const found = look()
        if (found === undefined) return
        watchers.delete(check)
        clearTimeout(timer)
        resolve(found)
      }
      const timer = setTimeout(() => {
        watchers.delete(check)
        reject(new Error(`no such frame within ${waitMs} ms; last: ${JSON.stringify(frames.slice(-3))}`))
      }, waitMs)
      watchers.add(check)
      check()
    })

  return {
    socket,
    frames,
    protocol: socket.protocol,
    closed,
    send: (message) => socket.send(JSON.stringify(message)),
    create(request) {
      const first = (Array.isArray(request) ? request[0] : request) as { eventId?: string }
      const eventId = first.eventId ?? newKey()
      const named = Array.isArray(request)
        ? [{ ...first, eventId }, ...request.slice(1)]
        : { ...first, eventId }
      socket.send(JSON.stringify({ type: 'universal.create', request: named }))
      return eventId
    },
    result: (eventId) =>
      until(() => {
        const own = frames.filter((frame) => frame.metadata?.eventId === eventId)
        return own.some(isLast) ? own : undefined
      }),
    next: (test) => until(() => frames.find(test)),
    close: () => socket.close(),
  }
}

function opened(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.on('open', () => resolve())
    socket.on('error', reject)
    socket.on('unexpected-response', (_request, response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => {
        body += chunk
      })
      response.on('end', () => reject(new Refused(response.statusCode ?? 0, body)))
    })
  })
}

/** GET a path as it is written, without the tidying of `fetch`; resolves once it is answered or refused. */
export function rawGet(target: Target, path: string, headers: Record<string, string>): Promise<void> {
  const { hostname, port } = new URL(target.url)
  return new Promise((resolve) => {
    const request = get({ hostname, port, path, headers }, (response) =>
      response.resume().on('close', resolve),
    )
    request.on('error', () => resolve())
  })
}
