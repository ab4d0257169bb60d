import { GatewayError } from '../errors.ts'
import type { StoredKey, StoredProvider } from './config.ts'

/** The alias of a key that is taken where none is named. */
export const defaultAlias = 'default'

/** The provider keys stored for one gateway. */
export interface Keyring {
  /**
   * The key of a provider; undefined where none is named and none is stored for that.
   * @throws GatewayError unknown_alias; internal for one that cannot be read
   */
  find(provider: string, alias: string | undefined): Promise<string | undefined>
  /** Those of a provider that have been found so far. */
  found(provider: string): readonly string[]
}

/** Where a key's secret is sealed to: with a custom provider's address, so that it cannot be read to be sent elsewhere. */
export function placeOf(
  { id, gateway_id, provider_slug }: Pick<StoredKey, 'id' | 'gateway_id' | 'provider_slug'>,
  providers: readonly StoredProvider[],
): string {
  const custom = providers.find(({ slug }) => `custom-${slug}` === provider_slug)
  return `key ${id} of ${provider_slug} in ${gateway_id}${custom ? ` at ${custom.base_url}` : ''}`
}

/** Where the headers of a custom provider are sealed to. */
export const headersPlaceOf = ({ id, base_url }: Pick<StoredProvider, 'id' | 'base_url'>): string =>
  `headers of custom provider ${id} at ${base_url}`

/** Keys of a provider that were found and have gone since: those of the last ones stay known. */
const formerMax = 100

/** Keys that have been found, by provider: ids by secret, oldest first. */
type Found = Map<string, Map<string, string>>

/** A keyring that another may follow. */
export interface NextKeyring extends Keyring {
  readonly secrets: Found
}

/**
 * Make the keyring of one gateway's keys. Each is unsealed at its first use, and then held. What an earlier keyring of
 * the gateway has found stays known, as answers to calls with it may still be on their way.
 */
export function createKeyring(
  keys: readonly StoredKey[],
  read: (key: StoredKey) => Promise<string>,
  report: (where: string, error: unknown) => void,
  before?: NextKeyring,
): NextKeyring {
  const unsealed = new Map<string, Promise<string>>()
  // One for all that follow one another: what a former one finds late is known to the latest too.
  const secrets: Found = before?.secrets ?? new Map()
  forgetFormer(secrets, new Set(keys.map(({ id }) => id)))

  const unseal = (key: StoredKey): Promise<string> => {
    const known = unsealed.get(key.id)
    if (known) return known
    const opened = read(key).then(
      (secret) => {
        const own = secrets.get(key.provider_slug) ?? new Map<string, string>()
        secrets.set(key.provider_slug, own.set(secret, key.id))
        return secret
      },
      (error: unknown) => {
        unsealed.delete(key.id)
        report(`the key ${key.alias} of ${key.provider_slug} cannot be read`, error)
        throw new GatewayError('internal', 'The stored provider key cannot be read')
      },
    )
    unsealed.set(key.id, opened)
    return opened
  }

  return {
    async find(provider, alias = defaultAlias) {
      const own = keys.filter((key) => key.provider_slug === provider)
      const named = own.find((key) => key.alias === alias)
      const chosen = alias === defaultAlias ? (own.find((key) => key.default_config) ?? named) : named
      if (chosen) return unseal(chosen)
      if (alias === defaultAlias) return undefined
      const there = own.length > 0 ? `there are: ${own.map((key) => key.alias).join(', ')}` : 'there is none'
      throw new GatewayError('unknown_alias', `No key of ${provider} has the alias "${alias}"; ${there}`)
    },
    found: (provider) => [...(secrets.get(provider)?.keys() ?? [])],
    secrets,
  }
}

function forgetFormer(secrets: Found, there: ReadonlySet<string>): void {
  for (const own of secrets.values()) {
    const former = [...own].filter(([, id]) => !there.has(id))
    for (const [secret] of former.slice(0, -formerMax)) own.delete(secret)
  }
}
