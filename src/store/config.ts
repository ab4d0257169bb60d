import type { GatewaySettings, Scope } from '../config.ts'
import type { RateSettings } from '../types.ts'

/** A gateway that was made while running, or the settings of the one that needs no making. */
export interface StoredGateway {
  readonly id: string
  readonly settings: GatewaySettings
  /** Milliseconds since the epoch, here and below. */
  readonly created_at: number
  readonly modified_at: number
}

/** A gateway token without its secret. */
export interface StoredToken {
  readonly id: string
  readonly name: string
  /** SHA-256 of the secret, in hex. */
  readonly digest: string
  readonly permissions: readonly Scope[]
  /** Gateways it opens; null: all. */
  readonly gateways: readonly string[] | null
  /** Limits of its own. */
  readonly rates: RateSettings
  readonly created_at: number
  readonly expires_at: number | null
}

/** A text that can be read with one master key only. */
export interface Sealed {
  /** Which key. */
  readonly kid: string
  /** Base64. */
  readonly iv: string
  readonly data: string
}

/** A provider's key, for the calls of one gateway that bring none. */
export interface StoredKey {
  readonly id: string
  readonly gateway_id: string
  readonly provider_slug: string
  readonly alias: string
  /** Taken where a call names no alias. */
  readonly default_config: boolean
  readonly secret: Sealed
  /** What may be shown of it. */
  readonly secret_preview: string
  readonly created_at: number
  readonly modified_at: number
}

/** A provider that is in no table, reached as `custom-{slug}`. */
export interface StoredProvider {
  readonly id: string
  readonly slug: string
  readonly name: string
  readonly base_url: string
  readonly enable: boolean
  /** A JSON object of headers that are sent with each call; null for none. */
  readonly headers: Sealed | null
  readonly header_names: readonly string[]
  /** What is only kept and shown again. */
  readonly shown: Readonly<Record<string, unknown>>
  readonly created_at: number
  readonly modified_at: number
}

/** Records by their kind. */
export interface Kinds {
  readonly gateway: StoredGateway
  readonly token: StoredToken
  readonly key: StoredKey
  readonly provider: StoredProvider
}
/** One of them. */
export type Kind = keyof Kinds

/** All there is, at one revision. */
export type Stored = { readonly [K in Kind]: readonly Kinds[K][] } & {
  /** Rises by one with each change; 0 before the first. */
  readonly revision: number
}

/** One record written, or taken out. */
export type Change =
  | { readonly [K in Kind]: { readonly kind: K; readonly put: Kinds[K] } }[Kind]
  | { readonly kind: Kind; readonly remove: string }

/** Who changed what, and when. */
export interface AuditEntry {
  /** What the change led to. */
  readonly revision: number
  readonly created_at: number
  /** Name of the token that asked for it. */
  readonly principal: string
  readonly action: string
  /** The record, as its URL names it. */
  readonly target: string
  readonly gateway_id: string | null
  /** Names of the fields that were given; never their values, which may be secrets. */
  readonly fields: readonly string[]
}

/** What is configured while running. A change cannot be made without its entry in the audit trail. */
export interface ConfigStore {
  /** Cheap: the way to notice a change that was made elsewhere. */
  revision(): Promise<number>
  read(): Promise<Stored>
  /** Make changes together. False, and nothing is changed, when `since` is no longer the revision. */
  change(since: number, changes: readonly Change[], entry: Omit<AuditEntry, 'revision'>): Promise<boolean>
  /** Enter what changed elsewhere than here. It is a revision as well, and never comes too late to be one. */
  note(entry: Omit<AuditEntry, 'revision'>): Promise<void>
  /** The audit trail, newest first. */
  audit(page: { readonly limit: number; readonly offset: number }): Promise<AuditEntry[]>
  /** Entries in the audit trail. */
  auditCount(): Promise<number>
}

/** What is there before the first change. */
export const nothingStored: Stored = { revision: 0, gateway: [], token: [], key: [], provider: [] }
