import { type Config, type Env, type GatewaySettings, isAuthenticated } from './config.ts'
import { GatewayError } from './errors.ts'
import type { Assemble } from './observe/assemble/assemble.ts'
import type { CreatePricing, Pricing } from './observe/pricing.ts'
import { createDial } from './pipeline/dial.ts'
import { createPipeline } from './pipeline/index.ts'
import { createSend } from './pipeline/send.ts'
import { type KeySource, withKeys } from './providers/keyed.ts'
import { createProviders, type LiveProviders } from './providers/providers.ts'
import type { ProviderTable } from './providers/row.ts'
import type { Compat, Room } from './routes/context.ts'
import { createSessionTokens, type SessionTokens } from './routes/session-tokens.ts'
import { createTokens, type LiveTokens } from './routes/tokens.ts'
import type { Cache } from './store/cache.ts'
import type { Counters } from './store/counters.ts'
import { defaultAlias } from './store/keyring.ts'
import type { Live } from './store/live.ts'
import type { Settings, Usable } from './store/settings.ts'
import type { LogWriter, Retention } from './store/writer.ts'
import type { Options, Runtime } from './types.ts'

/** What rooms are made from. */
export interface Base {
  readonly config: Config
  readonly runtime: Runtime
  readonly env?: Env
  readonly pricing?: CreatePricing
  readonly assemble?: Assemble
  readonly compat?: Compat
  readonly providers?: ProviderTable
  readonly writer: LogWriter | undefined
  readonly counters: Counters
  readonly cache: Cache
  /** What changes while running; absent: nothing does. */
  readonly settings?: Settings
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

const unpriced: Pricing = {
  costOf: () => ({ value: null, currency: 'USD', basis: 'unknown' }),
  estimateCost: () => undefined,
  rulesOf: () => [],
}

/** Make the rooms of the configuration; those of the store come with the first request. */
export function createRooms(base: Base): Rooms {
  const { config, runtime, env = {} } = base
  const providers = createProviders(config.providers, env, base.providers)
  const tokens = createTokens(config.tokens)
  const sessions = createSessionTokens(tokens, env.TRUNKLINE_SESSION_SECRET)
  let keyrings: Usable['keyrings'] = new Map()
  let epochs: Usable['epochs'] = new Map()
  let epoch = ''
  /** A provider's key in the configuration comes before one that is stored for whoever names none. */
  const keysOf = (gateway: string): KeySource => ({
    async find(slug, alias) {
      if (alias === undefined && config.providers[slug]?.api_key !== undefined) return undefined
      const ring = keyrings.get(gateway)
      if (!ring && alias !== undefined && alias !== defaultAlias)
        throw new GatewayError(
          'unknown_alias',
          `No key of ${slug} is stored, so none has the alias "${alias}"`,
        )
      return ring?.find(slug, alias)
    },
    found: (slug) => keyrings.get(gateway)?.found(slug) ?? [],
  })

  const epochOf = (gateway: string): string => `${epochs.get(gateway) ?? ''} ${epoch}`
  const toRoom = createToRoom(base, { providers, tokens, sessions, keysOf, epochOf })
  const configured = new Map(config.gateways.map((settings) => [settings.id, toRoom(settings)]))
  let rooms: ReadonlyMap<string, Room> = configured

  /** A room whose settings are the same stays, with all that it holds. */
  const keepOrMake = (settings: GatewaySettings): Room => {
    const known = rooms.get(settings.id)
    return known && JSON.stringify(known.settings) === JSON.stringify(settings) ? known : toRoom(settings)
  }

  const apply = ({ gateways, tokens: stored, providers: custom, ...usable }: Usable): void => {
    const isDeclared = (id: string) => config.declaresGateways && configured.has(id)
    const made = gateways.filter(({ id }) => !isDeclared(id)).map(keepOrMake)
    rooms = new Map([...configured, ...made.map((room): [string, Room] => [room.settings.id, room])])
    tokens.replace(stored)
    providers.replace(custom, runtime.report)
    keyrings = usable.keyrings
    epochs = usable.epochs
    epoch = usable.epoch
  }

  const live = base.settings?.hold(apply, runtime.report)
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

/** What all rooms share. */
interface Shared {
  readonly providers: LiveProviders
  readonly tokens: LiveTokens
  readonly sessions: SessionTokens
  readonly keysOf: (gateway: string) => KeySource
  /** What kept answers of a gateway belong to. */
  readonly epochOf: (gateway: string) => string
}

/** Makes the room of one gateway's settings. */
function createToRoom(
  base: Base,
  { providers, tokens, sessions, keysOf, epochOf }: Shared,
): (settings: GatewaySettings) => Room {
  const { config, runtime, assemble, compat, writer, counters, cache } = base
  const takesUsage = (slug: string) => providers.get(slug)?.takesUsage ?? false
  const pricing = base.pricing?.(providers.get) ?? unpriced
  const aliases = new Map(Object.entries(config.aliases))
  const models = compat?.listModels(config, providers, pricing) ?? (() => [])
  return (settings) => {
    const { id } = settings
    const own = withKeys(providers, keysOf(id))
    const gate = {
      id,
      isLocal: config.isLocal ?? false,
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
    const ownEpoch = settings.cache_invalidate_on_update ? JSON.stringify(settings) : ''
    const pipeline = createPipeline({
      settings,
      providers: own,
      send,
      dial,
      pricing,
      takesUsage,
      cache,
      cacheEpoch: () => ownEpoch + epochOf(id),
      counters,
      recording,
      runtime,
    })
    const defaults = toDefaults(settings)
    return { settings, gate, providers: own, ...pipeline, defaults, compat, aliases, models }
  }
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
