import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { type ErrorCode, GatewayError, toErrorBody, toGatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import { failureHead, isEventStream } from '../runs/pump.ts'
import type { Reader, RunEvent } from '../runs/reader.ts'
import type { Head, Terminal } from '../runs/terms.ts'
import type { Socket } from '../socket.ts'
import { join } from '../streams.ts'
import { frames, type Metadata } from './frames.ts'
import type { Wire } from './messages.ts'

/** How a run is told to a client. */
export interface Telling {
  readonly wire: Wire
  /** The client's name for the run. */
  readonly eventId: string
  readonly raw: boolean
  /** The run was there before. */
  readonly attached: boolean
  /** Its client was told of it before, and only memory was lost since. */
  readonly isContinued?: boolean
  /** Nothing more is sent before the next ack. */
  readonly waits?: () => void
}

/** Frames of one run to one socket, up to its end or the reader's. Never rejects. */
export async function deliver(socket: Socket, reader: Reader, telling: Telling): Promise<void> {
  const head = await reader.head()
  if (reader.isClosed) return
  const metadata = head && toMetadata(head, reader, telling)
  try {
    if (!metadata) return await end(socket, reader, telling, {})
    if (telling.raw || isEventStream(head.contentType)) await tellStream(socket, reader, telling, head)
    else await tellSingle(socket, reader, telling, metadata)
  } catch (error) {
    await socket.send(frames.failure(toGatewayError(error), { eventId: telling.eventId })) // a gap
  } finally {
    reader.close()
  }
}

/** One frame for a request that failed before it was a run. */
export function failed(eventId: string, error: GatewayError): string {
  return frames.created(failureHead(eventId, error).metadata, JSON.stringify(toErrorBody(error)))
}

function toMetadata(head: Head, { run }: Reader, { wire, eventId, attached }: Telling): Metadata {
  const metadata = { ...head.metadata, eventId }
  if (wire === 'base') return metadata
  return { ...metadata, runId: run.id, ...(attached && { attached }) }
}

async function tellStream(socket: Socket, reader: Reader, telling: Telling, head: Head): Promise<void> {
  const metadata = toMetadata(head, reader, telling)
  if (!telling.isContinued)
    await socket.send(telling.raw ? frames.createdRaw(metadata, head.headers) : frames.created(metadata))
  const tell = telling.raw ? tellBytes(telling) : tellEvents(telling)
  for (let event = await reader.next(); event; event = await reader.next()) {
    const frame = tell(event)
    if (frame === undefined) reader.pass()
    else await socket.send(frame)
    if (reader.isFull) telling.waits?.()
  }
  await end(socket, reader, telling, metadata)
}

/** A single answer goes into one frame. */
async function tellSingle(
  socket: Socket,
  reader: Reader,
  telling: Telling,
  metadata: Metadata,
): Promise<void> {
  const parts: Uint8Array[] = []
  let size = 0
  for (let event = await reader.next(); event; event = await reader.next()) {
    parts.push(event.bytes)
    size += event.bytes.byteLength
    if (size > limits.bodyBytes)
      reader.run.stop(new GatewayError('provider_failed', `The answer is over ${limits.bodyBytes} bytes`))
    reader.ack(event.seq) // its client can consume nothing before the whole
  }
  const { terminal } = reader.run
  if (reader.isClosed || !terminal) return
  if (terminal.outcome === 'completed' || terminal.outcome === 'failed')
    await socket.send(toSingle(metadata, join(parts, size)))
  else if (terminal.error) await socket.send(toBroken(metadata, terminal.error))
  if (telling.wire !== 'base') await end(socket, reader, telling, metadata)
}

function toSingle(metadata: Metadata, body: Uint8Array): string {
  const contentType = String(metadata.contentType)
  if (isBinary(contentType)) return frames.created({ ...metadata, encoding: 'base64' }, `"${toBase64(body)}"`)
  return frames.created(metadata, toJsonText(new TextDecoder().decode(body), contentType))
}

/** The error takes the place of an answer that broke off before its frame. */
function toBroken(metadata: Metadata, { code, message }: NonNullable<Terminal['error']>): string {
  const error = new GatewayError(code as ErrorCode, message)
  const own = { ...metadata, ...failureHead(String(metadata.eventId), error).metadata }
  return frames.created(own, JSON.stringify(toErrorBody(error)))
}

/** Tells how the run ended, unless the reader has left before. */
async function end(socket: Socket, reader: Reader, telling: Telling, metadata: Metadata): Promise<void> {
  const { terminal } = reader.run
  if (reader.isClosed || !terminal) return
  const { outcome, upstreamStopped, usage, cost, error } = terminal
  if (telling.wire === 'base') {
    if (metadata.eventId === undefined) {
      const { code, message } = error ?? new GatewayError('client_closed')
      await socket.send(failed(telling.eventId, new GatewayError(code as ErrorCode, message)))
      return
    }
    const isWhole = outcome === 'completed' || outcome === 'failed'
    await socket.send(frames.done(isWhole ? metadata : { ...metadata, status: 'incomplete' }, error))
    return
  }
  const { attached: _, ...rest } = metadata
  const { eventId } = telling
  const seq = reader.run.end - 1
  const full = {
    eventId,
    runId: reader.run.id,
    ...rest,
    seq,
    outcome,
    upstreamStopped,
    ...(usage && { usage }),
    ...(cost && { cost }),
  }
  await socket.send(frames.done(full, error))
}

type Tell = (event: RunEvent) => string | undefined

function tellBytes({ eventId }: Telling): Tell {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  return ({ seq, bytes }) => {
    const metadata = { eventId, seq }
    try {
      return frames.streamRaw(metadata, decoder.decode(bytes))
    } catch {
      return frames.streamRaw(metadata, toBase64(bytes), 'base64')
    }
  }
}

function tellEvents({ wire, eventId }: Telling): Tell {
  let message: EventSourceMessage | undefined
  const parser = createParser({
    onEvent: (event) => {
      message = event
    },
  })
  const decoder = new TextDecoder()
  return ({ seq, bytes }) => {
    message = undefined
    parser.feed(decoder.decode(bytes))
    if (!message) parser.feed('\n\n') // the last event may come without its blank line
    const { event, data } = (message ?? {}) as Partial<EventSourceMessage>
    if (data === undefined || data === '[DONE]') return undefined // universal.done stands for it
    const metadata: Metadata = wire === 'base' ? { eventId } : { eventId, seq }
    return frames.stream(metadata, event, toJsonText(data, 'application/json'))
  }
}

/** JSON goes in as it stands; whatever else becomes a JSON string. */
function toJsonText(text: string, contentType: string): string {
  return /[/+]json\b/i.test(contentType) && isJson(text) ? text : JSON.stringify(text)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const isBinary = (contentType: string): boolean =>
  contentType !== '' &&
  !/^(text\/|application\/(.*[+])?(json|xml|javascript|x-www-form-urlencoded|x-ndjson)\b)/i.test(contentType)

/** In slices, since a spread of megabytes overflows the stack. A multiple of three keeps the slices joinable. */
function toBase64(bytes: Uint8Array): string {
  const slice = 3 << 13
  let text = ''
  for (let at = 0; at < bytes.length; at += slice)
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + slice)))
  return text
}
