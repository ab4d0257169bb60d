import type { IncomingMessage } from 'node:http'

/** What a request asks of the emulator, in the header `x-upstream` (JSON) or a model named `emulate?status=500&…`. */
export interface Control {
  /** Finds the request in the ledger, and counts `statuses`. */
  key?: string
  status?: number
  /** Status of the nth request with this key; the last one repeats. */
  statuses?: number[]
  /** Extra response headers. */
  headers?: Record<string, string>
  /** Milliseconds before the headers. */
  delay?: number
  /** Milliseconds between events. */
  interval?: number
  /** Number of content events; default: one per word. */
  events?: number
  /** Never send headers, or headers and then nothing. */
  hang?: 'headers' | 'body'
  /** After n events: half an event, then the connection ends without its last chunk. */
  cut?: number
  /** After n events: the connection is reset. */
  reset?: number
  /** After n events: a clean end in the middle of an event. */
  truncate?: number
  /** Broken JSON, alone or as an event. */
  malformed?: boolean
  /** Bytes that are not HTTP. */
  garbage?: boolean
  /** A binary answer of n bytes. */
  bytes?: number
  /** A plain text answer. */
  text?: string
  crlf?: boolean
  comments?: boolean
  gzip?: boolean
  /** `Location` of a 302. */
  redirect?: string
  pretty?: boolean
  noDone?: boolean
}

/** Read the control of a request; a request without one asks for nothing. */
export function readControl(request: IncomingMessage, model: string): Control {
  const header = request.headers['x-upstream']
  if (typeof header === 'string') return JSON.parse(header) as Control
  const mark = model.indexOf('emulate?')
  if (mark < 0) return {}
  const pairs = [...new URLSearchParams(model.slice(mark + 'emulate?'.length))]
  return Object.fromEntries(pairs.map(([name, value]) => [name, toValue(name, value)])) as Control
}

function toValue(name: string, value: string): unknown {
  if (name === 'statuses') return value.split(',').map(Number)
  if (value === 'true') return true
  return /^\d+$/.test(value) && name !== 'key' && name !== 'text' ? Number(value) : value
}
