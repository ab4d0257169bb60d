import type { Frame, RealtimeDialect, Side, Usage } from '../types.ts'
import { readUsage } from './usage.ts'

type Json = Readonly<Record<string, unknown>>
type Counts = NonNullable<ReturnType<typeof readUsage>>

/** A frame that is larger is not read: it holds more than tokens. */
const frameChars = 4_194_304
/** The model is looked for in so many frames of each side. */
const modelFrames = 16
const modelPattern = /"model"\s*:\s*"((?:[^"\\]|\\.){1,256})"/
const empty: Counts = {}

/** Reads the frames of one session while they pass. No method throws. */
export interface FrameMeter {
  /** True where the frame told of tokens. */
  read(from: Side, frame: Frame): boolean
  usage(): Usage | undefined
  /** As the first frame that names one does; empty before. */
  model(): string
}

/** Make a meter for one session. Of a wire that is not known, texts are read like OpenAI's. */
export function createFrameMeter(dialect: RealtimeDialect = 'openai'): FrameMeter {
  const readCounts = dialect === 'gemini' ? readGemini : readOpenAI
  let total: Counts | undefined
  let model = ''
  const seen: Record<Side, number> = { client: 0, provider: 0 }

  const findModel = (from: Side, text: string): void => {
    if (model !== '' || seen[from] >= modelFrames) return
    seen[from] += 1
    model = modelPattern.exec(text)?.[1]?.replace(/^models\//, '') ?? ''
  }

  return {
    read(from, frame) {
      if (frame.length > frameChars) return false
      // Google sends its JSON as binary frames; elsewhere these are sound.
      if (typeof frame !== 'string' && dialect !== 'gemini') return false
      if (from === 'client' && model !== '') return false
      const text = typeof frame === 'string' ? frame : new TextDecoder().decode(frame)
      findModel(from, text)
      if (from === 'client' || !/"usage(?:Metadata)?"/.test(text)) return false
      const counts = readCounts(parse(text))
      if (counts) total = add(total ?? empty, counts)
      return counts !== undefined
    },
    usage() {
      if (!total) return undefined
      const { inputTokens = 0, outputTokens = 0 } = total
      return { ...total, inputTokens, outputTokens, basis: 'reported' }
    },
    model: () => model,
  }
}

/** Events of OpenAI's that tell once what one response, or one transcription, has used. */
const final =
  /^(response\.(done|completed|incomplete|failed)|conversation\.item\.input_audio_transcription\.completed)$/

/**
 * The tokens one event of OpenAI's tells of: Realtime's `response.done`, Responses' `response.completed`, and
 * transcriptions that are billed by tokens (API reference, "Server events").
 */
export function readOpenAI(event: unknown): Counts | undefined {
  if (!isObject(event) || typeof event.type !== 'string' || !final.test(event.type)) return undefined
  const usage = isObject(event.response) ? event.response.usage : event.usage
  if (!isObject(usage)) return undefined
  // Realtime says `token` where Responses say `tokens`.
  const details = {
    input_tokens_details: usage.input_tokens_details ?? usage.input_token_details,
    output_tokens_details: usage.output_tokens_details ?? usage.output_token_details,
  }
  return readUsage({ usage: { ...usage, ...details } })
}

/** The tokens one message of Gemini Live tells of, which are those of one turn (API reference, "UsageMetadata"). */
export function readGemini(message: unknown): Counts | undefined {
  if (!isObject(message) || !isObject(message.usageMetadata)) return undefined
  const { usageMetadata: usage } = message
  return readUsage({
    usageMetadata: { ...usage, candidatesTokenCount: usage.responseTokenCount ?? usage.candidatesTokenCount },
  })
}

function add(one: Counts, other: Counts): Counts {
  const names = new Set([...Object.keys(one), ...Object.keys(other)]) as Set<keyof Counts>
  return Object.fromEntries([...names].map((name) => [name, (one[name] ?? 0) + (other[name] ?? 0)]))
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
