import { type ConnectOptions, Line } from './line.ts'

/**
 * Connect to `wss://host/v1/{account}/{gateway}` (or `https://…`, the same). Resolves once requests can be made; from then on the
 * line looks after itself until it is closed: it connects again, goes on with every stream where it was, and sends no
 * request twice.
 * @throws LineError unreachable after `limits.handshakes` failures (not with `fallback`), unauthorized; the signal's
 * reason; DOMException for a token that no subprotocol may hold
 */
export async function connect(url: string | URL, options: ConnectOptions = {}): Promise<Line> {
  return new Line(url, options).ready()
}

export { LineError, type LineErrorCode } from './errors.ts'
export type { Limits } from './limits.ts'
export type { ConnectOptions, Fetch, Line } from './line.ts'
export type { LineState } from './link.ts'
export type { Created, Done, Item, Metadata, Outcome, RunFrame, Streamed } from './messages.ts'
export type { SocketConstructor, SocketEvent, SocketLike } from './socket.ts'
