import type { ApiName, Chat, Chunk, Json } from './hub.ts'
import type { Notes } from './notes.ts'

/** A request in a provider's own shape. */
export interface Native {
  /** Behind the provider's row; may have a query. */
  readonly path: string
  readonly body: Json
  readonly headers?: Readonly<Record<string, string>>
}

/** What an answer is called where its provider does not say. */
export interface Base {
  readonly id: string
  /** Seconds since the epoch. */
  readonly created: number
  readonly model: string
  /** Tokens that were asked for at most, where nothing else tells whether they were reached. */
  readonly maxTokens?: number | undefined
}

/** One event of a stream, its data parsed from JSON. */
export interface StreamEvent {
  readonly event?: string | undefined
  readonly data: unknown
}

/** Translates one stream, event by event; holds none of them back. */
export interface Translator<In, Out> {
  /** What an event becomes, often nothing. @throws Failure for one that tells of an error */
  push(event: In): Out[]
  /** What remains. @throws Failure when the stream ended before its answer did */
  end(): Out[]
}

/** One wire family: pure functions between OpenAI chat and the provider's own shape. */
export interface Dialect {
  readonly name: string
  /** APIs that are its own wire: their paths, where requests and answers go untouched but for the model. */
  readonly speaks?: Readonly<Partial<Record<ApiName, string>>>
  /** A request in one of these, without what it refuses and answers of others have left in a conversation. */
  tidy?(api: ApiName, body: Json, notes: Notes): Json
  /** @throws Failure for what the provider cannot do */
  request(chat: Chat, notes: Notes): Native
  /** A whole answer, as the events that would have streamed it. */
  replay(body: unknown): readonly StreamEvent[]
  events(base: Base): Translator<StreamEvent, Chunk>
  /** Default: server-sent events. */
  readonly framing?: 'aws'
  readonly embeddings?: Embeddings
}

/** A provider's own way to embed; the hub is OpenAI's. */
export interface Embeddings {
  /** @throws Failure for what the provider cannot do */
  request(body: EmbeddingRequest, notes: Notes): Native
  response(body: unknown): { readonly vectors: readonly (readonly number[])[]; readonly tokens: number }
}

/** OpenAI's (API reference, "Create embeddings"), its input as a list of texts. */
export interface EmbeddingRequest {
  readonly model: string
  readonly input: readonly string[]
  readonly dimensions?: number | null
  readonly [other: string]: unknown
}

/** One API a client may speak: between its own shape and OpenAI chat. */
export interface Api {
  readonly name: ApiName
  /** @throws Failure for what is not of this API, or has no word in OpenAI chat */
  request(body: Json, notes: Notes): Chat
  /** A whole answer, from the chunks that would have streamed it. */
  response(chunks: readonly Chunk[], chat: Chat, base: Base): unknown
  events(chat: Chat, base: Base): Translator<Chunk, StreamEvent>
  /** What of a request its answers depend on, beside the provider's. */
  echo?(chat: Chat): unknown
  /** Its streams end with `data: [DONE]`. */
  readonly done?: boolean
}
