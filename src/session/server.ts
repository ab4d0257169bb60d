import { GatewayError, toGatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { Frame, Socket } from '../types.ts'
import { deliver, failed, type Reply } from './deliver.ts'
import { type ClientMessage, frames, readMessage } from './messages.ts'

/** Starts one request; the reply's body is still a stream. May reject. */
export type Start = (
  request: ClientMessage['request'],
  eventId: string,
  signal: AbortSignal,
) => Promise<Reply>

/** One client's socket, served. Neither method throws or rejects. */
export interface Session {
  receive(frame: Frame): void
  /** The socket has closed: every request on it stops upstream. */
  closed(): void
}

interface Waiting {
  readonly eventId: string
  readonly request: ClientMessage['request']
  readonly size: number
}

/** Serve many requests over one socket (PROTOCOL.md, "Base wire"). */
export function serveSession(socket: Socket, start: Start): Session {
  const running = new Map<string, AbortController>()
  const queue = new Map<string, Waiting>()
  let heldBytes = 0
  let unsentRefusals = 0
  let open = true

  /** For frames that answer a message at once; a client that sends faults and never reads is put off. */
  const refuse = async (frame: string): Promise<void> => {
    unsentRefusals += 1
    if (unsentRefusals > limits.unsentRefusals) socket.close(1013, 'reader too slow')
    else await socket.send(frame)
    unsentRefusals -= 1
  }

  const run = async (waiting: Waiting): Promise<void> => {
    const { eventId } = waiting
    const controller = new AbortController()
    running.set(eventId, controller)
    try {
      const reply = await start(waiting.request, eventId, controller.signal)
      await deliver(socket, eventId, reply, (reason) => controller.abort(reason))
    } catch (error) {
      await socket.send(failed(eventId, toGatewayError(error)))
    } finally {
      running.delete(eventId)
      heldBytes -= waiting.size
      next()
    }
  }

  const next = (): void => {
    const [waiting] = queue.values()
    if (!open || !waiting || running.size >= limits.inFlight) return
    queue.delete(waiting.eventId)
    void run(waiting)
  }

  const admit = (waiting: Waiting): GatewayError | undefined => {
    if (running.has(waiting.eventId) || queue.has(waiting.eventId)) return new GatewayError('conflict')
    if (heldBytes + waiting.size > limits.sessionBytes || queue.size >= limits.queued)
      return new GatewayError('too_many_requests')
    heldBytes += waiting.size
    queue.set(waiting.eventId, waiting)
    next()
    return undefined
  }

  return {
    receive(frame) {
      if (!open) return
      if (typeof frame !== 'string')
        return void refuse(frames.error('bad_message', 'Binary frames are not understood'))
      const read = readMessage(frame)
      if ('fault' in read) return void refuse(frames.error('bad_message', read.fault, read.eventId))
      const { eventId = newId(), message } = read
      const error = admit({ eventId, request: message.request, size: frame.length })
      if (error) void refuse(failed(eventId, error))
    },
    closed() {
      open = false
      queue.clear()
      for (const controller of running.values()) controller.abort(new GatewayError('client_closed'))
    },
  }
}
