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
  readonly tokens_cached: number | null
  readonly usage_basis: 'reported' | 'estimated' | null
  /** US dollars. */
  readonly cost: number | null
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

/** Columns that lists may be filtered and ordered by. */
export const logKeys = [
  'id',
  'created_at',
  'request_id',
  'event_id',
  'principal',
  'provider',
  'model',
  'path',
  'status_code',
  'success',
  'cached',
  'outcome',
  'duration',
  'tokens_in',
  'tokens_out',
  'tokens',
  'cost',
  'request_content_type',
  'response_content_type',
  'feedback',
  'user_agent',
] as const
/** One of them. */
export type LogKey = (typeof logKeys)[number]

/** `{key, operator, value[]}` of contract 8.4; one of the values is enough. */
export interface LogFilter {
  readonly key: LogKey
  readonly operator: 'eq' | 'neq' | 'contains' | 'lt' | 'gt'
  readonly value: readonly (string | number)[]
}

/** Which logs of a gateway, in which order. */
export interface LogQuery {
  readonly gateway: string
  readonly filters: readonly LogFilter[]
  readonly orderBy: LogKey
  readonly direction: 'asc' | 'desc'
  readonly limit: number
  readonly offset: number
}

/** The logs of all gateways. Every method may reject when the store cannot be reached. */
export interface Logs {
  append(entries: readonly LogEntry[]): Promise<void>
  list(query: LogQuery): Promise<StoredLog[]>
  count(query: Pick<LogQuery, 'gateway' | 'filters'>): Promise<number>
  get(gateway: string, id: string): Promise<StoredLog | undefined>
  bodies(gateway: string, id: string): Promise<LogBodies | undefined>
  /** False for a log that is not there. */
  patch(gateway: string, id: string, patch: LogPatch): Promise<boolean>
  remove(query: LogQuery): Promise<void>
  /** Keep the newest `rows` of a gateway, and of these what was made at or after `before`, in ms since the epoch. */
  trim(gateway: string, rows: number, before: number): Promise<void>
}
