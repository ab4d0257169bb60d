import type * as z from 'zod/mini'
import { parseJson } from '../json.ts'
import type { OutboundRequest } from '../plain.ts'
import type { Runtime, Step } from '../types.ts'

/** A request that lacks its credentials. */
export interface Outgoing extends OutboundRequest {
  /** Of the stored key to take. */
  readonly alias?: string | undefined
  /** Taken in place of the provider's own. */
  readonly key?: string
  /** It brings a credential elsewhere than in a header, so that none is to be added. */
  readonly bringsKey?: boolean
}

/** What to send. The body is another one only where a stream had to be held to be signed. */
export interface Authorized {
  readonly headers: Headers
  readonly body: Step['body']
}

/**
 * Adds the stored key to a request that brought none of its own. The headers given are its to change.
 * @throws GatewayError, or the signal's reason
 */
export type Authorize = (
  request: Outgoing,
  fetch: Runtime['fetch'],
  signal: AbortSignal,
) => Promise<Authorized>

/**
 * A stored key that is a JSON object; undefined for a plain key, or none.
 * @throws TypeError for JSON of another shape; the key is not quoted
 */
export function readJsonKey<T>(key: string | undefined, shape: z.ZodMiniType<T>): T | undefined {
  if (!key?.trimStart().startsWith('{')) return undefined
  const parsed = shape.safeParse(parseJson(key))
  if (!parsed.success)
    throw new TypeError('the stored key begins like JSON, and is not what this provider takes')
  return parsed.data
}

/** The outcome of a promise that others may wait for as well, or the signal's reason once it aborts. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(signal.reason)
    if (signal.aborted) return leave()
    signal.addEventListener('abort', leave, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
  })
}
