import type { Frame, RealtimeDialect, Side } from '../socket.ts'
import type { Usage } from '../types.ts'
import { type Counts, findUsage, isObject, readTold } from './usage.ts'

/** A frame that is larger is not read: it holds more than tokens. */
const frameChars = 4_194_304
/** The model is looked for in so many frames of each side. */
const modelFrames = 16
const modelPattern = /"model"\s*:\s*"((?:[^"\\]|\\.){1,256})"/
/** Begins the names of members that tell of tokens. */
const usageStart = '"usage'

/** Reads the frames of one session while they pass. No method throws. */
export interface FrameMeter {
  /** What a frame tells to have been used since the last that told of it; undefined for most. */
  read(from: Side, frame: Frame): Usage | undefined
  /** As the first frame that names one does; empty before. */
  model(): string
}

/** Make a meter for one session. Of a wire that is not known, texts are read like OpenAI's. */
export function createFrameMeter(dialect: RealtimeDialect = 'openai'): FrameMeter {
  const readCounts = dialect === 'gemini' ? readGemini : readOpenAI
  const seen: Record<Side, number> = { client: 0, provider: 0 }
  let model = ''
  return {
    read(from, frame) {
      const isNamed = model !== '' || seen[from] >= modelFrames
      if (frame.length > frameChars || (from === 'client' && isNamed)) return undefined
      // Google sends its JSON in binary frames; elsewhere these are sound.
      if (typeof frame !== 'string' && dialect !== 'gemini') return undefined
      const text = typeof frame === 'string' ? frame : new TextDecoder().decode(frame)
      seen[from] += 1
      if (!isNamed) model = modelPattern.exec(text)?.[1]?.replace(/^models\//, '') ?? ''
      const isTold = from === 'provider' && text.includes(usageStart)
      const counts = isTold ? readCounts(parse(text)) : undefined
      return counts && { inputTokens: 0, outputTokens: 0, ...counts, basis: 'reported' }
    },
    model: () => model,
  }
}

/** Events of OpenAI's that tell, each once, what one response or one transcription has used. */
const final =
  /^(response\.(done|completed|incomplete|failed)|conversation\.item\.input_audio_transcription\.completed)$/

/**
 * What an event of OpenAI's tells to have been used: Realtime's `response.done`, Responses' `response.completed`, and
 * transcriptions (API reference, "Server events").
 */
export function readOpenAI(event: unknown): Counts | undefined {
  if (!isObject(event) || typeof event.type !== 'string' || !final.test(event.type)) return undefined
  return toCounts(event)
}

/**
 * What a message of Gemini Live tells to have been used by one turn (API reference, "UsageMetadata"), which has other
 * names for an answer's tokens than those of requests.
 */
export function readGemini(message: unknown): Counts | undefined {
  if (!isObject(message) || !isObject(message.usageMetadata)) return undefined
  const { usageMetadata: usage } = message
  const renamed = {
    candidatesTokenCount: usage.responseTokenCount ?? usage.candidatesTokenCount,
    candidatesTokensDetails: usage.responseTokensDetails ?? usage.candidatesTokensDetails,
  }
  return toCounts({ usageMetadata: { ...usage, ...renamed } })
}

function toCounts(event: object): Counts | undefined {
  const usage = findUsage(event)
  return usage && readTold(usage).counts
}

/** What two usages are together. */
export function addUsage(one: Usage, other: Usage): Usage {
  const { basis, ...counts } = one
  const { basis: _, ...more } = other
  const sum: Counts = { ...counts }
  for (const [name, count] of Object.entries(more) as [keyof Counts, number][])
    sum[name] = (sum[name] ?? 0) + count
  return { inputTokens: 0, outputTokens: 0, ...sum, basis }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
