import type { TokenSettings } from '../config.ts'
import { sha256 } from '../hash.ts'
import type { RateSettings } from '../types.ts'

/** A gateway token as it is kept: without its secret. */
export interface Token {
  readonly name: string
  /** SHA-256 of the secret, in hex. */
  readonly digest: string
  /** Limits of its own. */
  readonly rates: RateSettings
  opens(gateway: string): boolean
}

/** The tokens of a gateway, found by what a client shows. */
export interface Tokens {
  readonly size: number
  find(credential: string): Promise<Token | undefined>
  /** Find again by digest: no longer there means revoked. */
  get(digest: string): Promise<Token | undefined>
}

/** Hash every token once; from then on no secret is held. */
export function createTokens(settings: readonly TokenSettings[]): Tokens {
  // Hashed at the first use, since Workers allow no asynchronous work at start.
  let table: Promise<ReadonlyMap<string, Token>> | undefined
  const ready = () => (table ??= hashAll(settings))
  const get = async (digest: string) => (await ready()).get(digest)
  return {
    size: settings.length,
    get,
    // Looked up by digest: how long that takes tells nothing about a secret, as nobody can steer a digest.
    find: async (credential) => get(await sha256(credential)),
  }
}

async function hashAll(settings: readonly TokenSettings[]): Promise<ReadonlyMap<string, Token>> {
  const tokens = settings
    .filter((token) => token.permissions.includes('run'))
    .map(async ({ name, token, gateways, permissions: _, ...rates }): Promise<Token> => {
      const opens = (gateway: string) => gateways === undefined || gateways.includes(gateway)
      return { name, digest: await sha256(token), rates, opens }
    })
  return new Map((await Promise.all(tokens)).map((token) => [token.digest, token]))
}
