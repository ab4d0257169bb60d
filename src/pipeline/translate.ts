import { GatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import type { PlainResponse } from '../plain.ts'
import { readBytes, readUntil, toSource } from '../streams.ts'
import type { Stage, Translated, Translation, Watch } from '../types.ts'
import type { Sent, Try } from './record.ts'

/** The gateway's own errors, in the shape of the API that was called last. */
export const shapeErrors: Stage = async (call, next) => {
  try {
    return await next(call)
  } catch (error) {
    const translation = call.steps.at(-1)?.translation
    if (!translation || !(error instanceof GatewayError)) throw error
    const body = translation.failure(error)
    throw new GatewayError(error.code, error.message, { ...error.detail, body })
  }
}

/**
 * Translates the answers of steps that ask for it, outside of what records them. A stream begins with its first event
 * that means something to the client; one that fails before that is an answer that failed, so that the next step is
 * tried.
 */
export function createTranslate(send: Try): Try {
  return async (attempt) => {
    const { translation } = attempt.step
    const sent = await send(attempt)
    if (!translation) return sent
    const { headers } = translation
    const { signal } = attempt.call
    const isStream = translation.isStream && sent.response.ok
    return { ...(await (isStream ? stream : whole)(sent, translation, signal)), headers }
  }
}

type Change = (sent: Sent, translation: Translation, signal: AbortSignal) => Promise<Sent>

const whole: Change = async ({ response, watch, logId }, translation, signal) => {
  try {
    const bytes = await readBytes(response.body, limits.bodyBytes, signal)
    watch.read(bytes)
    const { body, fault } = translation.whole(new TextDecoder().decode(bytes), response.status)
    if (fault) return toFailed({ response, watch, ...(logId && { logId }) }, { ...fault, body })
    const head = { status: response.status, headers: withType(response.headers, 'application/json') }
    return { response: new Response(body || null, head), watch: outer(watch), ...(logId && { logId }) }
  } catch (error) {
    throw fail(error, watch, signal)
  }
}

const stream: Change = async ({ response, watch, logId }, translation, signal) => {
  const log = logId === undefined ? {} : { logId }
  const body = readTranslated(response, translation, watch, signal)
  const first = await body.next().catch((error: unknown) => {
    throw fail(error, watch, signal)
  })
  if (signal.aborted) throw fail(signal.reason, watch, signal)
  const { fault, bytes } = first ?? { bytes: new Uint8Array(0) }
  if (!fault || bytes.byteLength > 0) {
    const head = { status: response.status, headers: withType(response.headers, 'text/event-stream') }
    return { response: new Response(toBody(body, first), head), watch: outer(watch), ...log }
  }
  const failed = toFailed({ response, watch, ...log }, fault)
  await body.cancel()
  return failed
}

/** An answer that is none, so that the next step is tried. */
function toFailed(
  { response, watch, ...log }: Sent,
  { status, message, body }: Pick<NonNullable<Translated['fault']>, 'status' | 'message' | 'body'>,
): Sent {
  watch.end({ outcome: 'failed', upstreamStopped: true, error: { code: 'provider_failed', message } })
  const headers = withType(response.headers, 'application/json')
  headers.delete('location')
  return { response: new Response(body, { status, headers }), watch: outer(watch), ...log }
}

interface Translating {
  /** The next part that has bytes or a fault; undefined at the end. */
  next(): Promise<Translated | undefined>
  cancel(): Promise<void>
}

function readTranslated(
  { body }: PlainResponse,
  translation: Translation,
  watch: Watch,
  signal: AbortSignal,
): Translating {
  const reader = readUntil(body ?? toSource(new Uint8Array(0)), signal)
  const translator = translation.stream()
  let [isOver, hasBegun] = [false, false]
  const read = async (): Promise<Translated> => {
    try {
      const { done, value } = await reader.read()
      isOver = done
      if (value) watch.read(value)
      return value ? translator.push(value) : translator.end()
    } catch (error) {
      // Before the first event another step may take its place; and who has left is told nothing.
      if (!hasBegun || signal.aborted || !translator.broken) throw error
      return { bytes: new Uint8Array(0), fault: translator.broken() }
    }
  }
  return {
    async next() {
      while (!isOver) {
        const part = await read()
        if (part.fault) isOver = true
        hasBegun ||= part.bytes.byteLength > 0
        if (part.fault || part.bytes.byteLength > 0) return part
      }
      return undefined
    },
    // A body that has failed rejects here, and is closed all the same.
    cancel: () => reader.cancel().catch(() => undefined),
  }
}

/** What was translated, as fast as it is read. A fault is told as an event, and then breaks the body. */
function toBody(translating: Translating, first: Translated | undefined): ReadableStream<Uint8Array> {
  let held = first
  let fault: Translated['fault']
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (fault) return controller.error(new GatewayError('provider_failed', fault.message))
        const part = held ?? (await translating.next())
        held = undefined
        if (!part) return controller.close()
        if (part.bytes.byteLength > 0) controller.enqueue(part.bytes)
        if (!part.fault) return
        fault = part.fault
        const isTold = fault.event.byteLength > 0
        if (isTold) controller.enqueue(fault.event)
        await translating.cancel()
        if (!isTold && part.bytes.byteLength === 0)
          controller.error(new GatewayError('provider_failed', fault.message))
      },
      cancel: () => translating.cancel(),
    },
    { highWaterMark: 0 },
  )
}

/** The watch has seen the provider's bytes; the client's are not its matter, but their end is. */
const outer = (watch: Watch): Watch => ({
  read: () => undefined,
  account: () => watch.account(),
  end: (ending) => watch.end(ending),
})

function withType(given: Headers, type: string): Headers {
  const headers = new Headers(given)
  headers.set('content-type', type)
  headers.delete('content-length')
  return headers
}

/** An answer that broke, or cannot be read. */
function fail(error: unknown, watch: Watch, signal: AbortSignal): GatewayError {
  const message = 'The provider broke off its answer, or sent one that cannot be read'
  const ours = signal.aborted
    ? new GatewayError('client_closed')
    : new GatewayError('provider_failed', message)
  const known = error instanceof GatewayError && error.code !== 'client_closed' ? error : ours
  const { code } = known
  const outcome = code === 'client_closed' ? 'cancelled' : 'incomplete'
  watch.end({ outcome, upstreamStopped: true, error: { code, message: known.message } })
  return known
}
