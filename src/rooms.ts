import { type Config, type Env, type GatewaySettings, gatewaySettings, isAuthenticated } from './config.ts'
import { GatewayError } from './errors.ts'
import type { PriceList } from './observe/prices.ts'
import { createPricing } from './observe/pricing.ts'
import { createDial } from './pipeline/dial.ts'
import { createPipeline } from './pipeline/index.ts'
import { createSend } from './pipeline/send.ts'
import { createProviders, type LiveProviders } from './providers/providers.ts'
import type { Room } from './routes/context.ts'
import { createTokens, type LiveTokens } from './routes/tokens.ts'
import type { Cache } from './store/cache.ts'
import type { ConfigStore, Stored } from './store/config.ts'
import type { Counters } from './store/counters.ts'
import { createLive, type Live } from './store/live.ts'
import type { LogWriter, Retention } from './store/writer.ts'
import type { Options, Runtime } from './types.ts'

/** What rooms are made from. */
export interface Base {
  readonly config: Config
  readonly runtime: Runtime
  readonly env?: Env
  readonly prices?: PriceList
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
  /** What is stored; undefined without a store. */
  readonly live: Live | undefined
}

/** Make the rooms of the configuration; those of the store come with the first request. */
export function createRooms(base: Base): Rooms {
  const { config, runtime, env = {}, prices, writer, counters, cache } = base
  const providers = createProviders(config.providers, env)
  const tokens = createTokens(config.tokens)
  const secretsOf = (slug: string) => providers.get(slug)?.secrets ?? []
  const [send, dial] = [createSend(providers, runtime), createDial(providers, runtime)]
  const pricing = createPricing(prices, providers.get)

  const toRoom = (settings: GatewaySettings): Room => {
    const gate = {
      id: settings.id,
      get required() {
        return isAuthenticated(settings, tokens.size)
      },
      tokens,
      slots: providers.credentialHeaders,
    }
    const recording = writer && {
      isOn: settings.collect_logs ?? true,
      isRequired: settings.log_required ?? false,
      isHealthy: () => writer.health().status === 'ok',
      add: writer.add,
      secretsOf,
    }
    const parts = { settings, providers, send, dial, pricing, cache, counters, recording, runtime }
    return { settings, gate, providers, ...createPipeline(parts), defaults: toDefaults(settings) }
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
  }

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
    live,
  }
}

function toDefaults(settings: GatewaySettings): Options {
  const { retry_max_attempts: maxAttempts, retry_delay: retryDelay, retry_backoff: backoff } = settings
  return {
    ...(maxAttempts && { maxAttempts }),
    ...(retryDelay != null && { retryDelay }),
    ...(backoff && { backoff }),
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
