import { join } from '../streams.ts'
import { readUsage, type Usage } from './usage.ts'

/** A single answer that is larger is not read: it holds more than tokens. */
const bodyBytes = 4_194_304
const charsPerToken = 4
/** A line that is longer holds more than tokens. */
const lineChars = 4_194_304
/** Text as the dialects stream it: OpenAI's `content`, `arguments` and `delta`, Anthropic's, Google's and Cohere's `text`. */
const textPattern =
  /"(?:content|text|delta|arguments|partial_json|thinking|response)"\s*:\s*"((?:[^"\\]|\\.)*)"/g

/** Counts the tokens of one answer while it passes. Never throws. */
export interface Meter {
  /** The next bytes of the answer, in pieces of any size. */
  read(bytes: Uint8Array): void
  /** What is known so far. */
  usage(): Usage | undefined
}

/** Make a meter for an answer of a type. */
export function createMeter(contentType: string): Meter {
  if (/^text\/event-stream\b/i.test(contentType)) return streamMeter()
  if (/[/+]json\b/i.test(contentType)) return bodyMeter()
  return { read: () => undefined, usage: () => undefined }
}

function streamMeter(): Meter {
  const decoder = new TextDecoder()
  let counts: ReturnType<typeof readUsage>
  /** Of text since the provider last told its counts. */
  let chars = 0
  /** A line whose end has not come. */
  let rest = ''
  return {
    read(bytes) {
      const piece = rest + decoder.decode(bytes, { stream: true })
      const end = piece.lastIndexOf('\n') + 1
      rest = end + lineChars < piece.length ? '' : piece.slice(end)
      const text = piece.slice(0, end)
      for (const [, part = ''] of text.matchAll(textPattern)) chars += part.length
      if (!/usage|"meta/.test(text)) return // most events tell of none, and are not parsed
      for (const line of text.split(/\r\n|\r|\n/)) {
        const told = line.startsWith('data:') ? readUsage(parse(line.slice(5))) : undefined
        if (told) chars = 0
        counts = told ? { ...counts, ...told } : counts
      }
    },
    usage() {
      if (!counts && chars === 0) return undefined
      const { inputTokens, outputTokens = 0 } = counts ?? {}
      const isWhole = inputTokens !== undefined && chars === 0
      return {
        ...counts,
        inputTokens: inputTokens ?? 0,
        outputTokens: outputTokens + Math.ceil(chars / charsPerToken),
        basis: isWhole ? 'reported' : 'estimated',
      }
    },
  }
}

function bodyMeter(): Meter {
  const parts: Uint8Array[] = []
  let size = 0
  return {
    read(bytes) {
      size += bytes.byteLength
      if (size <= bodyBytes) parts.push(bytes)
      else parts.length = 0
    },
    usage() {
      if (size > bodyBytes) return undefined
      const counts = readUsage(parse(new TextDecoder().decode(join(parts, size))))
      const { inputTokens, outputTokens = 0 } = counts ?? {}
      return inputTokens === undefined
        ? undefined
        : { ...counts, inputTokens, outputTokens, basis: 'reported' }
    },
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
