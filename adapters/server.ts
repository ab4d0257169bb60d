import type { Config, Env } from '../src/index.ts'
import { limits } from '../src/limits.ts'

/** How to listen. */
export interface ServeOptions {
  /** 0 for any free one. */
  readonly port: number
  readonly host: string
  /** The environment's variables, where rows of the provider table find their keys. */
  readonly env?: Env
  /** Folder of what must outlive the process; absent: nothing does. */
  readonly data?: string
}

/** A gateway that listens. */
export interface Server {
  readonly url: string
  /** Stop listening, drain, and close every connection. */
  stop(): Promise<void>
}

/** What each adapter exports. Rejects when the address cannot be had. */
export type Serve = (config: Config, options: ServeOptions) => Promise<Server>

/** Seconds without a word from a peer before it is pinged; one silent for three times as long is gone by then. */
export const idleSeconds = 30

/** How long a stop waits for peers to answer the close of their sockets, in milliseconds. */
export const stopMs = 1_000

/** Faults that no caller can act on. Errors of this project carry no secrets in their messages. */
export function report(where: string, error: unknown): void {
  console.error(`trunkline: ${where}:`, error instanceof Error ? (error.stack ?? error.message) : error)
}

/** Bytes that are sent between two looks at a buffer, as a look may cost as much as a short frame. */
const lookBytes = 65_536
/** What a frame that waits takes in memory, beside what it is long. */
const frameBytes = 512
/** What the shortest frame takes on the wire. */
const headBytes = 2

/**
 * Tells after each frame how long the next should wait: undefined while a buffer holds no more than it may. A buffer
 * tells bytes only; how many frames these are is told by how long the last ones were.
 */
export function createRoom(
  bytesMax: number,
  buffered: () => number,
  isOpen: () => boolean,
): (sentBytes: number) => Promise<void> | undefined {
  let [bytes, frames, perByte] = [0, 0, 1]
  const hasRoom = (): boolean => !isOpen() || buffered() * perByte <= bytesMax
  return (sentBytes) => {
    bytes += sentBytes + headBytes
    frames += 1
    if (bytes + frames * frameBytes < lookBytes) return undefined
    perByte = 1 + (frames * frameBytes) / bytes
    bytes = 0
    frames = 0
    return hasRoom() ? undefined : untilRoom(hasRoom)
  }
}

function untilRoom(hasRoom: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (!hasRoom()) return
      clearInterval(timer)
      resolve()
    }, limits.socketPollMs)
  })
}

/** Whether a request is the handshake of a WebSocket (RFC 6455, 4.1); with any other upgrade it is a plain request. */
export function isUpgrade({ method, headers }: Pick<Request, 'method' | 'headers'>): boolean {
  const isAsked = headers.get('upgrade')?.toLowerCase() === 'websocket'
  return method === 'GET' && isAsked && headers.has('sec-websocket-key')
}

/** A URL for people: IPv6 hosts in brackets. */
export function toUrl(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
