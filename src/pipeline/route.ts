import { GatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import type { Backoff, Call, Handler, Options, Step } from '../types.ts'
import type { Send } from './send.ts'

/** How one try, or all tries of a step, ended. */
type Outcome = { readonly response: Response } | { readonly error: GatewayError }

/** Statuses that another try may mend. */
const retryable = new Set([408, 409, 425, 429])
const defaultDelayMs = 1_000
const jitter = 0.2

/**
 * The last handler: each step in order until one answers 2xx, each with its own tries. When all fail, the last
 * one's answer (PROTOCOL.md, "Retry / fallback").
 */
export function createRoute(send: Send): Handler {
  return async (call) => {
    let attempts = 0
    const count = (step: Step, signal: AbortSignal) => {
      attempts += 1
      return send(step, signal)
    }
    for (const [index, step] of call.steps.entries()) {
      const outcome = await tryStep(step, call, count)
      const isLast = index === call.steps.length - 1
      if ('response' in outcome && (outcome.response.ok || isLast)) {
        return { response: outcome.response, step: index, attempts, cacheStatus: 'MISS' }
      }
      if ('error' in outcome && isLast)
        throw new GatewayError(outcome.error.code, outcome.error.message, index)
      await discard(outcome)
    }
    throw new GatewayError('internal')
  }
}

async function tryStep(step: Step, call: Call, send: Send): Promise<Outcome> {
  const { maxAttempts = 1, retryDelay = defaultDelayMs, backoff = 'constant' } = step.options
  const tries = step.body instanceof ReadableStream ? 1 : maxAttempts
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await tryOnce(step, call.signal, send)
    if (attempt >= tries || !isRetryable(outcome)) return outcome
    await discard(outcome)
    await pause(Math.max(backoffMs(backoff, retryDelay, attempt), retryAfterMs(outcome)), call.signal)
  }
}

async function tryOnce(step: Step, signal: AbortSignal, send: Send): Promise<Outcome> {
  try {
    return { response: await send(step, signal) }
  } catch (error) {
    if (error instanceof GatewayError && error.code !== 'client_closed') return { error }
    throw error
  }
}

function isRetryable(outcome: Outcome): boolean {
  if ('error' in outcome) return outcome.error.code === 'provider_failed' || outcome.error.code === 'timeout'
  return retryable.has(outcome.response.status) || outcome.response.status >= 500
}

/** Closes the provider's connection of an answer that nobody will read. */
async function discard(outcome: Outcome): Promise<void> {
  if (!('response' in outcome)) return
  // A body that has already failed rejects here, and is closed all the same.
  await outcome.response.body?.cancel().catch(() => undefined)
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
function retryAfterMs(outcome: Outcome): number {
  const value = 'response' in outcome ? outcome.response.headers.get('retry-after') : null
  if (!value) return 0
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), limits.retryAfterMs) : 0
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new GatewayError('client_closed'))
    const leave = () => {
      clearTimeout(timer)
      reject(new GatewayError('client_closed'))
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', leave)
      resolve()
    }, ms)
    signal.addEventListener('abort', leave, { once: true })
  })
}
