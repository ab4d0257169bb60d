import { parseJson } from '../json.ts'
import type { Usage } from '../types.ts'
import { countingPattern, findUsage, type Json, mergeUsage, readTold } from './usage.ts'

/** What is longer is not parsed: its counts are looked for at its end. */
const parsedChars = 65_536
/** A line that is longer holds more than tokens. */
const lineChars = 4_194_304
const bytesPerToken = 4

/** Begins what is counted in a stream: a text, as the dialects send it, or an object of counts. */
const startOf = (texts: string): RegExp =>
  new RegExp(`${countingPattern.source}|"(?:${texts})"\\s*:\\s*"`, 'g')
const textStart = startOf(
  'content|text|delta|arguments|partial_json|thinking|reasoning|reasoning_content|response',
)
/** OpenAI's responses repeat all of their text at its end. */
const deltaStart = startOf('delta')
/** The model, as every dialect names it, and never inside of a text, where its quotes would be escaped. */
const modelPattern = /"(?:model|modelVersion)"\s*:\s*"((?:[^"\\]|\\.){1,256})"/

/** What is known of an answer so far. */
export interface Reading {
  readonly usage?: Usage
  /** What the provider says that it costs, in US dollars. */
  readonly dollars?: number
  /** The model that the provider names. */
  readonly model?: string
}

/** Adds up the lines of a stream. */
export interface Tally {
  /** The next part of the text, cut anywhere, and how many bytes it was. */
  read(text: string, bytes: number): void
  /** `asked` tells the tokens of the request, where the provider does not. */
  reading(asked: () => number): Reading
}

interface Sum {
  readonly usage: Json | undefined
  /** Bytes of text since the provider last told its counts. */
  readonly bytes: number
}

/** Make a tally for one stream. */
export function createTally(): Tally {
  let sum: Sum = { usage: undefined, bytes: 0 }
  /** A line whose end has not come. */
  let rest = ''
  let model: string | undefined
  let start: RegExp | undefined

  return {
    read(text, bytes) {
      // What is no ASCII is text, and nearly all of it.
      const surplus = Math.max(bytes - text.length, 0)
      const piece = rest + (text.includes('\r') ? text.replaceAll('\r', '\n') : text)
      const end = piece.lastIndexOf('\n') + 1
      rest = end + lineChars < piece.length ? '' : piece.slice(end)
      if (end === 0) return
      const lines = piece.slice(0, end)
      model ??= modelIn(lines)
      start ??= lines.includes('"type":"response.') ? deltaStart : textStart
      sum = addLines(sum, lines, surplus, start)
    },
    reading(asked) {
      const { usage, bytes } = rest === '' ? sum : addLines(sum, rest, 0, start ?? textStart)
      const { counts, dollars } = usage ? readTold(usage) : { counts: {} }
      const { inputTokens, outputTokens = 0 } = counts
      if (!usage && bytes === 0) return known({ dollars, model })
      const isWhole = inputTokens !== undefined && bytes === 0
      const counted: Usage = {
        ...counts,
        inputTokens: inputTokens ?? asked(),
        outputTokens: outputTokens + Math.ceil(bytes / bytesPerToken),
        basis: isWhole ? 'reported' : 'estimated',
      }
      return { usage: counted, ...known({ dollars, model }) }
    },
  }
}

/** Most lines tell of no counts; those that do make up for all text that came before. */
function addLines(sum: Sum, lines: string, surplus: number, start: RegExp): Sum {
  const { counting, length } = scan(lines, start)
  let { usage } = sum
  let bytes = sum.bytes + surplus + length
  for (const { from, to, before } of counting) {
    const found = parseUsage(lines.slice(Math.max(lines.indexOf('{', from), from), to))
    if (!found) continue
    usage = usage ? mergeUsage(usage, found) : found
    bytes = length - before
  }
  return { usage, bytes }
}

/** A line that counts, and the length of all texts up to its end. */
interface CountingLine {
  readonly from: number
  readonly to: number
  readonly before: number
}

/**
 * Once over the lines of a block. Some providers count in every line; as counts only grow, of such a row the first
 * and the last two are enough: Anthropic's first event and its last but one, and what Bedrock adds to the last.
 */
function scan(lines: string, start: RegExp): { counting: CountingLine[]; length: number } {
  const counting: CountingLine[] = []
  let length = 0
  start.lastIndex = 0
  while (start.test(lines)) {
    const at = start.lastIndex
    if (lines[at - 1] === '"') {
      const end = endOfText(lines, at)
      length += end - at
      start.lastIndex = end
      continue
    }
    const to = endOfLine(lines, at)
    if (counting.length > 2) counting.splice(1, 1)
    counting.push({ from: lines.lastIndexOf('\n', at) + 1, to, before: length })
    start.lastIndex = to
  }
  return { counting, length }
}

function endOfLine(lines: string, at: number): number {
  const end = lines.indexOf('\n', at)
  return end < 0 ? lines.length : end
}

function endOfText(lines: string, from: number): number {
  let end = lines.indexOf('"', from)
  while (end > 0 && isEscaped(lines, end)) end = lines.indexOf('"', end + 1)
  return end < 0 ? lines.length : end
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0
  while (text.charCodeAt(at - 1 - slashes) === 92) slashes += 1
  return slashes % 2 === 1
}

/** The counting object of a JSON text; of a long one, whose counts come last, without reading the rest. */
export function parseUsage(text: string): Json | undefined {
  return text.length <= parsedChars ? findUsage(parseJson(text)) : lastUsage(text)
}

const usageStart = /"(usage|usageMetadata)"\s*:\s*\{/g

function lastUsage(text: string): Json | undefined {
  const tail = text.slice(-parsedChars)
  const [last] = [...tail.matchAll(usageStart)].slice(-1)
  if (!last?.[1]) return undefined
  const start = last.index + last[0].length - 1
  return findUsage({ [last[1]]: parseJson(tail.slice(start, endOfObject(tail, start))) })
}

/** Counts hold no text with braces. */
function endOfObject(text: string, start: number): number {
  let depth = 0
  for (let at = start; at < text.length; at += 1) {
    if (text[at] === '{') depth += 1
    else if (text[at] === '}') depth -= 1
    if (depth === 0) return at + 1
  }
  return text.length
}

/** The model that an answer, or the beginning of one, names. */
export const modelIn = (text: string): string | undefined => modelPattern.exec(text)?.[1]

/** Without what is undefined. */
export function known(reading: { [K in keyof Reading]: Reading[K] | undefined }): Reading {
  return Object.fromEntries(Object.entries(reading).filter(([, value]) => value !== undefined))
}
