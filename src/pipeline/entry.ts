import { cut } from '../cut.ts'
import { limits } from '../limits.ts'
import type { Assemble } from '../observe/assemble/assemble.ts'
import { modelOf } from '../observe/model.ts'
import { createRedact } from '../observe/redact.ts'
import type { LogBodies, LogRow } from '../store/logs.ts'
import type { PendingEntry } from '../store/writer.ts'
import { join } from '../streams.ts'
import type { Step } from '../types.ts'

/** What a record is made of, once it is written. */
export interface EntryParts {
  /** Its path, error and metadata may hold secrets, and its model may be named better by the request. */
  readonly row: LogRow
  readonly url: URL
  readonly request: Exclude<Step['body'], ReadableStream>
  /** The first bytes of the answer; null where there was none. */
  readonly response: readonly Uint8Array[] | null
  readonly keepsBodies: boolean
  /** Never to be recorded. */
  readonly secrets: readonly string[]
  readonly assemble: Assemble | undefined
}

/** Beside its bodies. */
const rowBytes = 1_024

/** The entry of an attempt. All that takes time is done when it is written: bodies made of events, and redaction. */
export function makeEntry(parts: EntryParts): PendingEntry {
  const request = cutBody(parts.request)
  const response = parts.response ?? []
  const bytes = response.reduce((sum, part) => sum + part.byteLength, rowBytes + (request?.length ?? 0))
  const { row, url, keepsBodies, secrets, assemble } = parts
  return {
    gateway: row.gateway,
    bytes,
    make() {
      const redact = createRedact(secrets)
      const text = typeof request === 'string' ? request : decode(request ? [request] : null)
      return {
        row: {
          ...row,
          model: modelOf(url, text) || row.model,
          path: redact(row.path),
          error: row.error && redact(row.error),
          metadata: row.metadata && redact(row.metadata),
        },
        bodies: keepsBodies
          ? toBodies(text, parts.response && toText(row, response, assemble), redact)
          : none,
      }
    },
  }
}

const none: LogBodies = { request: null, response: null }

const toBodies = (
  request: string | null,
  response: string | null,
  redact: (text: string) => string,
): LogBodies => ({
  request: request && redact(request),
  response: response && redact(response),
})

/** What is over the limit is not held on to, not even by a part of it. */
function cutBody(body: EntryParts['request']): string | Uint8Array | null {
  if (body === null) return null
  if (typeof body !== 'string')
    return body.byteLength <= limits.logBodyBytes ? body : body.slice(0, limits.logBodyBytes)
  const kept = cut(body, limits.logBodyBytes)
  return kept === body ? body : new TextEncoder().encode(kept)
}

/** Of a stream that is known, one body; of anything else what came. Redacted as a whole, as events cut secrets in two. */
function toText(row: LogRow, parts: readonly Uint8Array[], assemble: Assemble | undefined): string | null {
  const made = assemble?.(row.response_content_type, join(parts))
  return made ? cut(made, limits.logBodyBytes) : decode(parts)
}

/** Of the first bytes; null for what is no text. */
function decode(parts: readonly Uint8Array[] | null): string | null {
  if (!parts) return null
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let text = ''
  let left: number = limits.logBodyBytes
  try {
    for (const part of parts) {
      text += decoder.decode(part.subarray(0, left), { stream: true })
      left -= Math.min(part.byteLength, left)
    }
  } catch {
    return null
  }
  return text
}
