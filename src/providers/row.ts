import type { Dialect } from '../dialects/dialect.ts'

/** A key in a header. */
export interface HeaderAuth {
  readonly kind: 'header'
  /** Where the stored key goes; lower case. */
  readonly header: string
  /** Stands before it. */
  readonly scheme?: string
  /** Other headers in which this provider takes a client's key. */
  readonly also?: readonly string[]
}

/** How a provider wants its key. */
export type Auth =
  | HeaderAuth
  /** AWS Signature Version 4: for the service the host is named after, else for the first. */
  | { readonly kind: 'sigv4'; readonly services: readonly [string, ...string[]] }
  /** A Google access token, or a service account to mint one from. */
  | { readonly kind: 'google' }

/**
 * One spelling of a path, and what it means upstream. `{name}` stands for one segment, `{rest}` for all that follow,
 * which may be none.
 */
export interface PathRule {
  readonly from: string
  readonly to: string
  /** Where this spelling lives elsewhere than the row. */
  readonly base_url?: string
}

/** What there is to know of a provider. */
export interface ProviderRow {
  /** May hold placeholders, filled from the path or from the provider's settings; those of a host by one label each. */
  readonly base_url: string
  readonly auth: Auth
  /** Tried in order; a path that fits none goes on as it is. */
  readonly paths?: readonly PathRule[]
  /** It runs on its user's own machine, whose services are nobody else's: found only once the configuration names it. */
  readonly isLocal?: true
  /** The variable in which this provider's own SDKs look for its key. */
  readonly env?: string
  /** It tells the usage of a stream of chat only when asked, by `stream_options.include_usage`, and takes that. */
  readonly stream_usage?: true
  /** Its book in the price list; default: its slug. */
  readonly prices?: string
  /** A header that may name the whole target, and the domains it may be in. */
  readonly target?: { readonly header: string; readonly hosts: readonly string[] }
  /** The wire of its chat; absent where it has none. */
  readonly dialect?: Dialect
  /** Models that speak another one. */
  readonly variants?: readonly (readonly [model: RegExp, dialect: Dialect])[]
  /**
   * Stands before the dialect's paths. `{name}` is a place that the key knows of, `{model:name}` the first part of the
   * model's name.
   */
  readonly prefix?: string
}

/** What most providers take, and a configured one unless told otherwise. */
export const bearer: HeaderAuth = { kind: 'header', header: 'authorization', scheme: 'Bearer' }

/** Providers as data: whoever makes a gateway gives them (`trunkline/parts` has ours). */
export interface ProviderTable {
  /** By the slug their users write. */
  readonly rows: Readonly<Record<string, ProviderRow>>
  /** What a configured provider that is no row speaks; absent: it has no chat API. */
  readonly dialect?: Dialect
}
