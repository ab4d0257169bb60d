/** How a run ended (PROTOCOL.md, "universal.done"). */
export type Outcome = 'completed' | 'cancelled' | 'failed' | 'incomplete'

/** One request (PROTOCOL.md, "universal.create"); a list of them is tried in order until one answers. */
export interface Item {
  readonly provider: string
  /** Path of the provider, query included, without a leading slash. */
  readonly endpoint: string
  readonly headers?: Readonly<Record<string, string>>
  /** JSON for the provider. */
  readonly query?: unknown
  /** Instead of `query`: text, or bytes in base64 with `encoding`. */
  readonly body?: string
  readonly encoding?: 'base64'
  /** Default `POST`. */
  readonly method?: string
  /** `cf-aig-*` settings of this item, by field. */
  readonly config?: Readonly<Record<string, unknown>>
  /** Of the first item: the name of the request; made where it is absent. */
  readonly eventId?: string
  /** Of the first item: frames carry bytes as they are. */
  readonly raw?: boolean
  /** Of the first item: what the end of the connection means for the run; default `detach`. */
  readonly onDisconnect?: 'stop' | 'detach'
}

/** Of every frame of a run. */
export interface Metadata {
  readonly eventId: string
  readonly [field: string]: unknown
}

/** The answer begins; `response` is there for a single answer without `raw`. */
export interface Created {
  readonly type: 'universal.created'
  readonly metadata: Metadata & {
    readonly status?: number
    readonly contentType?: string
    readonly runId?: string
  }
  readonly response?: unknown
  /** With `raw`: the answer's. */
  readonly headers?: readonly (readonly [name: string, value: string])[]
}

/** One event of the answer, by its number. */
export interface Streamed {
  readonly type: 'universal.stream'
  readonly metadata: Metadata & { readonly seq: number }
  /** Name of a named event. */
  readonly event?: string
  /** The event's data; without `raw`. */
  readonly response?: unknown
  /** The event as it came; with `raw`. */
  readonly data?: string
  readonly encoding?: 'base64'
}

/** The one end of a run. */
export interface Done {
  readonly type: 'universal.done'
  readonly metadata: Metadata & {
    readonly outcome: Outcome
    readonly seq?: number
    readonly upstreamStopped?: boolean
  }
  readonly error?: { readonly code: string; readonly message: string }
}

/** What a run is made of, in this order: `created`, any number of `stream`, `done`. */
export type RunFrame = Created | Streamed | Done

/** One request has failed, or a message was not understood. `error` is the base wire's word for it. */
export interface Failed {
  readonly type: 'universal.error' | 'error'
  readonly metadata?: { readonly eventId?: string }
  readonly error: {
    readonly code: string
    readonly message: string
    readonly retryable?: boolean
    readonly retryAfterMs?: number
  }
}

/** A run that is held, as a session taken up again lists it. */
export interface HeldRun {
  readonly eventId: string
  readonly runId: string
  /** Of the last event so far, -1 before the first. */
  readonly seq: number
  readonly outcome?: Outcome
}

/** The first message of a connection. */
export interface Ready {
  readonly type: 'session.ready'
  readonly session: { readonly id: string; readonly resumed: boolean; readonly runs?: readonly HeldRun[] }
  readonly limits: {
    readonly inFlight: number
    readonly messageBytes: number
    readonly windowBytes: number
  }
  readonly detachSeconds: number
  readonly heartbeatSeconds: number
}

/** Everything that a gateway sends. */
export type ServerFrame =
  | RunFrame
  | Failed
  | Ready
  | { readonly type: 'session.goaway'; readonly deadlineMs: number }
  | { readonly type: 'session.pong' | 'session.updated' }

/** Everything that this client sends. */
export type ClientFrame =
  | { readonly type: 'universal.create'; readonly request: Item | readonly Item[] }
  | { readonly type: 'universal.cancel'; readonly eventId: string }
  | { readonly type: 'universal.resume'; readonly eventId: string; readonly from: number }
  | { readonly type: 'universal.ack'; readonly eventId: string; readonly seq: number }
  | { readonly type: 'session.ping' }
