import type { Scope, TokenSettings } from '../config.ts'
import { sha256 } from '../hash.ts'
import type { StoredToken } from '../store/config.ts'
import type { Grant, RateSettings } from '../types.ts'

/** A gateway token as it is kept: without its secret. */
export interface Token {
  readonly name: string
  /** SHA-256 of the secret, in hex. */
  readonly digest: string
  /** Limits of its own. */
  readonly rates: RateSettings
  /** Milliseconds since the epoch; null: never. */
  readonly expiresAt: number | null
  /** Of a session token. */
  readonly grant?: Grant
  /** Whether it is good for calls of a gateway. */
  opens(gateway: string): boolean
  /** Whether it has a scope for a gateway, or for all of them. */
  may(scope: Scope, gateway?: string): boolean
}

/** The tokens of a gateway, found by what a client shows. Revoked ones are not found. */
export interface Tokens {
  readonly size: number
  /** Expired ones too, as they go to no provider either; they may do nothing. */
  find(credential: string): Promise<Token | undefined>
  /** Find again by digest: no longer there means revoked, or expired. */
  get(digest: string): Promise<Token | undefined>
  /** Find by the first letters of a digest, 16 at least; expired ones are not found. */
  named(start: string): Promise<Token | undefined>
}

/** Tokens of which some come and go. */
export interface LiveTokens extends Tokens {
  /** Those of the store, in place of its earlier ones. */
  replace(stored: readonly StoredToken[]): void
}

/** Letters of a digest that no other begins with. */
const startChars = 16

interface Held extends Token {
  isExpired(): boolean
}

/** Hash every configured token once; from then on no secret is held. */
export function createTokens(settings: readonly TokenSettings[]): LiveTokens {
  // Hashed at the first use, since Workers allow no asynchronous work at start.
  let configured: Promise<ReadonlyMap<string, Held>> | undefined
  let stored: ReadonlyMap<string, Held> = new Map()
  const held = async (digest: string): Promise<Held | undefined> => {
    configured ??= hashAll(settings)
    return (await configured).get(digest) ?? stored.get(digest)
  }
  return {
    get size() {
      return settings.length + stored.size
    },
    async get(digest) {
      const token = await held(digest)
      return token?.isExpired() ? undefined : token
    },
    async named(start) {
      configured ??= hashAll(settings)
      for (const table of [await configured, stored])
        for (const [digest, token] of table)
          if (start.length >= startChars && digest.startsWith(start))
            return token.isExpired() ? undefined : token
      return undefined
    },
    // Looked up by digest: how long that takes tells nothing about a secret, as nobody can steer a digest.
    find: async (credential) => held(await sha256(credential)),
    replace(rows) {
      stored = new Map(rows.map((row) => [row.digest, toHeld(row)]))
    },
  }
}

async function hashAll(settings: readonly TokenSettings[]): Promise<ReadonlyMap<string, Held>> {
  const tokens = settings.map(async ({ name, token, permissions, gateways = null, ...rates }) =>
    toHeld({ name, permissions, gateways, rates, digest: await sha256(token), expires_at: null }),
  )
  return new Map((await Promise.all(tokens)).map((token) => [token.digest, token]))
}

type Row = Omit<StoredToken, 'id' | 'created_at'>

function toHeld({ name, digest, permissions, gateways, rates, expires_at: expiresAt }: Row): Held {
  const isExpired = (): boolean => expiresAt !== null && expiresAt <= Date.now()
  const may = (scope: Scope, gateway?: string): boolean =>
    !isExpired() &&
    permissions.includes(scope) &&
    (gateways === null || (gateway !== undefined && gateways.includes(gateway)))
  return { name, digest, rates, expiresAt, isExpired, may, opens: (gateway) => may('run', gateway) }
}
