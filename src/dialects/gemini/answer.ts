import { limits } from '../../limits.ts'
import { Chunks, callId, toUsage } from '../chunks.ts'
import type { Base, StreamEvent, Translator } from '../dialect.ts'
import { brokenOff, Failure, readFailure } from '../failure.ts'
import type { Annotation, Chunk, FinishReason } from '../hub.ts'

/** A GenerateContentResponse; every member may be missing. */
interface Answer {
  readonly candidates?: readonly Candidate[]
  readonly promptFeedback?: { readonly blockReason?: string; readonly blockReasonMessage?: string }
  readonly usageMetadata?: Usage
  readonly modelVersion?: string
  readonly responseId?: string
  readonly error?: unknown
}
interface Usage {
  readonly promptTokenCount?: number
  readonly toolUsePromptTokenCount?: number
  readonly candidatesTokenCount?: number
  readonly thoughtsTokenCount?: number
  readonly cachedContentTokenCount?: number
}
interface Candidate {
  readonly index?: number
  readonly content?: { readonly parts?: readonly Part[] }
  readonly finishReason?: string
  readonly finishMessage?: string
  readonly groundingMetadata?: Grounding
  readonly logprobsResult?: Logprobs
}
interface Part {
  readonly text?: string
  readonly thought?: boolean
  readonly thoughtSignature?: string
  readonly functionCall?: { readonly id?: string; readonly name?: string; readonly args?: object }
  readonly inlineData?: { readonly mimeType?: string; readonly data?: string }
}
interface Grounding {
  readonly groundingChunks?: readonly { readonly web?: { readonly uri?: string; readonly title?: string } }[]
  readonly groundingSupports?: readonly {
    readonly segment?: { readonly startIndex?: number; readonly endIndex?: number }
    readonly groundingChunkIndices?: readonly number[]
  }[]
}
interface Token {
  readonly token?: string
  readonly logProbability?: number
}
interface Logprobs {
  readonly chosenCandidates?: readonly Token[]
  readonly topCandidates?: readonly { readonly candidates?: readonly Token[] }[]
}

const format = 'google-gemini-v1'
const isFiltered =
  /^(SAFETY|RECITATION|LANGUAGE|BLOCKLIST|PROHIBITED_CONTENT|SPII|IMAGE_(SAFETY|PROHIBITED_CONTENT|RECITATION))$/
/** Some in Google's place have a word of their own for a call. */
const isStop = /^(STOP|FUNCTION_CALL)$/
/** The model's own failures, after which there is no answer. */
const isFault = /^(MALFORMED_.*|UNEXPECTED_TOOL_CALL|TOO_MANY_TOOL_CALLS|MISSING_THOUGHT_SIGNATURE)$/

function toReason(named: string): FinishReason {
  if (named === 'MAX_TOKENS') return 'length'
  if (isFiltered.test(named)) return 'content_filter'
  return isStop.test(named) ? 'stop' : 'length' // an end that nobody knows may be none
}

/** The events of one answer; its stream has no end but the reason to finish. */
export const events = (base: Base): Translator<StreamEvent, Chunk> => new Events(base)

class Events implements Translator<StreamEvent, Chunk> {
  readonly #out: Chunks
  readonly #id: string
  #calls = 0
  #usage: Usage | undefined
  /** Whether a candidate has ended, by its index; that of a blocked prompt is the first. */
  readonly #ends = new Map<number, boolean>()
  /** Sources are told by their place in the text, in bytes. */
  #text = ''

  constructor(base: Base) {
    this.#out = new Chunks(base)
    this.#id = base.id
  }

  push({ data }: StreamEvent): Chunk[] {
    const answer = data as Answer // lenient: every member may be missing
    if (answer.error) throw readFailure(answer)
    this.#out.name({ id: answer.responseId, model: answer.modelVersion })
    this.#usage = answer.usageMetadata ?? this.#usage
    const { blockReason, blockReasonMessage = blockReason } = answer.promptFeedback ?? {}
    if (blockReason) {
      this.#ends.set(0, true)
      return [this.#out.delta({ refusal: blockReasonMessage ?? '' }), this.#out.finish('content_filter')]
    }
    return (answer.candidates ?? []).flatMap((candidate) => this.#add(candidate))
  }

  end(): Chunk[] {
    const ends = [...this.#ends.values()]
    if (ends.length === 0 || ends.includes(false)) throw brokenOff()
    const { promptTokenCount = 0, toolUsePromptTokenCount = 0, ...more } = this.#usage ?? {}
    const { candidatesTokenCount = 0, thoughtsTokenCount: reasoning, cachedContentTokenCount: cached } = more
    const input = promptTokenCount + toolUsePromptTokenCount
    return [this.#out.usage(toUsage(input, candidatesTokenCount + (reasoning ?? 0), { cached, reasoning }))]
  }

  #add({ index = 0, content, finishReason, finishMessage, ...more }: Candidate): Chunk[] {
    const { groundingMetadata, logprobsResult } = more
    const chunks = (content?.parts ?? []).flatMap((part) => this.#part(part, index))
    if (logprobsResult) chunks.push(this.#out.delta({}, index, null, toLogprobs(logprobsResult)))
    const annotations = toAnnotations(groundingMetadata ?? {}, this.#text)
    if (annotations.length) chunks.push(this.#out.delta({ annotations }, index))
    if (!finishReason) {
      if (!this.#ends.has(index)) this.#ends.set(index, false)
      return chunks
    }
    if (isFault.test(finishReason)) throw new Failure(502, finishMessage ?? finishReason, finishReason)
    this.#ends.set(index, true)
    return [...chunks, this.#out.finish(toReason(finishReason), index)]
  }

  #part({ text, thought, thoughtSignature, functionCall, inlineData }: Part, index: number): Chunk[] {
    const out = this.#out
    if (functionCall) {
      const { id = callId(this.#id, this.#calls), name = '', args = {} } = functionCall
      this.#calls += 1
      const extra = thoughtSignature && { extra: { google: { thought_signature: thoughtSignature } } }
      return [out.call({ id, name, args: JSON.stringify(args), choice: index, ...(extra || {}) })[0]]
    }
    const chunks: Chunk[] = []
    if (inlineData) {
      const url = `data:${inlineData.mimeType};base64,${inlineData.data}`
      chunks.push(out.delta({ images: [{ type: 'image_url', image_url: { url } }] }, index))
    }
    if (text && thought) chunks.push(out.delta({ reasoning_content: text }, index))
    else if (text) {
      if (this.#text.length < limits.eventBytes) this.#text += text
      chunks.push(out.delta({ content: text }, index))
    }
    const kept = { type: 'reasoning.encrypted', data: thoughtSignature ?? '', format } as const
    if (thoughtSignature) chunks.push(out.delta({ reasoning_details: [kept] }, index))
    return chunks
  }
}

function toAnnotations(
  { groundingChunks = [], groundingSupports = [] }: Grounding,
  text: string,
): Annotation[] {
  if (groundingSupports.length === 0) return []
  const at = toPlaces(
    text,
    groundingSupports.flatMap(({ segment: { startIndex = 0, endIndex = 0 } = {} }) => [startIndex, endIndex]),
  )
  return groundingSupports.flatMap(
    ({ segment: { startIndex = 0, endIndex = 0 } = {}, groundingChunkIndices }) =>
      (groundingChunkIndices ?? []).map((index): Annotation => {
        const { uri: url = '', title = '' } = groundingChunks[index]?.web ?? {}
        const place = { start_index: at.get(startIndex) ?? 0, end_index: at.get(endIndex) ?? 0 }
        return { type: 'url_citation', url_citation: { url, title, ...place } }
      }),
  )
}

/** Places in a text, by their places in its bytes; one pass for all of them. */
function toPlaces(text: string, bytes: readonly number[]): ReadonlyMap<number, number> {
  const places = new Map<number, number>()
  let [read, at] = [0, 0]
  for (const wanted of [...new Set(bytes)].sort((one, other) => one - other)) {
    while (read < wanted && at < text.length) {
      const code = text.codePointAt(at) ?? 0
      read += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
      at += code < 0x10000 ? 1 : 2
    }
    places.set(wanted, at)
  }
  return places
}

/** As OpenAI has them. */
function toLogprobs({ chosenCandidates = [], topCandidates = [] }: Logprobs): unknown {
  const toToken = ({ token = '', logProbability: logprob = 0 }: Token) => ({ token, logprob, bytes: null })
  const content = chosenCandidates.map((chosen, index) => ({
    ...toToken(chosen),
    top_logprobs: (topCandidates[index]?.candidates ?? []).map(toToken),
  }))
  return { content, refusal: null }
}
