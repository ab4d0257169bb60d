import * as z from 'zod/mini'
import { parseJson } from '../json.ts'
import type { Translation } from '../types.ts'
import type { EmbeddingRequest, Embeddings, Native } from './dialect.ts'
import { Failure, malformed } from './failure.ts'
import type { Json } from './hub.ts'
import type { Notes } from './notes.ts'
import { createIdentity, toWhole, type Untold } from './translation.ts'

const request = z.looseObject({
  model: z.string(),
  input: z.union(
    [
      z.pipe(
        z.string(),
        z.transform((text) => [text]),
      ),
      z.array(z.string()),
    ],
    'a text, or a list of texts',
  ),
  dimensions: z.nullish(z.int()),
})

/** OpenAI's embeddings over a provider's own. @throws Failure */
export function createEmbedding(
  { request: toNative, response }: Embeddings,
  body: Json,
  notes: Notes,
): Native & { translation: Untold } {
  const parsed = request.safeParse(body)
  if (!parsed.success)
    throw malformed(parsed.error.issues[0]!.path.join('.'), parsed.error.issues[0]!.message)
  const { encoding_format, ...wanted } = parsed.data as EmbeddingRequest & { encoding_format?: unknown } // as it was parsed
  const identity = createIdentity({ api: 'embeddings', stream: false })
  const make = (text: string): string => {
    const answer = parseJson(text)
    if (typeof answer !== 'object' || answer === null)
      throw new Failure(502, 'The provider sent an answer that is not JSON', 'provider_failed')
    const { vectors, tokens } = response(answer)
    if (vectors.length !== wanted.input.length || vectors.some(({ length }) => length === 0))
      throw new Failure(502, 'The provider sent another number of vectors than texts', 'provider_failed')
    const data = vectors.map((vector, index) => {
      const embedding = encoding_format === 'base64' ? toBase64(vector) : vector
      return { object: 'embedding', index, embedding }
    })
    const usage = { prompt_tokens: tokens, total_tokens: tokens }
    return JSON.stringify({ object: 'list', data, model: wanted.model, usage })
  }
  const whole: Translation['whole'] = (text, status) =>
    status >= 400 ? identity.whole(text, status) : toWhole('embeddings', status, () => ({ body: make(text) }))
  return {
    ...toNative(wanted, notes),
    translation: { ...identity, name: () => `embeddings:${encoding_format}`, whole },
  }
}

/** Little-endian 32-bit floats, as OpenAI's SDK asks for them. */
function toBase64(vector: readonly number[]): string {
  const view = new DataView(new ArrayBuffer(vector.length * 4))
  for (const [index, value] of vector.entries()) view.setFloat32(index * 4, value, true)
  const bytes = new Uint8Array(view.buffer)
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}
