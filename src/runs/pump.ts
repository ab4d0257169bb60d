import { GatewayError, toErrorBody, toGatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import type { ByteSource } from '../plain.ts'
import { createChunker, createSplitter } from '../splitter.ts'
import { readUntil, toBreak } from '../streams.ts'
import type { Watch } from '../types.ts'
import type { Run } from './run.ts'
import { type Head, type Terminal, toTerminal } from './terms.ts'

/** An answer, its body still a stream. */
export interface Reply {
  readonly head: Head
  readonly body: ByteSource | null
  readonly watch?: Watch
}

/** Makes the call of a run. May reject. */
export type Start = (signal: AbortSignal) => Promise<Reply>

/** Carries an answer into a run, up to its terminal record. Never rejects. */
export async function pump(run: Run, start: Start): Promise<void> {
  run.finish(await carry(run, start))
}

async function carry(run: Run, start: Start): Promise<Terminal> {
  try {
    if (run.signal.aborted) return stopped(run)
    run.start()
    const { head, body, watch } = await start(run.signal)
    run.begin(head, watch)
    if (body) await copyInto(run, body, watch)
    if (run.signal.aborted) return stopped(run)
    const isWell = head.status >= 200 && head.status < 300
    return { outcome: isWell ? 'completed' : 'failed', upstreamStopped: true }
  } catch (error) {
    if (run.signal.aborted) return stopped(run)
    if (run.head) return toBreak(error)
    return refuse(run, toGatewayError(error))
  }
}

/** The gateway's own error is the answer. */
function refuse(run: Run, error: GatewayError): Terminal {
  run.begin(failureHead(run.init.eventId, error))
  run.append(new TextEncoder().encode(JSON.stringify(toErrorBody(error))))
  const { code, message } = error
  return { outcome: 'failed', upstreamStopped: true, error: { code, message } }
}

/** The head of an answer that is an error of the gateway's own. */
export function failureHead(eventId: string, error: GatewayError): Head {
  const { step, requestId, headers = {} } = error.detail
  const contentType = 'application/json'
  return {
    status: error.status,
    contentType,
    headers: [['content-type', contentType], ...Object.entries(headers)],
    metadata: {
      eventId,
      ...(requestId !== undefined && { requestId }),
      ...(step !== undefined && { step: String(step) }),
      contentType,
      status: error.status,
      ...('retry-after' in headers && { retryAfterMs: Number(headers['retry-after']) * 1_000 }),
    },
  }
}

const stopped = (run: Run): Terminal => toTerminal(toGatewayError(run.signal.reason), true)

/** Whether an answer is a stream of server-sent events. */
export const isEventStream = (contentType: string): boolean => /^text\/event-stream\b/i.test(contentType)

/** The events of a body, as fast as they are read. @throws GatewayError, or what the body failed with */
export async function copyInto(run: Run, body: ByteSource, watch?: Watch): Promise<void> {
  const isStream = isEventStream(run.head?.contentType ?? '')
  const splitter = isStream ? createSplitter() : createChunker()
  const reader = readUntil(body, run.signal)
  try {
    for (;;) {
      await run.room()
      if (run.signal.aborted) return
      const silence = setTimeout(() => run.stop(new GatewayError('timeout')), limits.silenceMs)
      const { done, value } = await reader.read().finally(() => clearTimeout(silence))
      if (done) break
      for (const event of splitter.push(value)) {
        watch?.read(event)
        run.append(event)
      }
    }
    endWith(run, splitter.rest(), watch)
  } finally {
    // No effect after the end; a body that has failed rejects here and is closed all the same.
    await reader.cancel().catch(() => undefined)
  }
}

/** @throws GatewayError provider_failed */
function endWith(run: Run, rest: Uint8Array, watch?: Watch): void {
  if (rest.byteLength === 0) return
  if (!isWholeEnd(rest)) throw halfEvent()
  watch?.read(rest)
  run.append(rest)
}

/** A stream that ends inside of an event. */
export const halfEvent = (): GatewayError =>
  new GatewayError('provider_failed', 'The stream ended inside an event')

/** Some providers leave out the last blank line; half an event must not pass for a whole one. */
export function isWholeEnd(rest: Uint8Array): boolean {
  if (rest.byteLength === 0) return true
  const fields = new TextDecoder().decode(rest).split(/\r\n|\r|\n/)
  const data = fields.filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trim())
  return data.length === 0 ? fields.every(isComment) : isComplete(data.join('\n'))
}

const isComment = (line: string): boolean => line === '' || line.startsWith(':')

function isComplete(data: string): boolean {
  if (data === '[DONE]') return true
  try {
    JSON.parse(data)
    return true
  } catch {
    return false
  }
}
