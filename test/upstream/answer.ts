import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Control, decode, readControl, readModel } from './control.ts'
import type { Ledger } from './ledger.ts'
import { type Asked, toSay, Wrong } from './model.ts'
import { openaiError, toModels } from './openai.ts'
import { type Exchange, sendBytes, sendEvents, sendJson, sendWhole } from './send.ts'
import { type Body, lastText } from './wire.ts'
import { type Wire, wireOf } from './wires.ts'

/** Bodies are hashed whole; this much is kept to be read. */
const keepBytes = 64 << 20

/** Path and query of a request, untidied: what a gateway wrote is what is judged. */
export function targetOf({ url = '/' }: IncomingMessage): readonly [path: string, query: string] {
  const mark = url.indexOf('?')
  return mark < 0 ? [url, ''] : [url.slice(0, mark), url.slice(mark + 1)]
}

/** Note a request, read it, and answer it. Rejects when the client leaves, or its control cannot be. */
export async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  ledger: Ledger,
  name: string,
): Promise<void> {
  const left = new AbortController()
  response.once('close', () => left.abort())
  const entry = ledger.begin(request, response)
  const [path, query] = targetOf(request)
  const early = readControl(request, path, query)
  ledger.label(entry, early.key)
  const body = parse(await ledger.read(request, entry, keepBytes))
  const control = { ...readModel(body?.model), ...early }
  ledger.label(entry, control.key)
  const exchange = { request, response, entry, control, ledger, left: left.signal }
  await respond(exchange, statusOf(control, ledger), body, name)
}

/** The JSON object that was sent, or nothing. */
function parse(text: string): Body | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Body) : undefined
  } catch {
    return undefined
  }
}

/** The status that is asked for, of the nth request with its key. */
export function statusOf({ status = 200, statuses, key = '' }: Control, ledger: Ledger): number {
  if (!statuses) return status
  return statuses[Math.min(ledger.count(key), statuses.length - 1)] ?? status
}

/** What the control asks for, and otherwise what the provider would say. */
async function respond(
  exchange: Exchange,
  status: number,
  body: Body | undefined,
  name: string,
): Promise<void> {
  const { request, response, entry, control, ledger, left } = exchange
  const [rawPath, query] = targetOf(request)
  const path = decode(rawPath)
  const wire = wireOf(path)
  if (control.delay) await sleep(control.delay, undefined, { signal: left })
  if (control.hang === 'headers') return
  if (control.garbage) {
    ledger.settle(entry, 'cut')
    return void response.socket?.end('\u0000this is not HTTP\r\n\r\n')
  }
  if (control.redirect) return sendWhole(exchange, 302, { location: control.redirect }, Buffer.alloc(0))
  if (control.text !== undefined)
    return sendWhole(exchange, status, { 'content-type': 'text/plain' }, Buffer.from(control.text))
  if (status >= 400)
    return sendJson(exchange, status, (wire?.error ?? openaiError)(status, `emulated ${status}`))
  if (control.bytes !== undefined) return sendBytes(exchange, status, control.bytes)
  if (request.method === 'GET' && path.endsWith('/models')) return sendJson(exchange, status, toModels(name))
  if (!wire || request.method !== 'POST') return sendJson(exchange, status, toEcho(exchange))
  if (!body) return sendJson(exchange, 400, wire.error(400, 'the body is not a JSON object'))
  const text = `This is ${name}, an emulator and not a model. You said: ${lastText(body)}`
  const asked = ask(wire, body, path)
  if (asked instanceof Wrong) return sendJson(exchange, 400, wire.error(400, asked.message))
  const say = toSay(asked, text, modelOf(path, body), control.events)
  const isGeminiStream = path.endsWith(':streamGenerateContent')
  const isStream = isGeminiStream || path.endsWith('/converse-stream') || body.stream === true
  if (!isStream) return sendJson(exchange, status, wire.single(say, body))
  const events = wire.stream(say, body)
  // Gemini streams a list to whoever does not ask for events.
  const isList = isGeminiStream && new URLSearchParams(query).get('alt') !== 'sse'
  const list = events.map(({ data }) => data)
  return isList ? sendJson(exchange, status, list) : sendEvents(exchange, status, events, wire)
}

function ask(wire: Wire, body: Body, path: string): Asked | Wrong {
  try {
    return wire.ask(body, path)
  } catch (error) {
    if (error instanceof Wrong) return error
    throw error
  }
}

/** Of the body, or of the path: `models/{model}:generateContent`, `model/{model}/converse`, `run/{model}`. */
function modelOf(path: string, { model }: Body): string {
  if (typeof model === 'string') return model
  const [, named = 'emulated'] =
    /\/models\/(.+):\w+$/.exec(path) ??
    /\/model\/(.+)\/converse/.exec(path) ??
    /\/run\/(.+)$/.exec(path) ??
    []
  return named
}

const toEcho = ({ request, entry }: Exchange): unknown => ({
  method: request.method,
  path: request.url,
  headers: request.headers,
  bodyBytes: entry.bodyBytes,
  bodySha256: entry.bodySha256,
})
