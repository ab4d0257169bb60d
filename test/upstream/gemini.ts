import { type Asked, checkNames, isSigned, listOf, mediaOf, type Say, signatureOf, Wrong } from './model.ts'
import { halves } from './openai.ts'
import { type Body, idOf, promptTokens } from './wire.ts'
import type { Wire } from './wires.ts'

const errors: Readonly<Record<number, string>> = {
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
}
const known =
  'contents systemInstruction tools toolConfig generationConfig safetySettings cachedContent labels model'
/** Google's own way around the signature of a call that its model has not made. */
const unsigned = 'skip_thought_signature_validator'

/** Gemini generateContent (API reference, "GenerateContentResponse"); its stream has no terminator. */
export const gemini: Wire = {
  done: false,
  ask: askGemini,
  error(code, message) {
    const status = errors[code] ?? (code >= 500 ? 'INTERNAL' : 'INVALID_ARGUMENT')
    return { error: { code, message, status } }
  },
  single(say) {
    const { words } = say
    return toCandidate(
      [...toThought(say), ...(say.calls.length ? toCalls(say) : [{ text: words.join('') }])],
      words.length,
      true,
      say,
    )
  },
  stream(say) {
    const { words, calls } = say
    const said = calls.length ? toCalls(say) : words.map((text) => ({ text }))
    const parts = [...toThought(say), ...said]
    return parts.map((part, index) => {
      const tokens = Math.max(index + 1 - parts.length + words.length, 0)
      return { data: toCandidate([part], tokens, index === parts.length - 1, say) }
    })
  },
}

/** Gemini's batchEmbedContents: one small vector for each request, which must name the model of the path. */
export const batchEmbed: Wire = {
  done: false,
  ask(body, path) {
    for (const { model } of listOf(body.requests))
      if (!path.includes(`/${String(model)}:`)) throw new Wrong('All models in the batch must be the same.')
    return {}
  },
  error: gemini.error,
  single: (_say, { requests }) => ({
    embeddings: listOf(requests).map(() => ({ values: [0.25, -0.5, 0.75] })),
  }),
  stream: () => [],
}

function askGemini(body: Body, path: string): Asked {
  checkNames(
    body,
    known,
    (name) => `Invalid JSON payload received. Unknown name "${name}": Cannot find field.`,
  )
  const contents = listOf(body.contents)
  const start = contents.findLastIndex(isSpoken) + 1
  checkContents(contents, /gemini-3/.test(path) ? start : Number.POSITIVE_INFINITY)
  const since = contents.slice(start)
  const config = (body.generationConfig ?? {}) as Body
  const { mode, allowedFunctionNames } = (((body.toolConfig ?? {}) as Body).functionCallingConfig ??
    {}) as Body
  const [only] = Array.isArray(allowedFunctionNames) ? allowedFunctionNames : []
  return {
    tools: listOf(body.tools).flatMap(({ functionDeclarations }) =>
      listOf(functionDeclarations).map(({ name, parametersJsonSchema, parameters }) => ({
        name: String(name),
        schema: parametersJsonSchema ?? parameters,
      })),
    ),
    choice: only ? { name: String(only) } : mode === 'ANY' ? 'any' : mode === 'NONE' ? 'none' : 'auto',
    rounds: since.filter(({ role }) => role === 'model').length,
    results: since.flatMap(({ parts }) =>
      listOf(parts).flatMap(({ functionResponse }) => {
        const { output, error } = ((functionResponse as Body | undefined)?.response ?? {}) as Body
        const said = output ?? error
        return said === undefined ? [] : [typeof said === 'string' ? said : JSON.stringify(said)]
      }),
    ),
    json: config.responseMimeType === 'application/json',
    schema: config.responseJsonSchema,
    thinks: ((config.thinkingConfig ?? {}) as Body).includeThoughts === true,
    media: contents.flatMap(({ parts }) =>
      listOf(parts).flatMap(({ inlineData, fileData }) => {
        if (inlineData) return [String((inlineData as Body).mimeType)]
        return fileData ? [mediaOf((fileData as Body).fileUri)] : []
      }),
    ),
  }
}

const isSpoken = ({ role, parts }: Body): boolean =>
  role === 'user' && listOf(parts).every(({ functionResponse }) => !functionResponse)

/** From `start` on, calls must have the signature that came with them. */
function checkContents(contents: readonly Body[], start: number): void {
  for (const [index, { role, parts }] of contents.entries()) {
    if (role !== undefined && role !== 'user' && role !== 'model')
      throw new Wrong('Please use a valid role: user, model.')
    const calls = listOf(parts).filter(({ functionCall }) => functionCall)
    if (calls.length === 0) continue
    const answers = listOf(contents[index + 1]?.parts).filter(({ functionResponse }) => functionResponse)
    if (answers.length !== calls.length)
      throw new Wrong(
        'Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.',
      )
    const [first] = calls
    if (index >= start && first?.thoughtSignature !== unsigned && !isSigned(first?.thoughtSignature))
      throw new Wrong('Function call is missing a thought_signature in functionCall parts.')
  }
}

const toThought = ({ thought }: Say): Body[] => halves(thought).map((text) => ({ text, thought: true }))

/** The first call is signed, whether the thought is told or not. */
const toCalls = ({ calls, thought }: Say): Body[] =>
  calls.map(({ name, args }, index) => ({
    functionCall: { name, args },
    ...(index === 0 && { thoughtSignature: signatureOf(thought) }),
  }))

function toCandidate(parts: readonly Body[], tokens: number, last: boolean, { words, model }: Say): unknown {
  const content = { parts, role: 'model' }
  return {
    candidates: [{ content, ...(last && { finishReason: 'STOP' }), index: 0 }],
    usageMetadata: {
      promptTokenCount: promptTokens,
      candidatesTokenCount: tokens,
      totalTokenCount: promptTokens + tokens,
    },
    modelVersion: model,
    responseId: idOf('gemini-', words, model),
  }
}
