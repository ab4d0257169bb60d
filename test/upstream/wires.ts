import { messages } from './anthropic.ts'
import { bedrock } from './bedrock.ts'
import { cohere, embed } from './cohere.ts'
import { batchEmbed, gemini } from './gemini.ts'
import type { Asked, Say } from './model.ts'
import { chat, embeddings } from './openai.ts'
import { responses } from './responses.ts'
import type { Body, Event } from './wire.ts'
import { workersAi } from './workers-ai.ts'

/** How one provider is asked, and answers: whole, streamed, and failing. Pure: the same gives the same answer. */
export interface Wire {
  /** @throws Wrong for what the provider would refuse */
  ask(body: Body, path: string): Asked
  single(say: Say, body: Body): unknown
  stream(say: Say, body: Body): readonly Event[]
  error(status: number, message: string): unknown
  /** Its streams end with `data: [DONE]`. */
  readonly done: boolean
  /** Default: server-sent events. */
  readonly framing?: 'aws'
}

/** The wire of a decoded path, under any prefix. */
export function wireOf(path: string): Wire | undefined {
  if (path.endsWith('/chat/completions')) return chat
  if (path.endsWith('/responses')) return responses
  if (path.endsWith('/embeddings')) return embeddings
  if (path.endsWith('/messages')) return messages
  if (path.endsWith('/v2/chat')) return cohere
  if (path.endsWith('/v2/embed')) return embed
  if (/\/model\/[^/]+\/converse(-stream)?$/.test(path)) return bedrock
  if (/:(stream)?generateContent$/i.test(path)) return gemini
  if (path.endsWith(':batchEmbedContents')) return batchEmbed
  return path.includes('/run/@') ? workersAi : undefined
}
