import type { Connected, Dial, Listener } from './socket.ts'

/** The words of the whole project. Each is used in this sense only; see the README's "How it is built". */

import type { GatewayError } from './errors.ts'
import type { OutboundBody, OutboundRequest, PlainResponse } from './plain.ts'

/** What the web platform does not define, given by an adapter. */
export interface Runtime {
  /** Outbound HTTP. Must not follow redirects, must decode the body, and must stop on `signal` until it is there. */
  fetch(request: OutboundRequest, signal: AbortSignal): Promise<PlainResponse>
  /**
   * Dial a provider's WebSocket, which the standard constructor cannot do with headers. The listener hears it from its
   * first frame on, which may come before the promise resolves. A refusal resolves with what the provider answered.
   * Rejects when there is no answer, and when the signal aborts before there is one.
   */
  connect(url: URL, dial: Dial, listener: Listener): Promise<Connected | Response>
  /** Told of every fault that no caller can act on. Must not throw. */
  report(where: string, error: unknown): void
  /** Keeps work going that is not over with the response, where the runtime would end it. Must not throw. */
  defer?(work: Promise<unknown>): void
}

/** What a session token is for; what is absent is not limited. In lists, `*` stands for any text, but in origins. */
export interface Grant {
  /** UUIDv7, of the token. */
  readonly id: string
  /** Digest of the token that made it. */
  readonly parent: string
  readonly gateway: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
  /** Of the pages that may use it. */
  readonly origins?: readonly string[] | undefined
  /** Slugs. */
  readonly providers?: readonly string[] | undefined
  /** With or without `{provider}/` before them. */
  readonly models?: readonly string[] | undefined
  /** Ends of paths at the provider. */
  readonly endpoints?: readonly string[] | undefined
  readonly requests?: number | undefined
  /** US dollars. */
  readonly cost?: number | undefined
}

/** Who makes a call: a gateway token, or nobody on a gateway without authentication. */
export interface Principal {
  /** The token's name in the configuration; `anonymous` without one. */
  readonly name: string
  /** SHA-256 of the token, in hex; null without one. */
  readonly credential: string | null
  /** Limits of its own. */
  readonly rates?: RateSettings
  /** Of a session token. */
  readonly grant?: Grant
}

/** A rate limit, in the management API's own field names. */
export interface RateSettings {
  /** Seconds, 1 to 31,622,400; 0 or null: no limit. */
  rate_limiting_interval?: number | null | undefined
  /** Requests within the interval; 0 or null: no limit. */
  rate_limiting_limit?: number | null | undefined
  /** Tokens within the interval, those of prompts and of answers; 0 or null: no limit. */
  rate_limiting_tokens?: number | null | undefined
  /** Intervals that follow one another, or any that ends now. Default: `fixed`. */
  rate_limiting_technique?: 'fixed' | 'sliding' | null | undefined
}

/** To which requests a spend limit applies, or how it is split: by value, each with a limit of its own. */
export type Dimension =
  | { readonly mode: 'filter'; readonly values: readonly string[] }
  | { readonly mode: 'partition' }

/** A limit of what may be spent (contract 7.2). */
export interface SpendRule {
  readonly id: string
  /** Default: true. */
  readonly enabled?: boolean | undefined
  readonly limitType: 'cost'
  /** US dollars. */
  readonly limit: number
  /** Seconds. */
  readonly window: number
  readonly technique: 'fixed' | 'sliding'
  /** Of slugs. */
  readonly provider?: Dimension | undefined
  /** Of `{provider}/{model}`, or of the model alone. */
  readonly model?: Dimension | undefined
  /** By key of `cf-aig-metadata`. */
  readonly metadata?: Readonly<Record<string, Dimension>> | undefined
}

/** How the pauses between the tries of one step grow. */
export type Backoff = 'constant' | 'linear' | 'exponential'

/** The `cf-aig-*` settings of one step, after item, request and gateway have been merged. */
export interface Options {
  /** Milliseconds until the first part of the provider's answer; absent: the limit of `limits.ts`. */
  readonly requestTimeout?: number
  /** All tries of one step, the first included; 1 to 5, default 1. */
  readonly maxAttempts?: number
  /** Milliseconds before the second try; 0 to 60,000, default 1,000. */
  readonly retryDelay?: number
  /** Default `constant`. */
  readonly backoff?: Backoff
  /** What a client's leaving means for an HTTP request; default `stop`. */
  readonly onDisconnect?: 'stop' | 'detach'
  /** The client's own name for the request; generated when absent. */
  readonly eventId?: string
  /** Whether the request is recorded; default: the gateway's `collect_logs`. */
  readonly collectLog?: boolean
  /** Whether a record keeps the bodies; default true. */
  readonly collectLogPayload?: boolean
  /** Whether what a provider cannot do is left out and told, where `compat` translates; default false: refused. */
  readonly compatLenient?: boolean
  /** Neither read nor written, nor shared, for this request; default false. */
  readonly skipCache?: boolean
  /** Seconds its answer is kept for identical requests; 0: not at all. Default: the gateway's `cache_ttl`. */
  readonly cacheTtl?: number
  /** In place of what the request holds; kept for 5 minutes where no time is set. */
  readonly cacheKey?: string
  /** Whether a kept stream comes at once, or event by event as it came first; default `instant`. */
  readonly cacheReplay?: 'instant' | 'spaced'
  /** Of the stored key to take where the request brings none; default `default`. */
  readonly byokAlias?: string
  /** Only the operator's and the client's own keys are there to be used, so this asks for nothing more. */
  readonly noWholesale?: boolean
  /** Recorded with the request; 5 entries at most. */
  readonly metadata?: Readonly<Record<string, string | number | boolean>>
  /** Instead of what is known of the model's price. */
  readonly customCost?: CustomCost
}

/** Part of an answer in its client's API, and what broke behind it. */
export interface Translated {
  readonly bytes: Uint8Array
  readonly fault?: {
    readonly status: number
    readonly message: string
    /** The whole answer, where nothing has been told yet. */
    readonly body: string
    /** The last event, where something has. */
    readonly event: Uint8Array
  }
}

/** A whole answer in its client's API, and what made one of it where the provider's is none. */
export interface WholeTranslated {
  readonly body: string
  readonly fault?: Pick<NonNullable<Translated['fault']>, 'status' | 'message'>
}

/** Translates one stream while it passes. No method throws. */
export interface StreamTranslation {
  /** The next bytes of the provider, in pieces of any size. */
  push(bytes: Uint8Array): Translated
  end(): Translated
  /** How a stream that broke is told; absent: by nothing but the break. */
  broken?(): NonNullable<Translated['fault']>
}

/** Turns a provider's answer into the one that the client's API has. Pure. */
export interface Translation {
  /** Two of one name make the same of the same bytes. */
  name(): string
  /** Response headers that tell of it. */
  readonly headers: Readonly<Record<string, string>>
  /** The answer is to be a stream. */
  readonly isStream: boolean
  /** A whole body, in either of JSON. */
  whole(body: string, status: number): WholeTranslated
  stream(): StreamTranslation
  /** The body of an error of ours. */
  failure(error: GatewayError): object
}

/** One upstream target of a call. */
export interface Step {
  /** The provider's slug as the client wrote it. */
  readonly provider: string
  readonly method: string
  readonly url: URL
  /** What goes upstream, free of gateway credentials and connection headers; auth is added by `send`. */
  readonly headers: Headers
  /** A stream can be sent once only, so a step with one is never tried twice. */
  readonly body: OutboundBody
  readonly options: Options
  /** Of a call in another API than the provider's; absent: the answer is the client's as it is. */
  readonly translation?: Translation
  /** The client's item that it came from; default: its place in the list. */
  readonly item?: number
  /** Answers in the place of a provider. */
  readonly answer?: () => Response
}

/** An answer under way, to be read by others who ask the same. */
export interface Shared {
  /** Undefined once it is too late to read it from its beginning. Rejects with a `GatewayError`. */
  join(call: Call): Promise<Result> | undefined
}

/** One client request, parsed once, never changed. */
export interface Call {
  /** UUIDv7, ours. */
  readonly requestId: string
  /** The client's, or the request id. */
  readonly eventId: string
  readonly gateway: string
  readonly principal: Principal
  /** Tried in order until one answers 2xx. */
  readonly steps: readonly [Step, ...Step[]]
  /** Default `stop`. */
  readonly onDisconnect?: Options['onDisconnect']
  /** Of the run that keeps its answer, if one does. */
  readonly runId?: string
  /** Answers under way where this call is made, by cache key; absent where one call may not wait for another. */
  readonly shared?: Map<string, Shared>
  /** Aborts when the client has left. */
  readonly signal: AbortSignal
}

/** How an answer ended (PROTOCOL.md, "universal.done"). */
export type Outcome = 'completed' | 'cancelled' | 'failed' | 'incomplete'

/** The end of an answer. */
export interface Ending {
  readonly outcome: Outcome
  /** No connection to a provider is left from it. */
  readonly upstreamStopped: boolean
  readonly error?: { readonly code: string; readonly message: string }
}

/** What was counted in one answer. Parts are never beside their whole. */
export interface Usage {
  /** All that was read, whether from a cache or not, and what was written to one. */
  readonly inputTokens: number
  /** All that was written, reasoning included. */
  readonly outputTokens: number
  /** Of the input: read from the provider's cache. */
  readonly cachedTokens?: number
  /** Of the input: written to the provider's cache. */
  readonly cacheWriteTokens?: number
  /** Of what was written to the cache: to be kept for an hour instead of five minutes. */
  readonly cacheWriteHourTokens?: number
  /** Of the output: not shown. */
  readonly reasoningTokens?: number
  /** Of the input: sound. */
  readonly audioInputTokens?: number
  /** Of the output: sound. */
  readonly audioOutputTokens?: number
  /** Of what was read from the cache: sound. */
  readonly audioCachedTokens?: number
  /** Of the input: pictures. */
  readonly imageInputTokens?: number
  /** Of the output: pictures. */
  readonly imageOutputTokens?: number
  /** Of what was read from the cache: pictures. */
  readonly imageCachedTokens?: number
  /** Searches the provider made, or units of search it bills. */
  readonly searches?: number
  /** Length of what was heard, where that is what the provider counts. */
  readonly audioSeconds?: number
  /** `estimated` where the provider has not told, or not yet: four bytes of text to a token. */
  readonly basis: 'reported' | 'estimated'
}

/** What one answer cost. */
export interface Cost {
  /** Null where nothing is known of it. */
  readonly value: number | null
  readonly currency: 'USD'
  /** `reported` by the provider; `estimated` from what was used and prices; else `unknown`. */
  readonly basis: 'reported' | 'estimated' | 'unknown'
}

/** What an answer used and cost, as far as it is known. */
export interface Account {
  readonly usage?: Usage
  readonly cost?: Cost
  /** US dollars without the client's own prices; absent where these are not, or it is told by usage and cost. */
  readonly listedCost?: number
}

/** The client's own prices of a request, in US dollars (contract 5, `cf-aig-custom-cost`). */
export interface CustomCost {
  readonly per_token_in?: number
  readonly per_token_out?: number
  readonly per_cache_read_token?: number
  readonly per_cache_write_token?: number
  readonly total_cost?: number
}

/** Watches one answer on its way to its client, told by whoever carries it. No method throws. */
export interface Watch {
  /** The next bytes of the body, in pieces of any size. */
  read(bytes: Uint8Array): void
  account(): Account
  /** Its end; later ones have no effect. */
  end(ending: Ending): void
}

/** The answer, and what became of the call. */
export interface Result {
  /** The provider's, its body still to be read. */
  readonly response: PlainResponse
  /** Index of the step that answered. */
  readonly step: number
  /** Tries made in all, over every step. */
  readonly attempts: number
  readonly cacheStatus: 'HIT' | 'MISS'
  /** To be told of the body, and of its end. */
  readonly watch: Watch
  /** Of the record of the answer; absent where none is kept. */
  readonly logId?: string
  /** For the client, beside the provider's: how its limits stand, and what was translated. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Carries a call on to its result. Throws `GatewayError` only. */
export type Handler = (call: Call) => Promise<Result>

/** Wraps the next handler. */
export type Stage = (call: Call, next: Handler) => Promise<Result>
