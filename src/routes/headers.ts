import { GatewayError } from '../errors.ts'
import { Fields } from '../fields.ts'

/** Belong to one connection (RFC 9110, 7.6.1), or are made anew for the next. */
const connection = new Set(
  'connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade host content-length expect'.split(
    ' ',
  ),
)
/** A client's, and of no concern to a provider. */
const personal =
  /^(cookie|forwarded|x-forwarded-.*|x-real-ip|true-client-ip|origin|accept-encoding|via|cf-.*|cdn-loop|sec-.*)$/
/** A provider's, and of no concern to a client: its cookies, its own edge, its CORS and gateway words. */
const foreign =
  /^(set-cookie|alt-svc|strict-transport-security|access-control-.*|content-encoding|cf-.*|nel|report-to)$/

/** The headers of a client that go on to a provider. Gateway credentials must have been taken out before. */
export function forwardable(headers: Headers): Headers {
  return filter(headers, personal)
}

/** The headers of a provider that go on to a client. Bodies are decoded by `fetch`, so their coding is dropped. */
export function returnable(headers: Headers): Headers {
  return filter(headers, foreign)
}

function filter(headers: Headers, dropped: RegExp): Headers {
  const named = headers.get('connection')?.toLowerCase().split(',')
  const kept = new Fields()
  for (const [name, value] of headers) {
    if (connection.has(name) || dropped.test(name)) continue
    if (named?.some((token) => token.trim() === name)) continue
    kept.append(name, value)
  }
  return kept
}

/**
 * Headers from the `headers` object of a universal item; values may be numbers, booleans or objects.
 * @throws GatewayError bad_request for names or values that no header may have, or that belong to a connection
 */
export function fromItem(items: Readonly<Record<string, unknown>>): Headers {
  const headers = new Fields()
  for (const [name, value] of Object.entries(items)) {
    if (value === null || value === undefined) continue
    if (connection.has(name.toLowerCase()))
      throw new GatewayError('bad_request', `headers.${name}: not allowed here`)
    const text = typeof value === 'object' ? toJson(value, name) : String(value)
    // ASCII only, since runtimes write the rest differently; line breaks too, since some trim them in silence.
    if (!isToken(name) || !/^[\t\x20-\x7e]*$/.test(text)) {
      throw new GatewayError('bad_request', `headers.${printable(name)}: not a legal header`)
    }
    headers.set(name, text.trim())
  }
  return headers
}

/** Whether a text may be a name in a header (RFC 9110, 5.6.2). */
export const isToken = (text: string): boolean => /^[!#$%&'*+.^_`|~0-9a-z-]+$/i.test(text)

const printable = (name: string): string => JSON.stringify(name.slice(0, 80)).slice(1, -1)

/** @throws GatewayError bad_request for what is nested deeper than the runtime's stack */
function toJson(value: object, name: string): string {
  try {
    return JSON.stringify(value)
  } catch {
    throw new GatewayError('bad_request', `headers.${printable(name)}: nested too deeply`)
  }
}
