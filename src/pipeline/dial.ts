import { GatewayError, toStopReason, toUnreachable } from '../errors.ts'
import { limits } from '../limits.ts'
import type { Providers } from '../providers/providers.ts'
import type { Connected, Listener } from '../socket.ts'
import type { Runtime, Step } from '../types.ts'

/** What is dialled, and who hears it. */
export interface Dialling {
  readonly step: Step
  /** Subprotocols to offer. */
  readonly protocols: readonly string[]
  readonly listener: Listener
  readonly signal: AbortSignal
}

/**
 * Opens a provider's socket, or tells how it refused. Throws `GatewayError` only; the signal's reason where
 * that ended it.
 */
export type DialProvider = (dialling: Dialling) => Promise<Connected | Response>

/** Dials providers through the runtime's `connect`. */
export function createDial(providers: Providers, runtime: Runtime): DialProvider {
  return async ({ step, protocols, listener, signal }) => {
    const timer = new AbortController()
    const ms = step.options.requestTimeout ?? limits.dialMs
    const timeout = setTimeout(() => timer.abort(), ms)
    const either = AbortSignal.any([signal, timer.signal])
    try {
      const provider = providers.get(step.provider)
      if (!provider) throw new GatewayError('invalid_provider')
      const { realtime } = provider
      const bringsKey = realtime.passes.some((name) => step.url.searchParams.has(name))
      const asked = { ...step, alias: step.options.byokAlias, bringsKey }
      const ready = await provider.authorize(asked, runtime.fetch, either)
      const { url, headers } = realtime.place(step.url, ready.headers)
      const reached = await runtime.connect(url, { headers, protocols, signal: either }, listener)
      if (reached instanceof Response) signal.throwIfAborted()
      return reached
    } catch (error) {
      if (signal.aborted) throw toStopReason(signal)
      if (timer.signal.aborted)
        throw new GatewayError('timeout', `The provider did not open a socket within ${ms} ms`)
      throw error instanceof GatewayError ? error : toUnreachable(error)
    } finally {
      clearTimeout(timeout)
    }
  }
}
