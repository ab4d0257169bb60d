import type { Frame, RealtimeDialect, Side } from '../socket.ts'
import type { Usage } from '../types.ts'
import { type Counts, findUsage, isObject, readTold } from './usage.ts'

/** A frame that is larger is not parsed: it holds more than tokens. */
const frameChars = 16_777_216
/** In so many frames of a client its model is looked for, but with Gemini, where it begins the session. */
const modelFrames = 16
const modelPattern = /"model"\s*:\s*"((?:[^"\\]|\\.){1,256})"/
/** Begins the names of members that tell of tokens. */
const usageStart = '"usage'

/** Reads the frames of one session while they pass. No method throws. */
export interface FrameMeter {
  /** What a frame tells to have been used since the last that told of it; undefined for most. */
  read(from: Side, frame: Frame): Usage | undefined
  /** What answers by now: as the provider says, else as the URL, else as the client. Empty where nobody has said. */
  model(): string
}

/** Make a meter for one session, whose URL may name a model. Of a wire that is not known, texts are read like OpenAI's. */
export function createFrameMeter(dialect: RealtimeDialect = 'openai', inUrl = ''): FrameMeter {
  const isGemini = dialect === 'gemini'
  const toUsage = (counts: Counts | undefined): Usage | undefined =>
    counts && { inputTokens: 0, outputTokens: 0, ...counts, basis: 'reported' }
  let [told, claimed, seen] = ['', '', 0]

  /** Gemini Live serves what the setup names, whatever the URL says. */
  const readSetup = (text: string): void => {
    const event = text.length > frameChars ? undefined : parse(text)
    const model = isObject(event) && isObject(event.setup) ? event.setup.model : undefined
    claimed = toName(event === undefined ? modelPattern.exec(text)?.[1] : model)
  }
  const readClient = (text: string): void => {
    seen += 1
    if (isGemini) readSetup(text)
    else claimed = toName(modelPattern.exec(text)?.[1]) || claimed
  }
  const isSettled = (): boolean =>
    isGemini ? claimed !== '' : told !== '' || inUrl !== '' || seen >= modelFrames

  return {
    read(from, frame) {
      // Google sends its JSON in binary frames; elsewhere these are sound.
      if ((typeof frame !== 'string' && !isGemini) || (from === 'client' && isSettled())) return undefined
      const text = typeof frame === 'string' ? frame : new TextDecoder().decode(frame)
      if (from === 'client') return void readClient(text)
      const isTold = text.includes(usageStart) || (text.includes('"model"') && text.includes('"session.'))
      if (!isTold || text.length > frameChars) return undefined
      const event = parse(text)
      if (isGemini) return toUsage(readGemini(event))
      told = toName(modelIn(event)) || told
      return toUsage(readOpenAI(event))
    },
    model: () => (isGemini ? claimed || inUrl : told || inUrl || claimed),
  }
}

/** What an event of OpenAI's says of the model that answers. */
function modelIn(event: unknown): unknown {
  if (!isObject(event)) return undefined
  const { response, session } = event
  return isObject(response) ? response.model : isObject(session) ? session.model : undefined
}

const toName = (model: unknown): string =>
  typeof model === 'string' ? model.replace(/^(.*\/)?models\//, '') : ''

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
