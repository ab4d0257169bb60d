import { type Env, type GatewaySettings, gatewaySettings, type ProviderSettings } from '../config.ts'
import { sha256 } from '../hash.ts'
import type { ConfigStore, Stored, StoredGateway, StoredKey, StoredProvider, StoredToken } from './config.ts'
import { createKeyring, headersPlaceOf, type Keyring, type NextKeyring, placeOf } from './keyring.ts'
import { createLive, type Live } from './live.ts'
import { createVault, type Vault } from './vault.ts'

type Report = (where: string, error: unknown) => void

/** What is stored, as far as it can be used. */
export interface Usable {
  readonly gateways: readonly GatewaySettings[]
  readonly tokens: readonly StoredToken[]
  /** Custom providers that are on, by slug. */
  readonly providers: Readonly<Record<string, ProviderSettings>>
  /** By gateway. */
  readonly keyrings: ReadonlyMap<string, Keyring>
  /** What kept answers belong to, by gateway: another one once they are no longer to be given. */
  readonly epochs: ReadonlyMap<string, string>
  /** The same for all gateways. */
  readonly epoch: string
}

/** What changes while running. A part of its own: a gateway without a store goes without. */
export interface Settings {
  readonly store: ConfigStore
  readonly vault: Vault
  /** Hold it in memory; `apply` is told each time it has changed, and must not throw. */
  hold(apply: (usable: Usable) => void, report: Report): Live
}

/**
 * Settings in a store, their secrets under the master keys of the environment.
 * @throws ConfigError for a master key that is none
 */
export function createSettings(store: ConfigStore, env: Env): Settings {
  const vault = createVault(env)
  return {
    store,
    vault,
    hold(apply, report) {
      let keyrings: ReadonlyMap<string, NextKeyring> = new Map()
      const prepare = async (stored: Stored): Promise<() => void> => {
        const gateways = readGateways(stored, report)
        const providers = await readProviders(stored.provider, vault, report)
        const epochs = new Map(stored.gateway.map((one) => [one.id, epochOf(one)]))
        const epoch = await epochOfAll(stored.provider)
        return () => {
          keyrings = toKeyrings(stored, keyrings, vault, report)
          apply({ gateways, tokens: stored.token, providers, keyrings, epochs, epoch })
        }
      }
      return createLive(store, prepare, report)
    },
  }
}

function toKeyrings(
  stored: Stored,
  before: ReadonlyMap<string, NextKeyring>,
  vault: Vault,
  report: Report,
): ReadonlyMap<string, NextKeyring> {
  const keys = Map.groupBy(stored.key, ({ gateway_id }) => gateway_id)
  const known = [...before].filter(([, { secrets }]) => secrets.size > 0).map(([id]) => id)
  const ids = new Set([...known, ...keys.keys()])
  const read = (key: StoredKey): Promise<string> => vault.unseal(key.secret, placeOf(key, stored.provider))
  return new Map([...ids].map((id) => [id, createKeyring(keys.get(id) ?? [], read, report, before.get(id))]))
}

/** One that is made anew is another gateway; one that asks for it is another with each change. */
const epochOf = ({ created_at, modified_at, settings }: StoredGateway): string =>
  `${created_at} ${settings.cache_invalidate_on_update ? modified_at : ''}`

/** What a provider was asked before it changed may be answered differently now. */
const epochOfAll = async (providers: readonly StoredProvider[]): Promise<string> =>
  providers.length === 0
    ? ''
    : sha256(JSON.stringify(providers.map(({ id, modified_at }) => [id, modified_at])))

function readGateways({ gateway }: Stored, report: Report): GatewaySettings[] {
  return gateway.flatMap(({ id, settings }) => {
    const parsed = gatewaySettings.safeParse(settings)
    if (parsed.success) return [parsed.data]
    report(`the gateway ${id} cannot be used`, parsed.error) // of a version that knew other settings
    return []
  })
}

async function readProviders(
  stored: readonly StoredProvider[],
  vault: Vault,
  report: Report,
): Promise<Record<string, ProviderSettings>> {
  const read = stored
    .filter(({ enable }) => enable)
    .map(async (record): Promise<[string, ProviderSettings][]> => {
      const { slug, base_url } = record
      try {
        const headers = record.headers && (await vault.unseal(record.headers, headersPlaceOf(record)))
        return [
          [slug, { base_url, ...(headers && { headers: JSON.parse(headers) as Record<string, string> }) }],
        ]
      } catch (error) {
        report(`the custom provider ${slug} cannot be used`, error)
        return []
      }
    })
  return Object.fromEntries((await Promise.all(read)).flat())
}
