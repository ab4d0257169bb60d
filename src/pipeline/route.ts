import { GatewayError, toStopReason } from '../errors.ts'
import { limits } from '../limits.ts'
import { pause } from '../pause.ts'
import type { Backoff, Handler, Options } from '../types.ts'
import type { Attempt, Sent, Try } from './record.ts'

/** How one try, or all tries of a step, ended. */
type Tried = Sent | { readonly error: GatewayError }

/** Statuses that another try may mend. */
const retryable = new Set([408, 409, 425, 429])
const defaultDelayMs = 1_000
const jitter = 0.2

/**
 * The last handler: each step in order until one answers 2xx, each with its own tries. When all fail, the last
 * one's answer (PROTOCOL.md, "Retry / fallback").
 */
export function createRoute(send: Try): Handler {
  return async (call) => {
    let attempts = 0
    for (const [index, step] of call.steps.entries()) {
      const tried = await tryStep({ call, step, index, number: 1 }, (attempt) => {
        attempts += 1
        return tryOnce(attempt, send)
      })
      const isLast = index === call.steps.length - 1
      if ('response' in tried && (tried.response.ok || isLast)) {
        return { ...tried, step: index, attempts, cacheStatus: 'MISS' }
      }
      if ('error' in tried && isLast) throw atStep(tried.error, step.item ?? index)
      await discard(tried)
    }
    throw new GatewayError('internal')
  }
}

const atStep = ({ code, message, detail }: GatewayError, step: number): GatewayError =>
  new GatewayError(code, message, { ...detail, step })

async function tryStep(first: Attempt, send: (attempt: Attempt) => Promise<Tried>): Promise<Tried> {
  const { step, call } = first
  const { maxAttempts = 1, retryDelay = defaultDelayMs, backoff = 'constant' } = step.options
  const tries = step.body instanceof ReadableStream ? 1 : maxAttempts
  for (let number = 1; ; number += 1) {
    const tried = await send({ ...first, number })
    if (number >= tries || !isRetryable(tried)) return tried
    await discard(tried)
    await pause(Math.max(backoffMs(backoff, retryDelay, number), retryAfterMs(tried)), call.signal)
    if (call.signal.aborted) throw toStopReason(call.signal)
  }
}

async function tryOnce(attempt: Attempt, send: Try): Promise<Tried> {
  try {
    return await send(attempt)
  } catch (error) {
    if (error instanceof GatewayError && !attempt.call.signal.aborted) return { error }
    throw error
  }
}

function isRetryable(tried: Tried): boolean {
  if ('error' in tried) return tried.error.code === 'provider_failed' || tried.error.code === 'timeout'
  return retryable.has(tried.response.status) || tried.response.status >= 500
}

/** Closes the provider's connection of an answer that nobody will read. */
async function discard(tried: Tried): Promise<void> {
  if (!('response' in tried)) return
  tried.watch.end({ outcome: 'failed', upstreamStopped: true })
  // A body that has already failed rejects here, and is closed all the same.
  await tried.response.body?.cancel().catch(() => undefined)
}

/** Milliseconds before try `attempt + 1`: delay, delay × n, or delay × 2ⁿ⁻¹, give or take 20 %. */
export function backoffMs(
  backoff: Backoff,
  delay: NonNullable<Options['retryDelay']>,
  attempt: number,
): number {
  const factor = { constant: 1, linear: attempt, exponential: 2 ** (attempt - 1) }[backoff]
  return delay * factor * (1 - jitter + 2 * jitter * Math.random())
}

/** `Retry-After` in milliseconds (RFC 9110, 10.2.3: seconds or a date), bounded by the limit. */
function retryAfterMs(tried: Tried): number {
  const value = 'response' in tried ? tried.response.headers.get('retry-after') : null
  if (!value) return 0
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), limits.retryAfterMs) : 0
}
