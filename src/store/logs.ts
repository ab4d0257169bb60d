import type { Outcome } from '../types.ts'

/** One attempt at one provider (contract 8.1, and what we add). */
export interface LogRow {
  /** UUIDv7, which sorts by time. */
  readonly id: string
  readonly gateway: string
  /** Milliseconds since the epoch. */
  readonly created_at: number
  readonly request_id: string
  readonly event_id: string
  /** Of the run that kept the answer. */
  readonly run_id: string | null
  readonly principal: string
  readonly provider: string
  /** Empty where neither request nor answer names one. */
  readonly model: string
  /** Path at the provider, without its query, which may hold a key. */
  readonly path: string
  readonly step: number
  /** Of its step, from 1. */
  readonly attempt: number
  /** Null where there was no answer. */
  readonly status_code: number | null
  readonly success: boolean
  readonly cached: boolean
  readonly outcome: Outcome
  /** No connection to the provider was left at the end. */
  readonly upstream_stopped: boolean
  /** Of the gateway's own error. */
  readonly error: string | null
  /** Milliseconds to the end. */
  readonly duration: number
  /** Milliseconds to the first byte of the body. */
  readonly ttft: number | null
  readonly streamed: boolean
  readonly request_content_type: string
  readonly response_content_type: string
  readonly request_size: number | null
  readonly response_size: number
  /** Of a relayed session; null of a request. */
  readonly request_frames: number | null
  readonly response_frames: number | null
  readonly tokens_in: number | null
  readonly tokens_out: number | null
  /** Of the input: read from the provider's cache. */
  readonly tokens_cached: number | null
  /** Of the input: written to it. */
  readonly tokens_cache_written: number | null
  /** Of the output: not shown. */
  readonly tokens_reasoning: number | null
  readonly usage_basis: 'reported' | 'estimated' | null
  /** US dollars; null where it is not known. */
  readonly cost: number | null
  readonly cost_basis: 'reported' | 'estimated' | 'unknown'
  /** The client brought its own prices. */
  readonly custom_cost: boolean
  /** JSON object of strings, numbers and booleans. */
  readonly metadata: string | null
  readonly user_agent: string | null
}

/** The bodies of an attempt, kept apart; null where they are not kept. */
export interface LogBodies {
  readonly request: string | null
  readonly response: string | null
}

/** An attempt as it is written. */
export interface LogEntry {
  readonly row: LogRow
  readonly bodies: LogBodies
}

/** What may be changed later (contract 8.3). */
export interface LogPatch {
  readonly feedback?: number | null
  readonly score?: number | null
  readonly metadata?: string | null
}

/** A row as it is read. */
export type StoredLog = LogRow & { readonly feedback: number | null; readonly score: number | null }

/** What lists may be filtered by, and what it is; all but the entries of the metadata can also be ordered by. */
export const logKeys = {
  id: 'text',
  created_at: 'number',
  request_id: 'text',
  event_id: 'text',
  principal: 'text',
  provider: 'text',
  model: 'text',
  path: 'text',
  status_code: 'number',
  success: 'boolean',
  cached: 'boolean',
  outcome: 'text',
  duration: 'number',
  tokens_in: 'number',
  tokens_out: 'number',
  tokens: 'number',
  cost: 'number',
  request_content_type: 'text',
  response_content_type: 'text',
  feedback: 'number',
  user_agent: 'text',
  'metadata.key': 'text',
  'metadata.value': 'text',
} as const
/** One of them. */
export type LogKey = keyof typeof logKeys
/** One that lists can be ordered by. */
export type LogOrder = Exclude<LogKey, `metadata.${string}`>

/** How a key is compared. */
export const logOperators = ['eq', 'neq', 'contains', 'lt', 'gt', 'lte', 'gte'] as const

/**
 * `{key, operator, value[]}` of contract 8.4; one of the values is enough, of `neq` none may hold. Booleans are 1 and 0.
 * `contains` is blind to the case of ASCII letters. What is not known equals nothing.
 */
export interface LogFilter {
  readonly key: LogKey
  readonly operator: (typeof logOperators)[number]
  readonly value: readonly (string | number)[]
}

/** Which logs of a gateway. */
export interface LogSelection {
  readonly gateway: string
  readonly filters: readonly LogFilter[]
  /** Contained in some text of the row. */
  readonly search?: string | undefined
}

/** Which logs of a gateway, in which order. What is not known comes last. */
export interface LogQuery extends LogSelection {
  readonly orderBy: LogOrder
  readonly direction: 'asc' | 'desc'
  readonly limit: number
  readonly offset: number
}

/** Where a log stands in an order: what it is ordered by, null where that is not known, and then its id. */
export interface LogPlace {
  readonly id: string
  readonly at: string | number | null
}

/** Extremes of a selection; null where nothing is known. */
export type LogStats = {
  readonly [K in `${'min' | 'max'}_${'cost' | 'duration' | 'tokens_in' | 'tokens_out' | 'total_tokens'}`]:
    | number
    | null
}

/** What a series is split by. */
export const seriesDimensions = ['provider', 'model', 'status_code', 'principal', 'outcome', 'path'] as const

/** Sums of one gateway over time. */
export interface SeriesQuery {
  readonly gateway: string
  /** Milliseconds since the epoch; `until` is not a part of it. */
  readonly from: number
  readonly until: number
  readonly bucketMs: number
  /** A column, or a key of the metadata. */
  readonly by?: (typeof seriesDimensions)[number] | { readonly metadata: string } | undefined
  /** Logs that are looked at, from the newest. */
  readonly rowsMax: number
  /** Points that are told. */
  readonly pointsMax: number
}

/** One bucket of time, of one value of the dimension. */
export interface SeriesPoint {
  /** Its beginning, a multiple of `bucketMs`. */
  readonly at: number
  /** Null without a dimension, and for what has no value in it. */
  readonly group: string | null
  /** Whose first attempt is among the attempts. */
  readonly requests: number
  readonly attempts: number
  readonly errors: number
  readonly cached: number
  readonly tokens_in: number
  readonly tokens_out: number
  /** Of the attempts whose cost is known. */
  readonly cost: number
  /** Attempts whose cost is not. */
  readonly cost_unknown: number
  /** Milliseconds, by nearest rank. */
  readonly duration_p50: number
  readonly duration_p90: number
  readonly duration_p99: number
}

/**
 * The logs of all gateways. Every method may reject when the store cannot be reached. None takes a process to itself for
 * long: what must look at many logs looks at some of them at a time, a million of the newest at the most.
 */
export interface Logs {
  /** What has an id that is there already is left out. */
  append(entries: readonly LogEntry[]): Promise<void>
  list(query: LogQuery): Promise<StoredLog[]>
  /** The same, of each log its place only. */
  places(query: LogQuery): Promise<LogPlace[]>
  /** Those of them that are there, in any order. */
  read(gateway: string, ids: readonly string[]): Promise<StoredLog[]>
  count(selection: LogSelection): Promise<number>
  stats(selection: LogSelection): Promise<LogStats>
  series(query: SeriesQuery): Promise<SeriesPoint[]>
  get(gateway: string, id: string): Promise<StoredLog | undefined>
  bodies(gateway: string, id: string): Promise<LogBodies | undefined>
  /** False for a log that is not there. */
  patch(gateway: string, id: string, patch: LogPatch): Promise<boolean>
  /** The first of them in their order. */
  remove(query: LogQuery): Promise<void>
  /** Keep the newest `rows` of a gateway, and of these what was made at or after `before`, in ms since the epoch. */
  trim(gateway: string, rows: number, before: number): Promise<void>
}
