import type { Hooks, Message, Peer } from 'crossws'
import type { WebSocket } from 'ws'
import { GatewayError, toErrorResponse } from '../src/errors.ts'
import type { Frame, Gateway, Home, RelayStart, Session, SessionStart, Socket } from '../src/index.ts'
import { limits } from '../src/limits.ts'
import { type Corkable, createGather } from './gather.ts'
import { answerPings } from './pongs.ts'
import { createRoom } from './server.ts'

type Report = (where: string, error: unknown) => void
type Start = SessionStart | RelayStart

/** Where the start of a peer's session is kept between the upgrade and its messages. */
export interface Starts {
  get(peer: Peer): Start | undefined | Promise<Start | undefined>
}

const fromContext: Starts = { get: (peer) => peer.context.start as Start | undefined }

/** What is known of a peer. */
interface Known {
  opening: Promise<Session | undefined>
  /** Once it is open. */
  session?: Session | undefined
  /** What came while something before it was still under way. */
  tail: Promise<void>
  waiting: number
}

/**
 * The gateway as crossws hooks; the only file that knows what a Peer is. crossws 0.4 neither awaits nor catches its
 * hooks, so each peer's run one after another here and none rejects.
 */
export function hooksFor(
  gateway: Gateway,
  report: Report,
  starts: Starts = fromContext,
  home?: Home,
): Partial<Hooks> {
  const peers = new WeakMap<Peer, Known>()

  /** Opened at the first need: a Durable Object wakes up without its sessions. */
  const knownOf = (peer: Peer): Known => {
    const found = peers.get(peer)
    if (found) return found
    const opening = Promise.resolve(starts.get(peer)).then(
      (start) => start && gateway.open(socketOf(peer, report, start), start, home),
    )
    const known: Known = { opening, tail: Promise.resolve(), waiting: 0 }
    peers.set(peer, known)
    return known
  }

  const inOrder = (peer: Peer, where: string, task: (session?: Session) => void): Promise<void> => {
    const known = knownOf(peer)
    known.waiting += 1
    known.tail = known.tail
      .then(async () => {
        known.session ??= await known.opening
        task(known.session)
      })
      .catch((error) => report(where, error))
      .finally(() => {
        known.waiting -= 1
      })
    return known.tail
  }

  return {
    upgrade: (request) => upgrade(gateway, request as Request, report, home),
    open: (peer) => inOrder(peer, 'open', () => undefined),
    message(peer, message) {
      const frame = frameOf(message)
      if (frame.length > limits.messageBytes) return closePeer(peer, 1009, 'message too big', report)
      const known = peers.get(peer)
      if (known?.session && known.waiting === 0) return known.session.receive(frame)
      return inOrder(peer, 'message', (session) => {
        if (session) session.receive(frame)
        else peer.close(1011, 'session lost')
      })
    },
    close: (peer, { code = 1006, reason = '' }) =>
      inOrder(peer, 'close', (session) => session?.closed(code, reason)),
    error: (peer) => inOrder(peer, 'error', (session) => session?.closed(1006, '')),
  }
}

const frameOf = (message: Message): Frame =>
  typeof message.rawData === 'string' ? message.rawData : message.uint8Array()

async function upgrade(
  gateway: Gateway,
  request: Request,
  report: Report,
  home: Home | undefined,
): Promise<Response | Record<string, unknown>> {
  try {
    const granted = await gateway.upgrade(request, home)
    if (granted instanceof Response) return granted
    const { protocol, headers, start } = granted
    return { ...(protocol && { protocol }), headers, context: { start } }
  } catch (error) {
    report('upgrade', error)
    return toErrorResponse(new GatewayError('internal'))
  }
}

/** What some runtimes' sockets can beside the standard. */
interface Raw {
  readonly readyState: number
  /** Node's, of `ws`. */
  readonly _socket?: Corkable
  pause?(): void
  resume?(): void
}

/** A peer as the core's socket. */
function socketOf(peer: Peer, report: Report, start: Start): Socket {
  const bufferBytes = 'serve' in start ? limits.relayBufferBytes : limits.socketBufferBytes
  // Not `peer.websocket`, which stands before it: some runtimes' methods want to be called on their own.
  const { ws: raw } = (peer as unknown as { _internal: { ws: Raw } })._internal
  const isOpen = () => (raw.readyState ?? 1) === 1
  const waits = createRoom(bufferBytes, () => peer.bufferedAmount, isOpen)
  const gather = createGather(raw._socket)
  if (raw._socket) answerPings(raw as unknown as WebSocket)
  return {
    send(frame) {
      try {
        gather()
        peer.send(frame)
        return waits(frame.length)
      } catch (error) {
        report('send', error) // a socket torn down between the look and the send; its close is on its way
        return undefined
      }
    },
    buffered: () => peer.bufferedAmount,
    close: (code, reason) => closePeer(peer, code, reason, report),
    ...(raw.pause && { pause: () => raw.pause?.(), resume: () => raw.resume?.() }),
  }
}

function closePeer(peer: Peer, code: number, reason: string, report: Report): void {
  try {
    // Bun takes 1000 for the want of a code, and 1005 at its word; for the others it is the other way round.
    if (code === 1005 && !('Bun' in globalThis)) peer.close()
    else peer.close(code, reason)
  } catch (error) {
    report('close', error) // a socket torn down in between
  }
}
