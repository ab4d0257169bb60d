import {
  type Config,
  type Env,
  type GatewaySettings,
  gatewaySettings,
  isAuthenticated,
  type ProviderSettings,
} from './config.ts'
import { GatewayError } from './errors.ts'
import type { Assemble } from './observe/assemble/assemble.ts'
import type { CreatePricing, Pricing } from './observe/pricing.ts'
import { createDial } from './pipeline/dial.ts'
import { createPipeline } from './pipeline/index.ts'
import { createSend } from './pipeline/send.ts'
import { type KeySource, withKeys } from './providers/keyed.ts'
import { assertCustom, createProviders, type LiveProviders } from './providers/providers.ts'
import type { Room } from './routes/context.ts'
import { listModels } from './routes/models.ts'
import { createSessionTokens } from './routes/session-tokens.ts'
import { createTokens, type LiveTokens } from './routes/tokens.ts'
import type { Cache } from './store/cache.ts'
import type { ConfigStore, Stored, StoredProvider } from './store/config.ts'
import type { Counters } from './store/counters.ts'
import { createKeyring, headersPlaceOf, type Keyring } from './store/keyring.ts'
import { createLive, type Live } from './store/live.ts'
import { createVault, type Vault } from './store/vault.ts'
import type { LogWriter, Retention } from './store/writer.ts'
import type { Options, Runtime } from './types.ts'

/** What rooms are made from. */
export interface Base {
  readonly config: Config
  readonly runtime: Runtime
  readonly env?: Env
  readonly pricing?: CreatePricing
  readonly assemble?: Assemble
  readonly writer: LogWriter | undefined
  readonly counters: Counters
  readonly cache: Cache
  /** What changes while running; absent: nothing does. */
  readonly settings?: ConfigStore
}

/** The gateways, as they are now: those of the configuration, and those made since. */
export interface Rooms {
  /** A look into a map, but for the first requests and those after a long silence. @throws GatewayError unknown_gateway */
  find(account: string, gateway: string): Promise<Room>
  /** All that are there, by id. */
  all(): ReadonlyMap<string, Room>
  readonly tokens: LiveTokens
  readonly providers: LiveProviders
  readonly vault: Vault
  /** What is stored; undefined without a store. */
  readonly live: Live | undefined
}

const unpriced: Pricing = {
  costOf: () => ({ value: null, currency: 'USD', basis: 'unknown' }),
  estimateCost: () => undefined,
  rulesOf: () => [],
}

/** Make the rooms of the configuration; those of the store come with the first request. */
export function createRooms(base: Base): Rooms {
  const { config, runtime, env = {}, assemble, writer, counters, cache } = base
  const providers = createProviders(config.providers, env)
  const tokens = createTokens(config.tokens)
  const vault = createVault(env)
  const sessions = createSessionTokens(tokens, env.TRUNKLINE_SESSION_SECRET)
  const takesUsage = (slug: string) => providers.get(slug)?.takesUsage ?? false
  const pricing = base.pricing?.(providers.get) ?? unpriced
  const aliases = new Map(Object.entries(config.aliases))
  const models = listModels(config, providers, pricing)

  let keyrings: ReadonlyMap<string, Keyring> = new Map()
  /** A provider's key in the configuration comes before one that is stored for whoever names none. */
  const keysOf = (gateway: string): KeySource => ({
    async find(slug, alias) {
      if (alias === undefined && config.providers[slug]?.api_key !== undefined) return undefined
      return (keyrings.get(gateway) ?? noKeys).find(slug, alias)
    },
    found: (slug) => keyrings.get(gateway)?.found(slug) ?? [],
  })

  const toRoom = (settings: GatewaySettings): Room => {
    const { id } = settings
    const own = withKeys(providers, keysOf(id))
    const gate = {
      id,
      get required() {
        return isAuthenticated(settings, tokens.size)
      },
      tokens: sessions,
      slots: providers.credentialHeaders,
    }
    const recording = writer && {
      isOn: settings.collect_logs ?? true,
      isRequired: settings.log_required ?? false,
      isHealthy: () => writer.health().status === 'ok',
      add: writer.add,
      secretsOf: (slug: string) => own.get(slug)?.secrets ?? [],
      assemble,
    }
    const [send, dial] = [createSend(own, runtime), createDial(own, runtime)]
    const parts = {
      settings,
      providers: own,
      send,
      dial,
      pricing,
      takesUsage,
      cache,
      counters,
      recording,
      runtime,
    }
    const defaults = toDefaults(settings)
    return { settings, gate, providers: own, ...createPipeline(parts), defaults, aliases, models }
  }

  const configured = new Map(config.gateways.map((settings) => [settings.id, toRoom(settings)]))
  let rooms: ReadonlyMap<string, Room> = configured

  /** A room whose settings are the same stays, with all that it holds. */
  const keepOrMake = (settings: GatewaySettings): Room => {
    const known = rooms.get(settings.id)
    return known && JSON.stringify(known.settings) === JSON.stringify(settings) ? known : toRoom(settings)
  }

  const apply = async (stored: Stored): Promise<void> => {
    const own = config.declaresGateways ? configured : new Map<string, Room>()
    const made = new Map<string, Room>()
    for (const { id, settings } of stored.gateway) {
      const parsed = gatewaySettings.safeParse(settings)
      // Of a version that knew other settings.
      if (!parsed.success) runtime.report(`gateway ${id} cannot be used`, parsed.error)
      else if (!own.has(id)) made.set(id, keepOrMake(parsed.data))
    }
    rooms = new Map([...configured, ...made])
    tokens.replace(stored.token)
    providers.replace(await readProviders(stored.provider, vault, runtime.report))
    const keys = Map.groupBy(stored.key, ({ gateway_id }) => gateway_id)
    const ids = new Set([...keyrings.keys(), ...keys.keys()])
    const toRing = (id: string) => createKeyring(keys.get(id) ?? [], vault, runtime.report, keyrings.get(id))
    keyrings = new Map([...ids].map((id) => [id, toRing(id)]))
  }

  const noKeys = createKeyring([], vault, runtime.report)
  const live = base.settings && createLive(base.settings, apply, runtime.report)
  return {
    async find(account, gateway) {
      const stale = live?.check()
      if (stale) await stale
      const room = account === config.account_id ? rooms.get(gateway) : undefined
      if (!room) throw new GatewayError('unknown_gateway')
      return room
    },
    all: () => rooms,
    tokens,
    providers,
    vault,
    live,
  }
}

/** What can be used of the custom providers: those that are on, and whose headers can be read. */
async function readProviders(
  stored: readonly StoredProvider[],
  vault: Vault,
  report: Runtime['report'],
): Promise<Record<string, ProviderSettings>> {
  const read = stored
    .filter(({ enable }) => enable)
    .map(async (record): Promise<[string, ProviderSettings][]> => {
      const { slug, base_url } = record
      try {
        const headers = record.headers && (await vault.unseal(record.headers, headersPlaceOf(record)))
        const settings = {
          base_url,
          ...(headers && { headers: JSON.parse(headers) as Record<string, string> }),
        }
        assertCustom(slug, settings)
        return [[slug, settings]]
      } catch (error) {
        report(`the custom provider ${slug} cannot be used`, error)
        return []
      }
    })
  return Object.fromEntries((await Promise.all(read)).flat())
}

function toDefaults(settings: GatewaySettings): Options {
  const { retry_max_attempts: maxAttempts, retry_delay: retryDelay, retry_backoff: backoff } = settings
  return {
    ...(maxAttempts && { maxAttempts }),
    ...(retryDelay != null && { retryDelay }),
    ...(backoff && { backoff }),
    ...(settings.compat_lenient && { compatLenient: true }),
  }
}

const logRows = 1_000_000
const dayMs = 86_400_000

/** How long a gateway wants its logs kept. */
export function toRetention(settings: Partial<GatewaySettings> = {}): Retention {
  const { log_management, log_management_strategy, log_retention_days } = settings
  return {
    rows: log_management ?? logRows,
    strategy: log_management_strategy ?? 'DELETE_OLDEST',
    ...(log_retention_days && { ageMs: log_retention_days * dayMs }),
  }
}
