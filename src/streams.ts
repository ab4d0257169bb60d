import { GatewayError } from './errors.ts'
import { limits } from './limits.ts'
import { pause } from './pause.ts'
import type { ByteReader, ByteSource, Part } from './plain.ts'
import type { Ending, Watch } from './types.ts'

/**
 * A whole body, up to a number of bytes. One that is larger is read on for a while, since a client that is cut off
 * while it sends never sees why.
 * @throws GatewayError too_large; client_closed when the stream breaks; or the signal's reason
 */
export async function readBytes(
  body: ByteSource | null,
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

/** Parts of a body as one; their sizes add up to `size`, which who knows it need not have counted again. */
export function join(
  parts: readonly Uint8Array[],
  size: number = parts.reduce((sum, part) => sum + part.byteLength, 0),
): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(size)
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.byteLength
  }
  return whole
}

/** Reads a body until it ends or the signal aborts, which cancels it and so closes the provider's connection. */
export function readUntil(body: ByteSource, signal: AbortSignal): ByteReader {
  const reader = body.getReader()
  const stop = (): void => void reader.cancel(signal.reason).catch(() => undefined)
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  return reader
}

const whole: Ending = { outcome: 'completed', upstreamStopped: true }
const left: Ending = { outcome: 'cancelled', upstreamStopped: true }
const brokenOff = new GatewayError('provider_failed', 'The provider broke off its answer')

/** What a body failed with: the gateway's own reasons are told, the runtime's are not. */
export const toFault = (error: unknown): GatewayError => (error instanceof GatewayError ? error : brokenOff)

/** How a body that failed with `error` ended. */
export function toBreak(error: unknown): Ending {
  const { code, message } = toFault(error)
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

/** Breaks off a body that is read, once what came before is on its way. `why` is for the log. */
export async function breakOff(why: string): Promise<never> {
  await pause(limits.flushMs)
  throw new BrokenBody(why)
}

/** How a body is relayed. */
export interface Relaying {
  /** Aborts when the client has left, or when the gateway stops. */
  readonly signal: AbortSignal
  /** Names it in the log. */
  readonly requestId?: string
  /** Goes before what the reader still has. */
  readonly first?: Part
  /** Told of the body and its end. */
  readonly watch?: Watch
  /** Called when the body is over, in whatever way. */
  readonly ended?: () => void
}

/**
 * What a reader still has, as a body. A fault becomes one of ours, as runtimes print a body's faults, with the
 * provider's URL in them. After the client has left there is nobody to tell, and it just ends.
 */
export function relay(reader: ByteReader, relaying: Relaying): ByteSource {
  return new Relay(reader, relaying)
}

class Relay implements ByteSource, ByteReader {
  readonly #reader: ByteReader
  readonly #relaying: Relaying
  #first: Relaying['first']
  #isCancelled = false

  constructor(reader: ByteReader, relaying: Relaying) {
    this.#reader = reader
    this.#relaying = relaying
    this.#first = relaying.first
    const { signal, watch } = relaying
    // Not every runtime cancels the body of a client that has left.
    if (watch) signal.addEventListener('abort', () => this.#hasLeft && watch.end(left), { once: true })
  }

  getReader(): ByteReader {
    return this
  }

  async read(): Promise<Part> {
    const { signal, watch } = this.#relaying
    try {
      const part = this.#first ?? (await this.#reader.read())
      this.#first = undefined
      if (!part.done) {
        watch?.read(part.value)
        return part
      }
      if (signal.aborted && !this.#hasLeft) throw signal.reason
      this.#over(this.#hasLeft ? left : whole)
      return part
    } catch (error) {
      return this.#break(error)
    }
  }

  async cancel(reason?: unknown): Promise<void> {
    this.#isCancelled = true // a read that is under way ends now, as if the body did
    // A body that has failed rejects here, and is closed all the same.
    await this.#reader.cancel(reason).catch(() => undefined)
    this.#over(left)
  }

  async #break(error: unknown): Promise<Part> {
    const { signal, requestId } = this.#relaying
    if (!signal.aborted) await pause(limits.noticeMs, signal)
    const ending = this.#hasLeft ? left : toBreak(error)
    this.#over(ending)
    return ending === left ? { done: true } : breakOff(`${requestId}: ${ending.error?.message}`)
  }

  get #hasLeft(): boolean {
    const { signal } = this.#relaying
    return this.#isCancelled || (signal.aborted && !(signal.reason instanceof GatewayError))
  }

  #over(ending: Ending): void {
    this.#relaying.watch?.end(ending)
    this.#relaying.ended?.()
  }
}

/** Bytes that are there already, as a body. */
export function toSource(bytes: Uint8Array): ByteSource {
  let rest: Uint8Array | undefined = bytes.byteLength > 0 ? bytes : undefined
  const cancel = async (): Promise<void> => {
    rest = undefined
  }
  const reader: ByteReader = {
    async read() {
      const value = rest
      rest = undefined
      return value ? { done: false, value } : { done: true }
    },
    cancel,
  }
  return { getReader: () => reader, cancel }
}

/** A body as the web has it. */
export function toStream(source: ByteSource): ReadableStream<Uint8Array> {
  if (source instanceof ReadableStream) return source
  if (source.stream) return source.stream
  const reader = source.getReader()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}
