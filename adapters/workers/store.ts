import { DurableObject, type DurableState, type DurableStorage } from 'cloudflare:workers'
import type { Cache, ConfigStore, Counters, Logs } from '../../src/index.ts'
import { createShardedLogs } from '../../src/store/sharded-logs.ts'
import type { Sql, SqlRow, SqlValue } from '../../src/store/sql.ts'
import { createSqlCache } from '../../src/store/sql-cache.ts'
import { createSqlConfig } from '../../src/store/sql-config.ts'
import { createSqlCounters } from '../../src/store/sql-counters.ts'
import { createSqlLogs } from '../../src/store/sql-logs.ts'
import { report } from '../server.ts'

/** Objects that share a gateway's logs: one object writes some 40,000 rows a second, but is one thread. */
const logShards = 8

/** The stores of one object. */
interface Stores {
  readonly logs: Logs
  readonly counters: Counters
  readonly cache: Cache
  readonly settings: ConfigStore
}

/** What may be called of each. */
const methods: { readonly [K in keyof Stores]: readonly (keyof Stores[K] & string)[] } = {
  logs: [
    'append',
    'list',
    'places',
    'read',
    'count',
    'stats',
    'series',
    'get',
    'bodies',
    'patch',
    'remove',
    'trim',
  ],
  counters: ['take', 'settle', 'flush'],
  cache: ['get', 'put', 'clear'],
  settings: ['revision', 'read', 'change', 'note', 'audit', 'auditCount'],
}

/** Calls a method of a store that an object holds. Values must be structured-cloneable, which those of stores are. */
export interface StoreStub {
  call(store: keyof Stores, method: string, args: readonly unknown[]): Promise<unknown>
}

/** Where objects are found by name. */
export interface StoreNamespace {
  idFromName(name: string): object
  get(id: object): StoreStub
}

/** What must outlive a request, in the SQLite of an object; its name says of what. */
export class Store extends DurableObject {
  readonly #stores: Stores

  constructor(ctx: DurableState, env: unknown) {
    super(ctx, env)
    const sql = sqlOf(ctx.storage)
    this.#stores = {
      logs: createSqlLogs(sql),
      counters: createSqlCounters(sql, { report }),
      cache: createSqlCache(sql),
      settings: createSqlConfig(sql),
    }
  }

  /** Called by Workers and by other objects. */
  async call<K extends keyof Stores>(store: K, method: string, args: readonly unknown[]): Promise<unknown> {
    const name = methods[store].find((known) => known === method)
    if (name === undefined) throw new TypeError(`There is no ${store}.${method}`)
    return (this.#stores[store][name] as (...args: readonly unknown[]) => Promise<unknown>)(...args)
  }
}

/** A store in an object. A stub belongs to the request that gets it, so each call gets its own. */
export function remote<K extends keyof Stores>(namespace: StoreNamespace, name: string, store: K): Stores[K] {
  const call =
    (method: string) =>
    (...args: readonly unknown[]) =>
      namespace.get(namespace.idFromName(name)).call(store, method, args)
  return Object.fromEntries(methods[store].map((method) => [method, call(method)])) as unknown as Stores[K]
}

/** An object's SQLite as the core's. */
export function sqlOf(storage: DurableStorage): Sql {
  const { sql } = storage
  return {
    async all(text, ...values) {
      return sql
        .exec<SqlRow>(text, ...values)
        .toArray()
        .map(withBytes)
    },
    async batch(statements) {
      storage.transactionSync(() => {
        for (const [text, ...values] of statements) sql.exec(text, ...values)
      })
    },
  }
}

/** An object gives BLOBs as buffers. */
const withBytes = (row: SqlRow): SqlRow =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]: [string, unknown]) => [
      name,
      value instanceof ArrayBuffer ? new Uint8Array(value) : (value as SqlValue),
    ]),
  )

/** The logs of all gateways, spread over objects. */
export function logsOf(namespace: StoreNamespace): Logs {
  const shards = Array.from({ length: logShards }, (_, index) => remote(namespace, `logs-${index}`, 'logs'))
  return createShardedLogs(shards as [Logs, ...Logs[]])
}

/** What the limits of one gateway are held against: an object each, as what is counted at two places is not limited. */
export function countersOf(namespace: StoreNamespace): Counters {
  const of = (gateway: string) => remote(namespace, `counters-${gateway}`, 'counters')
  return {
    take: (gateway, claims) => of(gateway).take(gateway, claims),
    settle: (gateway, settlements) => of(gateway).settle(gateway, settlements),
    flush: async () => undefined, // objects do so by themselves
  }
}

/** Kept answers, spread over objects by their keys, which are digests. */
export function cacheOf(namespace: StoreNamespace): Cache {
  const of = (key: string) => remote(namespace, `cache-${key.slice(0, 1)}`, 'cache')
  return {
    get: (key) => of(key).get(key),
    put: (key, gateway, entry) => of(key).put(key, gateway, entry),
    async clear(gateway) {
      await Promise.all([...'0123456789abcdef'].map((key) => of(key).clear(gateway)))
    },
  }
}

/** What changes while running: one object for all gateways, asked once in a while. */
export const settingsOf = (namespace: StoreNamespace): ConfigStore =>
  remote(namespace, 'settings', 'settings')
