import { toBase64 } from './bytes.ts'
import type { Created, Done, Item, Outcome, RunFrame } from './messages.ts'

/** Sends a request to a path behind the gateway's base URL. */
export type Send = (path: string, init: RequestInit) => Promise<Response>

/** What is to be said over HTTP instead. */
export interface Asked {
  readonly request: Item | readonly Item[]
  readonly eventId: string
  readonly raw: boolean
  readonly signal: AbortSignal | undefined
}

/**
 * A request over plain HTTP in the words of the socket: what `line.stream` gives where sockets do not get through.
 * Events have the numbers they have on the socket. Nothing can be resumed: what breaks off ends `incomplete`.
 * @throws what `fetch` rejects with, and the signal's reason
 */
export async function* streamHttp(asked: Asked, send: Send): AsyncGenerator<RunFrame, void, undefined> {
  const { eventId, raw, signal } = asked
  const response = await send(...toHttp(asked))
  const metadata = metadataOf(response, eventId)
  const isStream = /^text\/event-stream\b/i.test(metadata.contentType)
  const created: Created = { type: 'universal.created', metadata }
  const toDone = (outcome: Outcome, seq: number): Done => ({
    type: 'universal.done',
    metadata: { ...metadata, seq, outcome },
  })
  let seq = -1
  try {
    if (!raw && !isStream) yield { ...created, response: await readSingle(response, metadata.contentType) }
    else yield raw ? { ...created, headers: [...response.headers] } : created
    for await (const event of isStream ? blocksOf(response) : chunksOf(response)) {
      seq += 1
      const said = raw ? event : readBlock(event.data)
      if (said) yield { type: 'universal.stream', metadata: { eventId, seq }, ...said }
    }
  } catch (error) {
    signal?.throwIfAborted()
    const message = error instanceof Error ? error.message : String(error)
    yield { ...toDone('incomplete', seq), error: { code: 'provider_failed', message } }
    return
  }
  yield toDone(response.status < 400 ? 'completed' : 'failed', seq)
}

/** A request that names its method or body goes to the provider's path, where `config` has no place. */
function toHttp({ request }: Asked): [path: string, init: RequestInit] {
  const single = Array.isArray(request) ? undefined : (request as Item)
  if (single?.method === undefined && single?.body === undefined) {
    const headers = { 'content-type': 'application/json' }
    return ['', { method: 'POST', headers, body: JSON.stringify(request) }]
  }
  const { provider, endpoint, headers, method = 'POST', query } = single
  const text = single.body ?? (query === undefined ? null : JSON.stringify(query))
  const body = text !== null && single.encoding ? Uint8Array.from(atob(text), (c) => c.charCodeAt(0)) : text
  return [`/${provider}/${endpoint}`, { method, body, ...(headers && { headers }) }]
}

function metadataOf({ headers, status }: Response, eventId: string) {
  const contentType = headers.get('content-type') ?? ''
  const step = headers.get('cf-aig-step')
  const cacheStatus = headers.get('cf-aig-cache-status')
  return { eventId, status, contentType, ...(step && { step }), ...(cacheStatus && { cacheStatus }) }
}

async function readSingle(response: Response, contentType: string): Promise<unknown> {
  const text = await response.text()
  if (!/[/+]json\b/i.test(contentType)) return text
  return parse(text)
}

interface Piece {
  readonly data: string
  readonly encoding?: 'base64'
}

/** A body's chunks; none of one that was read already. */
async function* chunksOf({ body, bodyUsed }: Response): AsyncGenerator<Piece> {
  const reader = bodyUsed ? undefined : body?.getReader()
  if (!reader) return
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield { data: toBase64(value), encoding: 'base64' }
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

const blankLine = /(?:\r\n|\r(?!\n)|\n){2}/

/** Blocks of an event stream, each with its blank line (HTML standard, 9.2.5). @throws Error for half of one */
async function* blocksOf(response: Response): AsyncGenerator<Piece> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  try {
    for (;;) {
      const { done, value = '' } = (await reader?.read()) ?? { done: true }
      text += value
      // A CR at the end may be half of a CRLF.
      for (let at = endOf(text, done); at > 0; at = endOf(text, done)) {
        yield { data: text.slice(0, at) }
        text = text.slice(at)
      }
      if (done) break
    }
  } finally {
    await reader?.cancel().catch(() => undefined)
  }
  // Some providers leave out the last blank line; half an event must not pass for a whole one.
  const rest = readBlock(text)
  if (typeof rest?.response === 'string') throw new Error('The stream ended inside an event')
  if (text !== '') yield { data: text }
}

function endOf(text: string, isLast: boolean): number {
  const found = blankLine.exec(text)
  const end = found ? found.index + found[0].length : 0
  return !isLast && end === text.length && text.endsWith('\r') ? 0 : end
}

/** Name and data of a block; undefined for one without data, and for `[DONE]`. */
function readBlock(block: string): { event?: string; response: unknown } | undefined {
  const fields = block.split(/\r\n|\r|\n/).map((line) => /^(event|data)(?:: ?(.*))?$/.exec(line))
  const valuesOf = (name: string) => fields.flatMap((field) => (field?.[1] === name ? [field[2] ?? ''] : []))
  const data = valuesOf('data')
  const event = valuesOf('event').at(-1)
  if (data.length === 0 || data[0] === '[DONE]') return undefined
  return { ...(event && { event }), response: parse(data.join('\n')) }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
