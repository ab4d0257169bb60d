import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { Refused } from './client.ts'
import type { Target } from './target.ts'
import type { Control } from './upstream/control.ts'

/** A frame as it came: text, or bytes. */
export type Heard = string | Buffer

/** A client's socket to a provider, through a gateway. */
export interface Relayed {
  readonly socket: WebSocket
  readonly heard: readonly Heard[]
  /** Headers of the 101. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Resolves with the close code and reason, and when that was. */
  readonly closed: Promise<{ code: number; reason: string; at: number }>
  /** The first so many frames. */
  take(count: number): Promise<readonly Heard[]>
}

/** How to ask for one. */
export interface RelayOptions {
  readonly gateway?: string
  readonly headers?: Record<string, string>
  readonly protocols?: readonly string[]
  readonly control?: Control
}

/** Without a further frame. */
const waitMs = 30_000

/** Open a socket at `/v1/default/{gateway}{path}`; rejects with `Refused` where it is. */
export async function relay(target: Target, path: string, options: RelayOptions = {}): Promise<Relayed> {
  const { gateway = 'default', protocols = [], control } = options
  const headers = { ...options.headers, ...(control && { 'x-upstream': toAscii(control) }) }
  const url = `${target.ws}/v1/default/${gateway}${path}`
  const socket = new WebSocket(url, [...protocols], { headers, perMessageDeflate: false, maxPayload: 0 })
  const heard: Heard[] = []
  socket.on('message', (data: Buffer, isBinary) => heard.push(isBinary ? data : data.toString()))
  const closed = new Promise<{ code: number; reason: string; at: number }>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: String(reason), at: performance.now() }))
  })
  const response = await opened(socket)
  return {
    socket,
    heard,
    headers: response,
    closed,
    async take(count) {
      let [known, until] = [heard.length, performance.now() + waitMs]
      for (; heard.length < count; await sleep(2)) {
        if (heard.length > known) [known, until] = [heard.length, performance.now() + waitMs]
        if (performance.now() > until) throw new Error(`only ${heard.length} of ${count} frames came`)
      }
      return heard.slice(0, count)
    },
  }
}

/** Headers have no encoding that all runtimes share, but ASCII. */
function toAscii(control: Control): string {
  const toEscape = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  return JSON.stringify(control).replace(/[^\x20-\x7e]/g, toEscape)
}

function opened(socket: WebSocket): Promise<Relayed['headers']> {
  return new Promise((resolve, reject) => {
    let headers: Relayed['headers'] = {}
    socket.on('upgrade', (response) => {
      headers = response.headers
    })
    socket.on('open', () => resolve(headers))
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

/** How it was refused; throws where it was not. */
export async function refused(asked: Promise<unknown>): Promise<Refused> {
  const result = await asked.catch((error: unknown) => error)
  if (!(result instanceof Refused)) throw new Error(`not refused: ${String(result)}`)
  return result
}

/** A handshake, and what comes at once behind it, on a bare connection. */
export function rawUpgrade(
  target: Target,
  path: string,
  control: Control,
  behind: Uint8Array = new Uint8Array(),
): { socket: Socket; text(): string } {
  const { hostname, port, host } = new URL(target.url)
  const socket = connect(Number(port), hostname)
  let text = ''
  socket
    .on('error', () => undefined)
    .on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
  const lines = [
    `GET /v1/default/default${path} HTTP/1.1`,
    `host: ${host}`,
    'connection: upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    `sec-websocket-key: ${randomBytes(16).toString('base64')}`,
    `x-upstream: ${toAscii(control)}`,
  ]
  socket.write(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), behind]))
  return { socket, text: () => text }
}

/** A short text as a client sends it: masked, with a mask of zeros. */
export const textFrame = (text: string): Buffer =>
  Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])

/** A close frame, of a provider or masked as a client's; whatever its code is. */
export function closeFrame(code: number, reason: string, isMasked = false): Buffer {
  const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)])
  const mask = isMasked ? Buffer.alloc(4) : Buffer.alloc(0)
  return Buffer.concat([Buffer.from([0x88, (isMasked ? 0x80 : 0) | payload.length]), mask, payload])
}
