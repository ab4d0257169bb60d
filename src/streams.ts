import { GatewayError } from './errors.ts'
import { limits } from './limits.ts'
import { pause } from './pause.ts'
import type { Ending, Watch } from './types.ts'

type Bytes = ReadableStream<Uint8Array>

/**
 * A whole body, up to a number of bytes. One that is larger is read on for a while, since a client that is cut off
 * while it sends never sees why.
 * @throws GatewayError too_large; client_closed when the stream breaks; or the signal's reason
 */
export async function readBytes(
  body: Bytes | null,
  bytesMax: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = body?.getReader()
  const leave = (): void => void reader?.cancel(signal?.reason).catch(() => undefined)
  signal?.addEventListener('abort', leave, { once: true })
  try {
    let parts: Uint8Array[] = []
    let size = 0
    while (reader && size <= bytesMax + limits.discardBytes) {
      const { done, value } = await reader.read().catch(() => {
        throw new GatewayError('client_closed')
      })
      signal?.throwIfAborted()
      if (done) break
      size += value.byteLength
      if (size <= bytesMax) parts.push(value)
      else parts = []
    }
    if (size > bytesMax) throw new GatewayError('too_large', `The body is larger than ${bytesMax} bytes`)
    return join(parts, size)
  } finally {
    signal?.removeEventListener('abort', leave)
    leave() // has no effect on a body that was read to its end
  }
}

/** Parts of a body as one; their sizes add up to `size`. */
export function join(parts: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(size)
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.byteLength
  }
  return whole
}

/**
 * Reads a body until it ends or the signal aborts, which cancels it and so closes the provider's connection. The
 * signal that went with the request is not enough: runtimes forget it once the response has been collected.
 */
export function readUntil(body: Bytes, signal: AbortSignal): ReadableStreamDefaultReader<Uint8Array> {
  const reader = body.getReader()
  const stop = (): void => void reader.cancel(signal.reason).catch(() => undefined)
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  const forget = (): void => signal.removeEventListener('abort', stop)
  reader.closed.then(forget, forget)
  return reader
}

const whole: Ending = { outcome: 'completed', upstreamStopped: true }
const left: Ending = { outcome: 'cancelled', upstreamStopped: true }
const brokenOff = new GatewayError('provider_failed', 'The provider broke off its answer')

/** How a body that failed with `error` ended: the gateway's own reasons are told, the runtime's are not. */
function toBreak(error: unknown): Ending {
  const { code, message } = error instanceof GatewayError ? error : brokenOff
  return { outcome: 'incomplete', upstreamStopped: true, error: { code, message } }
}

/** What a body breaks off with. Runtimes print it: one line, of which nothing is a provider's. */
class BrokenBody extends Error {
  override readonly name = 'BrokenBody'

  constructor(message: string) {
    super(message)
    this.stack = `${this.name}: ${message}`
  }
}

/** Break off a body, once what came before is on its way. `why` is for the log. */
export async function breakOff(controller: ReadableStreamDefaultController, why: string): Promise<void> {
  await pause(limits.flushMs)
  controller.error(new BrokenBody(why))
}

/** How a body is relayed. */
export interface Relaying {
  /** Aborts when the client has left, or when the gateway stops. */
  readonly signal: AbortSignal
  /** Names it in the log. */
  readonly requestId?: string
  /** Goes before what the reader still has. */
  readonly first?: ReadableStreamReadResult<Uint8Array>
  /** Told of the body and its end. */
  readonly watch?: Watch
  /** Called when the body is over, in whatever way. */
  readonly ended?: () => void
}

/**
 * What a reader still has, as a body. A fault becomes one of ours, as runtimes print a body's faults, with the
 * provider's URL in them. After the client has left there is nobody to tell, and it just ends.
 */
export function relay(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  { signal, requestId, first, watch, ended }: Relaying,
): Bytes {
  let held = first
  const hasLeft = () => signal.aborted && !(signal.reason instanceof GatewayError)
  const over = (ending: Ending) => {
    watch?.end(ending)
    ended?.()
  }
  // Not every runtime cancels the body of a client that has left.
  if (watch) signal.addEventListener('abort', () => hasLeft() && watch.end(left), { once: true })
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = held ?? (await reader.read())
          held = undefined
          if (!done) {
            watch?.read(value)
            return controller.enqueue(value)
          }
          if (signal.aborted && !hasLeft()) throw signal.reason
          controller.close()
          over(hasLeft() ? left : whole)
        } catch (error) {
          if (!signal.aborted) await pause(limits.noticeMs, signal)
          const ending = hasLeft() ? left : toBreak(error)
          over(ending)
          if (ending === left) controller.close()
          else await breakOff(controller, `${requestId}: ${ending.error?.message}`)
        }
      },
      // A body that has failed rejects here, and is closed all the same.
      async cancel(reason) {
        await reader.cancel(reason).catch(() => undefined)
        over(left)
      },
    },
    { highWaterMark: 0 },
  )
}
