import type { IncomingMessage } from 'node:http'

/**
 * What a request asks of the emulator: in the header or query parameter `x-upstream`, as JSON or as `status=500&…`,
 * or in a model named `emulate?status=500&…`, in the body or in the path. The header wins over the query, that over
 * the model. An event is any `data:` of a stream but `[DONE]`, or 64 KiB of `bytes`.
 */
export interface Control {
  /** Finds the request in the ledger, and counts `statuses`. */
  key?: string
  /** From 400: an error in the wire's own shape. */
  status?: number
  /** Status of the nth request with this key; the last one repeats. */
  statuses?: number[]
  /** Extra response headers. */
  headers?: Record<string, string>
  /** Milliseconds before the headers. */
  delay?: number
  /** Milliseconds between events. */
  interval?: number
  /** Number of content events; default: one per word. The text is the same, followed by numbers if it is too short. */
  events?: number
  /** Never send headers, or headers and then nothing; of a refused socket, no end. */
  hang?: 'headers' | 'body'
  /** After n events: half an event, then FIN without the last chunk. A single answer is cut in half, whatever n. */
  cut?: number
  /** After n events: RST. A single answer: after its first half. */
  reset?: number
  /** After n events: half an event and a clean end. A single answer: after its first half. */
  truncate?: number
  /** Broken JSON, alone or as a second event. */
  malformed?: boolean
  /** Bytes that are not HTTP, in place of an answer. */
  garbage?: boolean
  /** A binary answer of n bytes: 0…255, again and again. */
  bytes?: number
  /** A plain text answer, also for an error status. */
  text?: string
  /** Streams with CRLF line ends. */
  crlf?: boolean
  /** A comment before each event. */
  comments?: boolean
  /** Compress a single JSON answer of status 200. */
  gzip?: boolean
  /** `Location` of a 302. */
  redirect?: string
  /** Indent a single JSON answer. */
  pretty?: boolean
  /** Streams in writes of n bytes, whatever they cut through. */
  slice?: number
  /** Streams begin with an error of this status, in the wire's own shape. */
  fault?: number
  /** Streams without `[DONE]`. */
  noDone?: boolean
  /** Of a socket: so many texts are sent as soon as it is open. */
  greet?: number
  /** Of a socket: code and reason with which it is closed after `interval` ms; 1006 for a reset, 1005 for no code. */
  close?: [code: number, reason?: string]
  /** Of a socket: so many frames of 64 KiB in place of an echo. */
  flood?: number
  /** Of a socket: nothing is read. */
  deaf?: boolean
  /** Of a socket: the subprotocol that is selected, empty for none; default: the first that is offered. */
  select?: string
  /** Of a socket: bytes in hex that are written as they are once it is open. */
  raw?: string
}

const mark = 'emulate?'
const texts = new Set(['key', 'text', 'redirect', 'hang', 'select', 'raw'])

/** The control in header, query and path. @throws SyntaxError when it is not JSON */
export function readControl(request: IncomingMessage, path: string, query: string): Control {
  const asked = new URLSearchParams(query).get('x-upstream') ?? ''
  const header = request.headers['x-upstream'] ?? ''
  return { ...readPath(path, query), ...parse(asked), ...parse(String(header)) }
}

/** The control in the name of a model; other names ask for nothing. */
export function readModel(model: unknown): Control {
  if (typeof model !== 'string' || !model.includes(mark)) return {}
  return parse(model.slice(model.indexOf(mark) + mark.length))
}

/** A path part as it was meant; one that cannot be decoded stays as it is. */
export function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** A model in the path, its question mark escaped or, where it comes last, as the start of the query. */
function readPath(path: string, query: string): Control {
  if (path.endsWith('/emulate')) return readModel(mark + query)
  const named = path.split('/').map(decode)
  // Gemini puts the verb behind the model.
  return readModel(named.find((part) => part.includes(mark))?.replace(/:[a-z]+$/i, ''))
}

function parse(text: string): Control {
  if (text.startsWith('{')) return JSON.parse(text) as Control
  const pairs = [...new URLSearchParams(text)]
  return Object.fromEntries(pairs.map(([name, value]) => [name, toValue(name, value)])) as Control
}

function toValue(name: string, value: string): unknown {
  if (texts.has(name)) return value
  if (name === 'headers' || name === 'close') return JSON.parse(value)
  if (name === 'statuses') return value.replace(/[[\]]/g, '').split(',').map(Number)
  if (value === 'true' || value === 'false') return value === 'true'
  return Number.isNaN(Number(value)) ? value : Number(value)
}
