import { GatewayError, toStopReason, toUnreachable } from '../errors.ts'
import { limits } from '../limits.ts'
import type { PlainResponse } from '../plain.ts'
import type { Providers } from '../providers/providers.ts'
import { readUntil, relay } from '../streams.ts'
import type { Runtime, Step } from '../types.ts'

/** One call of a provider. Throws `GatewayError` only; the signal's reason where that ended it. */
export type Send = (step: Step, signal: AbortSignal) => Promise<PlainResponse>

/** Nobody asked for compression, so nobody pays for it; a provider that compresses all the same is decoded by `fetch`. */
const acceptEncoding = 'identity'

/** Calls providers through the runtime's `fetch`. */
export function createSend(providers: Providers, runtime: Runtime): Send {
  return async (step, signal) => {
    if (step.answer) return step.answer()
    const stop = new AbortController()
    const leave = (): void => stop.abort(signal.reason)
    if (signal.aborted) leave()
    else signal.addEventListener('abort', leave, { once: true })
    const ms = step.options.requestTimeout ?? limits.firstByteMs
    let isLate = false
    const timeout = setTimeout(() => {
      isLate = true
      stop.abort()
    }, ms)
    try {
      const response = await call(step, stop.signal)
      return step.options.requestTimeout === undefined ? response : await withFirstPart(response, signal)
    } catch (error) {
      if (signal.aborted) throw toStopReason(signal)
      if (isLate) throw new GatewayError('timeout', `The provider did not answer within ${ms} ms`)
      throw error instanceof GatewayError ? error : toUnreachable(error)
    } finally {
      clearTimeout(timeout)
    }
  }

  async function call(step: Step, signal: AbortSignal): Promise<PlainResponse> {
    const provider = providers.get(step.provider)
    if (!provider) throw new GatewayError('invalid_provider')
    const asked = { ...step, alias: step.options.byokAlias }
    const { headers, body } = await provider.authorize(asked, runtime.fetch, signal)
    headers.set('accept-encoding', acceptEncoding)
    const response = await runtime.fetch({ method: step.method, url: step.url, headers, body }, signal)
    if (response.status < 200 || response.status > 599) throw new GatewayError('provider_failed')
    return response
  }
}

/** Wait for the first part of the body, then hand on the same bytes. Time-outs count up to here (contract 2.4). */
async function withFirstPart(response: PlainResponse, signal: AbortSignal): Promise<PlainResponse> {
  if (!response.body) return response
  const reader = readUntil(response.body, signal)
  const { status, statusText, ok, headers } = response
  return { status, statusText, ok, headers, body: relay(reader, { signal, first: await reader.read() }) }
}
