import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { GatewayError, toErrorBody, toGatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import { join } from '../streams.ts'
import type { Socket } from '../types.ts'
import { frames, type Metadata } from './messages.ts'

/** An answer on its way to a socket. */
export interface Reply {
  readonly metadata: Metadata
  readonly contentType: string
  readonly body: ReadableStream<Uint8Array> | null
}

/** Stops the provider of the request it belongs to. */
export type Stop = (reason: GatewayError) => void

/** Frames for one answer: one for a single answer, `created`, `stream` …, `done` for a stream. Never rejects. */
export async function deliver(socket: Socket, eventId: string, reply: Reply, stop: Stop): Promise<void> {
  if (/^text\/event-stream\b/i.test(reply.contentType)) await deliverStream(socket, eventId, reply, stop)
  else await deliverSingle(socket, eventId, reply, stop)
}

/** One frame for a request that failed. */
export function failed(eventId: string, error: GatewayError): string {
  const step: Metadata = error.step === undefined ? {} : { step: String(error.step) }
  const metadata = { eventId, ...step, contentType: 'application/json', status: error.status }
  return frames.created(metadata, JSON.stringify(toErrorBody(error)))
}

async function deliverSingle(socket: Socket, eventId: string, reply: Reply, stop: Stop): Promise<void> {
  const parts: Uint8Array[] = []
  let size = 0
  try {
    for await (const part of read(reply.body, stop)) {
      parts.push(part)
      size += part.byteLength
      if (size > limits.bodyBytes)
        throw new GatewayError('provider_failed', `The answer is over ${limits.bodyBytes} bytes`)
    }
  } catch (error) {
    return socket.send(failed(eventId, toProviderError(error)))
  }
  const body = join(parts, size)
  const metadata = { ...reply.metadata, contentType: reply.contentType }
  if (isBinary(reply.contentType)) {
    return socket.send(frames.created({ ...metadata, encoding: 'base64' }, `"${toBase64(body)}"`))
  }
  return socket.send(frames.created(metadata, toJsonText(new TextDecoder().decode(body), reply.contentType)))
}

async function deliverStream(socket: Socket, eventId: string, reply: Reply, stop: Stop): Promise<void> {
  const metadata = { ...reply.metadata, contentType: reply.contentType }
  await socket.send(frames.created(metadata))
  try {
    for await (const { event, data } of readEvents(read(reply.body, stop))) {
      if (data === '[DONE]') continue // universal.done stands for it
      await socket.send(frames.stream(eventId, event, toJsonText(data, 'application/json')))
    }
  } catch (error) {
    const { code, message } = toProviderError(error)
    return socket.send(frames.done({ ...metadata, status: 'incomplete' }, { code, message }))
  }
  return socket.send(frames.done(metadata))
}

/** The chunks of a body; a provider silent for too long is stopped. Leaving the loop early closes the provider. */
async function* read(body: ReadableStream<Uint8Array> | null, stop: Stop): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader()
  if (!reader) return
  try {
    for (;;) {
      const silence = setTimeout(() => stop(new GatewayError('timeout')), limits.silenceMs)
      const { done, value } = await reader.read().finally(() => clearTimeout(silence))
      if (done) return
      yield value
    }
  } finally {
    // No effect after the end; a body that has failed rejects here and is closed all the same.
    await reader.cancel().catch(() => undefined)
  }
}

/** @throws GatewayError provider_failed for an event over the limit, or a stream that ends inside one */
async function* readEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<EventSourceMessage> {
  let events: EventSourceMessage[] = []
  let overflow = false
  const decoder = new TextDecoder()
  const parser = createParser({
    maxBufferSize: limits.eventBytes,
    onEvent: (event) => events.push(event),
    onError: (error) => {
      overflow ||= error.type === 'max-buffer-size-exceeded'
    },
  })
  const take = (text: string): EventSourceMessage[] => {
    parser.feed(text)
    if (overflow) throw new GatewayError('provider_failed', `An event is over ${limits.eventBytes} bytes`)
    const taken = events
    events = []
    return taken
  }
  for await (const chunk of chunks) yield* take(decoder.decode(chunk, { stream: true }))
  for (const event of take(`${decoder.decode()}\n\n`)) {
    // Some providers leave out the last blank line; half an event must not pass for a whole one.
    if (event.data !== '[DONE]' && !isJson(event.data))
      throw new GatewayError('provider_failed', 'The stream ended inside an event')
    yield event
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

const toProviderError = (error: unknown): GatewayError =>
  error instanceof GatewayError
    ? toGatewayError(error)
    : new GatewayError('provider_failed', 'The provider broke off its answer')

/** In slices, since a spread of megabytes overflows the stack. A multiple of three keeps the slices joinable. */
function toBase64(bytes: Uint8Array): string {
  const slice = 3 << 13
  let text = ''
  for (let at = 0; at < bytes.length; at += slice)
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + slice)))
  return text
}
