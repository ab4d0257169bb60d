import type { OutboundRequest, PlainResponse } from '../src/plain.ts'
import { fromWebResponse } from '../src/web.ts'

/** Outbound HTTP by the runtime's own `fetch`. `own` holds options that only this runtime has. */
export function createFetch(
  own: object = {},
): (request: OutboundRequest, signal: AbortSignal) => Promise<PlainResponse> {
  return ({ method, url, headers, body }, signal) => {
    const init: RequestInit & { duplex?: 'half' } = {
      ...own,
      method,
      headers: Object.fromEntries(headers),
      body,
      signal,
      redirect: 'manual',
    }
    if (body instanceof ReadableStream) init.duplex = 'half'
    return fetch(url, init).then(fromWebResponse)
  }
}
