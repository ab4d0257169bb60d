import type { Hooks, Peer } from 'crossws'
import { GatewayError, toErrorResponse } from '../src/errors.ts'
import type { Gateway, Home, Session, SessionStart, Socket } from '../src/index.ts'
import { limits } from '../src/limits.ts'

type Report = (where: string, error: unknown) => void

/** Where the start of a peer's session is kept between the upgrade and its messages. */
export interface Starts {
  get(peer: Peer): SessionStart | undefined | Promise<SessionStart | undefined>
}

const fromContext: Starts = { get: (peer) => peer.context.start as SessionStart | undefined }
const drainPollMs = 20

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
  const sessions = new WeakMap<Peer, Promise<Session | undefined>>()
  const tails = new WeakMap<Peer, Promise<void>>()

  /** Opened at the first need: a Durable Object wakes up without its sessions. */
  const sessionOf = (peer: Peer): Promise<Session | undefined> => {
    const known = sessions.get(peer)
    if (known) return known
    const opened = Promise.resolve(starts.get(peer)).then(
      (start) => start && gateway.open(socketOf(peer, report), start, home),
    )
    sessions.set(peer, opened)
    return opened
  }

  const inOrder = (peer: Peer, where: string, task: () => Promise<void>): Promise<void> => {
    const tail = (tails.get(peer) ?? Promise.resolve()).then(task).catch((error) => report(where, error))
    tails.set(peer, tail)
    return tail
  }

  return {
    upgrade: (request) => upgrade(gateway, request as Request, report, home),
    open: (peer) => inOrder(peer, 'open', async () => void (await sessionOf(peer))),
    message: (peer, message) =>
      inOrder(peer, 'message', async () => {
        const frame = typeof message.rawData === 'string' ? message.rawData : message.uint8Array()
        const size = typeof frame === 'string' ? frame.length : frame.byteLength
        if (size > limits.messageBytes) return peer.close(1009, 'message too big')
        const session = await sessionOf(peer)
        if (session) session.receive(frame)
        else peer.close(1011, 'session lost')
      }),
    close: (peer) => inOrder(peer, 'close', async () => (await sessionOf(peer))?.closed()),
    error: (peer) => inOrder(peer, 'error', async () => (await sessionOf(peer))?.closed()),
  }
}

async function upgrade(
  gateway: Gateway,
  request: Request,
  report: Report,
  home: Home | undefined,
): Promise<Response | Record<string, unknown>> {
  try {
    const granted = await gateway.upgrade(request, home)
    if (granted instanceof Response) return granted
    const { protocol, headers, session } = granted
    return { ...(protocol && { protocol }), headers, context: { start: session } }
  } catch (error) {
    report('upgrade', error)
    return toErrorResponse(new GatewayError('internal'))
  }
}

/** A peer as the core's socket. `send` waits while the peer reads slower than it is fed. */
function socketOf(peer: Peer, report: Report): Socket {
  const isOpen = () => (peer.websocket?.readyState ?? 1) === 1
  return {
    async send(frame) {
      try {
        if (peer.bufferedAmount > limits.socketBufferBytes)
          await peer.waitForDrain({ threshold: limits.socketBufferBytes, pollInterval: drainPollMs })
        if (isOpen()) peer.send(frame)
      } catch (error) {
        report('send', error) // a socket torn down between the look and the send; its close is on its way
      }
    },
    close: (code, reason) => peer.close(code, reason),
  }
}
