import { Fields } from '../fields.ts'
import { parseJson } from '../json.ts'
import { limits } from '../limits.ts'
import type { ByteReader, ByteSource, PlainResponse } from '../plain.ts'
import { createSplitter, type Splitter } from '../splitter.ts'
import { join } from '../streams.ts'
import type { Step } from '../types.ts'
import { isObject } from './usage.ts'

const endpoint = /\/completions$/
const asks = '"include_usage":true'
const options = /"stream_options"\s*:\s*\{(?=\s*("|\}))/g

/**
 * The same request, asking for the usage of its stream (OpenAI API reference, `stream_options.include_usage`).
 * Undefined for one that is no stream, that says itself whether it asks, or whose body is not held or too large to be
 * parsed. Nothing else of the body is changed, not even its spaces.
 */
export function askUsage(step: Step): Step | undefined {
  const { body, method, url } = step
  if (method !== 'POST' || !endpoint.test(url.pathname)) return undefined
  const text = body === null || body instanceof ReadableStream ? undefined : toText(body)
  if (text === undefined || text.length > limits.replayBytes || !text.includes('"stream"')) return undefined
  const request = parseJson(text)
  if (!isObject(request) || request.stream !== true) return undefined
  const asked = insert(text, request)
  return asked === undefined ? undefined : { ...step, body: asked }
}

function insert(
  text: string,
  { stream_options: known }: Readonly<Record<string, unknown>>,
): string | undefined {
  // The outermost object has members, as `stream` is one of them.
  if (known === undefined) return text.replace('{', `{"stream_options":{${asks}},`)
  if (!isObject(known) || 'include_usage' in known) return undefined
  // The only one of its name is the one that was parsed.
  const [one, more] = [...text.matchAll(options)]
  if (!one || more) return undefined
  const end = one.index + one[0].length
  return `${text.slice(0, end)}${asks}${one[1] === '}' ? '' : ','}${text.slice(end)}`
}

function toText(body: string | Uint8Array): string | undefined {
  if (typeof body === 'string') return body
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch {
    return undefined // no JSON then
  }
}

/** The stream without the event that nobody but us asked for, of which `hidden` is told. All other bytes stay. */
export function hideUsage(response: PlainResponse, hidden: (event: Uint8Array) => void): PlainResponse {
  if (!response.body) return response
  const { status, statusText, ok } = response
  const headers = new Fields(response.headers)
  headers.delete('content-length')
  return { status, statusText, ok, headers, body: withoutUsage(response.body, hidden) }
}

function withoutUsage(body: ByteSource, hidden: (event: Uint8Array) => void): ByteSource {
  const reader = body.getReader()
  const splitter = createSplitter()
  let isOver = false
  const shown: ByteReader = {
    async read() {
      while (!isOver) {
        const part = await reader.read()
        isOver = part.done
        const value = part.done ? splitter.rest() : show(part.value, splitter, hidden)
        if (value.byteLength > 0) return { done: false, value }
      }
      return { done: true }
    },
    cancel: (reason) => reader.cancel(reason),
  }
  return { getReader: () => shown, cancel: shown.cancel }
}

/** The events that end within a chunk, but for the hidden one. */
function show(chunk: Uint8Array, splitter: Splitter, hidden: (event: Uint8Array) => void): Uint8Array {
  const events = splitter.push(chunk).filter((event) => {
    const isHidden = isUsageEvent(event)
    if (isHidden) hidden(event)
    return !isHidden
  })
  const [first] = events
  if (!first || events.length === 1) return first ?? new Uint8Array(0)
  return join(events)
}

const openBracket = 0x5b
const closeBracket = 0x5d
const space = 0x20
const decoder = new TextDecoder()

/**
 * Whether an event is the one that `include_usage` adds: without choices, and with counts. Some providers put theirs on
 * the last event of the answer, which has choices. Only what holds an empty list is parsed.
 */
export function isUsageEvent(event: Uint8Array): boolean {
  for (let at = event.indexOf(openBracket); at >= 0; at = event.indexOf(openBracket, at + 1)) {
    let next = at + 1
    while (event[next] === space) next += 1
    if (event[next] === closeBracket) return isUsage(decoder.decode(event))
  }
  return false
}

function isUsage(event: string): boolean {
  const data = event.split(/\r\n|\r|\n/).filter((line) => line.startsWith('data:'))
  const value = parseJson(data.map((line) => line.slice(5)).join('\n'))
  return (
    isObject(value) && Array.isArray(value.choices) && value.choices.length === 0 && isObject(value.usage)
  )
}
