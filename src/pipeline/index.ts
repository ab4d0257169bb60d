import type { GatewaySettings } from '../config.ts'
import type { Pricing } from '../observe/pricing.ts'
import type { Providers } from '../providers/providers.ts'
import type { Cache } from '../store/cache.ts'
import type { Counters } from '../store/counters.ts'
import type { Handler, Runtime, Stage } from '../types.ts'
import { createBudget } from './budget.ts'
import { createCacheStage } from './cache.ts'
import type { DialProvider } from './dial.ts'
import { createGrantStage } from './grant.ts'
import { createLimit } from './limit.ts'
import { createRecord, type Recording, recordHit } from './record.ts'
import { createRelayHandler, type RelayHandler } from './relayed.ts'
import { createRoute } from './route.ts'
import type { Send } from './send.ts'
import { createTranslate, shapeErrors } from './translate.ts'

/** What the pipeline of one gateway is made of. */
export interface PipelineOptions {
  readonly settings: GatewaySettings
  readonly providers: Providers
  readonly send: Send
  readonly dial: DialProvider
  readonly cache: Cache
  /** What kept answers belong to, now. */
  readonly cacheEpoch: () => string
  readonly counters: Counters
  readonly recording: Recording | undefined
  readonly pricing: Pricing
  /** Whether a provider takes `stream_options.include_usage`. */
  readonly takesUsage: (provider: string) => boolean
  readonly runtime: Runtime
}

/** What a call may come to. */
export interface Pipeline {
  /** An answer. */
  readonly run: Handler
  /** A session with a provider of its own. */
  readonly relay: RelayHandler
}

/**
 * From a call to its result, over whichever way in it came. What is kept is answered before limits are looked at, as
 * it costs nothing; each try is held against what it may use up, and recorded.
 */
export function createPipeline(options: PipelineOptions): Pipeline {
  const {
    settings,
    providers,
    send,
    dial,
    cache,
    cacheEpoch,
    counters,
    recording,
    pricing,
    takesUsage,
    runtime,
  } = options
  const asksUsage = (provider: string) => settings.stream_usage !== false && takesUsage(provider)
  const stages: readonly Stage[] = [
    shapeErrors,
    createGrantStage(counters),
    createCacheStage({
      cache,
      epoch: cacheEpoch,
      ttl: settings.cache_ttl ?? null,
      record: (attempt, response) => recordHit(attempt, response, { pricing, recording }),
      runtime,
    }),
    createLimit(settings.id, settings, counters),
  ]
  const budget = {
    gateway: settings.id,
    rates: settings,
    rules: settings.spend_limits?.enabled ? settings.spend_limits.rules : [],
    counters,
    pricing,
    providers,
    runtime,
  }
  const record = createRecord(send, { pricing, recording, asksUsage })
  const route = createRoute(createTranslate(createBudget(budget, record)))
  return {
    run: stages.reduceRight<Handler>((next, stage) => (call) => stage(call, next), route),
    relay: createRelayHandler({ providers, dial, budget, pricing, recording }),
  }
}
