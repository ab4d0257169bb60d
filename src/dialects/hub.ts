/**
 * The hub: OpenAI's chat completions (API reference, "Create chat completion" and "The chat completion chunk object").
 * What it has no word for takes the words that its users already know from others: `reasoning_content` (DeepSeek, vLLM,
 * xAI), `reasoning_details` and `images` (OpenRouter), `cache_control` (Anthropic), `extra_content` (Google), `top_k`.
 */

/** A JSON object of which nothing is sure. */
export type Json = { readonly [name: string]: unknown }

/** The APIs a client may speak. */
export type ApiName = 'chat' | 'messages' | 'responses' | 'embeddings'

/** One part of a message's content. `cache_control` asks for a cache breakpoint behind it. */
export type Part = { readonly cache_control?: unknown } & (
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'refusal'; readonly refusal: string }
  | { readonly type: 'image_url'; readonly image_url: { readonly url: string; readonly detail?: string } }
  | { readonly type: 'input_audio'; readonly input_audio: { readonly data: string; readonly format: string } }
  | {
      readonly type: 'file'
      /** `file_data` is a `data:` URL, or the address of the file. */
      readonly file: { readonly file_data?: string; readonly filename?: string; readonly file_id?: string }
      readonly citations?: unknown
    }
)

/** A call of a function. */
export interface ToolCall {
  readonly id: string
  readonly type: 'function'
  readonly function: { readonly name: string; readonly arguments: string }
  readonly extra_content?: { readonly google?: { readonly thought_signature?: string } }
}

/** A block of reasoning as its provider wants it back in the next turn. */
export interface Reasoning {
  readonly type: 'reasoning.text' | 'reasoning.encrypted' | 'reasoning.summary'
  readonly text?: string | null
  readonly summary?: string | null
  readonly signature?: string | null
  readonly data?: string | null
  readonly id?: string | null
  /** Whose signature it is, in OpenRouter's words; default: Anthropic's. */
  readonly format?: ReasoningFormat | null
}

/** Vendors that sign their reasoning. */
export type ReasoningFormat = 'anthropic-claude-v1' | 'google-gemini-v1' | 'openai-responses-v1'

/** A source of the answer: OpenAI's `url_citation`, or a passage of a document that was sent. */
export type Annotation =
  | {
      readonly type: 'url_citation'
      readonly url_citation: {
        readonly url: string
        readonly title: string
        readonly start_index: number
        readonly end_index: number
      }
    }
  | {
      readonly type: 'file_citation'
      readonly file_citation: {
        readonly title: string
        readonly cited_text: string
        readonly start_index: number
        readonly end_index: number
      }
    }

/** One message of a conversation. */
export interface Message {
  readonly role: 'system' | 'developer' | 'user' | 'assistant' | 'tool'
  readonly content?: string | readonly Part[] | null
  readonly refusal?: string | null
  readonly tool_calls?: readonly ToolCall[] | null
  readonly tool_call_id?: string
  readonly reasoning_content?: string | null
  readonly reasoning_details?: readonly Reasoning[] | null
  /** Made by the model in an earlier turn. */
  readonly images?: readonly Part[] | null
  /** Of a tool's result that tells of a failure. */
  readonly is_error?: boolean
}

/** A function that may be called. */
export interface Tool {
  readonly type: 'function'
  readonly function: {
    readonly name: string
    readonly description?: string | null
    readonly parameters?: Json | null
    readonly strict?: boolean | null
  }
  readonly cache_control?: unknown
}

/** Which function must be called, if any. */
export type ToolChoice =
  | 'none'
  | 'auto'
  | 'required'
  | { readonly type: 'function'; readonly function: { readonly name: string } }

/** How much thought an answer is worth. */
export type Effort = 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max'

/** What form an answer must have. */
export type ResponseFormat =
  | { readonly type: 'text' | 'json_object' }
  | {
      readonly type: 'json_schema'
      readonly json_schema: {
        readonly name: string
        readonly description?: string | undefined
        readonly schema?: Json
        readonly strict?: boolean | null
      }
    }

/** How the web is to be searched. */
export interface WebSearch {
  /** Where the user is, as far as it is told. */
  readonly user_location?: { readonly type: 'approximate'; readonly approximate: Json } | null
  readonly search_context_size?: string | null
  readonly [other: string]: unknown
}

/** A request. Members that are not named here are there too, and are nobody's but the provider's. */
export interface Chat {
  readonly model: string
  readonly messages: readonly Message[]
  readonly tools?: readonly Tool[] | null
  readonly tool_choice?: ToolChoice | null
  readonly parallel_tool_calls?: boolean | null
  readonly response_format?: ResponseFormat | null
  readonly reasoning_effort?: Effort | null
  /** Tokens of thought; Anthropic's and Google's finer word for the effort. */
  readonly reasoning_budget?: number | null
  readonly max_tokens?: number | null
  readonly max_completion_tokens?: number | null
  readonly stop?: string | readonly string[] | null
  readonly temperature?: number | null
  readonly top_p?: number | null
  readonly top_k?: number | null
  readonly seed?: number | null
  readonly n?: number | null
  readonly frequency_penalty?: number | null
  readonly presence_penalty?: number | null
  readonly logprobs?: boolean | null
  readonly top_logprobs?: number | null
  readonly user?: string | null
  readonly modalities?: readonly string[] | null
  readonly web_search_options?: WebSearch | null
  readonly stream?: boolean | null
  readonly stream_options?: { readonly include_usage?: boolean } | null
  readonly [other: string]: unknown
}

/** Why an answer ended. */
export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter'

/** Tokens of one answer. */
export interface ChatUsage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
  readonly prompt_tokens_details?: { readonly cached_tokens?: number; readonly cache_write_tokens?: number }
  readonly completion_tokens_details?: { readonly reasoning_tokens?: number }
}

/** What is added to an answer; the first of a choice has its role. */
export interface Delta {
  readonly role?: 'assistant'
  readonly content?: string | null
  readonly refusal?: string | null
  readonly reasoning_content?: string | null
  /** Each block once, whole, at its end, since clients that know nothing of it keep the last one only. */
  readonly reasoning_details?: readonly Reasoning[]
  readonly tool_calls?: readonly ToolCallDelta[]
  readonly annotations?: readonly Annotation[]
  readonly images?: readonly Part[]
}

/** A piece of a call: its id and name come first, its arguments in pieces. */
export interface ToolCallDelta {
  readonly index: number
  readonly id?: string
  readonly type?: 'function'
  readonly function?: { readonly name?: string; readonly arguments?: string }
  readonly extra_content?: ToolCall['extra_content']
}

/** One event of a streamed answer. */
export interface Chunk {
  readonly id: string
  readonly object: 'chat.completion.chunk'
  readonly created: number
  readonly model: string
  readonly choices: readonly {
    readonly index: number
    readonly delta: Delta
    readonly logprobs?: unknown
    readonly finish_reason: FinishReason | null
  }[]
  readonly usage?: ChatUsage | null
}

/** A whole answer. */
export interface Completion {
  readonly id: string
  readonly object: 'chat.completion'
  readonly created: number
  readonly model: string
  readonly choices: readonly {
    readonly index: number
    readonly message: Omit<Delta, 'tool_calls'> & { readonly tool_calls?: readonly ToolCall[] }
    readonly logprobs: unknown
    readonly finish_reason: FinishReason
  }[]
  readonly usage?: ChatUsage
}
