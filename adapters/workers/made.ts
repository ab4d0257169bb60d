import { waitUntil } from 'cloudflare:workers'
import { GatewayError } from '../../src/errors.ts'
import {
  ConfigError,
  createGateway,
  type Env,
  type Gateway,
  isOpen,
  parseConfig,
  type RunQuery,
} from '../../src/index.ts'
import { createManagement } from '../../src/manage/app.ts'
import { createSettings } from '../../src/store/settings.ts'
import { createFetch } from '../fetch.ts'
import { parts } from '../parts.ts'
import { refuseAll } from '../refuse.ts'
import { report } from '../server.ts'
import { connect } from './relay.ts'
import { cacheOf, countersOf, logsOf, type StoreNamespace, settingsOf } from './store.ts'

/** The Worker's bindings; text ones are the environment of the configuration. */
export interface Bindings {
  /** The configuration as JSON. */
  readonly TRUNKLINE_CONFIG?: string
  readonly TRUNKLINE_TOKEN?: string
  /** Set where only this machine can reach the Worker, so that it may go without a token. */
  readonly TRUNKLINE_LOOPBACK?: string
  readonly STORES: StoreNamespace
  readonly SESSIONS: {
    idFromName(name: string): object
    get(id: object): {
      fetch(request: Request): Promise<Response>
      askRun(query: RunQuery): Promise<Response>
    }
  }
}

/** A gateway, or why there is none. */
export type Made = { readonly keepBytes: number } & (
  | { readonly gateway: Gateway }
  | { readonly refuse: (request: Request) => Promise<Response> }
)

let made: Made | undefined

/** One gateway per isolate, made at its first request, since bindings come with it. */
export function gatewayOf(bindings: Bindings): Made {
  made ??= make(bindings)
  return made
}

/** An isolate has 128 MB for all of its objects. */
const heldBytes = 33_554_432

/** What is wrong with a configuration, its schema tells. */
function withDefaults(given: unknown): unknown {
  if (typeof given !== 'object' || given === null) return given
  const { limits = {} } = given as { limits?: object }
  return { ...given, limits: typeof limits === 'object' ? { heldBytes, ...limits } : limits }
}

function make(bindings: Bindings): Made {
  const env = Object.fromEntries(
    Object.entries(bindings).filter(([, value]) => typeof value === 'string'),
  ) as Env
  try {
    const config = {
      ...parseConfig(withDefaults(JSON.parse(bindings.TRUNKLINE_CONFIG ?? '{}')), env),
      isLocal: Boolean(bindings.TRUNKLINE_LOOPBACK),
    }
    if (isOpen(config) && !config.isLocal)
      return { keepBytes: 0, refuse: refuseAll(new GatewayError('not_configured')) }
    return {
      keepBytes: config.limits.runBytes,
      gateway: createGateway(
        config,
        { fetch: createFetch(), connect, report, defer: waitUntil },
        {
          env,
          ...parts,
          manage: createManagement,
          logs: logsOf(bindings.STORES),
          counters: countersOf(bindings.STORES),
          cache: cacheOf(bindings.STORES),
          settings: createSettings(settingsOf(bindings.STORES), env),
          shares: false,
        },
      ),
    }
  } catch (error) {
    const reason = error instanceof ConfigError ? error.message : 'TRUNKLINE_CONFIG is not JSON'
    report('configuration', new ConfigError(reason))
    return {
      keepBytes: 0,
      refuse: refuseAll(
        new GatewayError('not_configured', 'The configuration cannot be used; the log says why'),
      ),
    }
  }
}
