import { DurableObject, type DurableState, type DurableStorage } from 'cloudflare:workers'
import { createShardedLogs, createSqlLogs, type Logs, type Sql, type SqlRow } from '../../src/index.ts'

/** Objects that share a gateway's logs: one object writes some 40,000 rows a second, but is one thread. */
const logShards = 8

/** The stores of one object. */
interface Stores {
  readonly logs: Logs
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
    this.#stores = { logs: createSqlLogs(sql) }
  }

  /** Called by Workers and by other objects. */
  async call(store: keyof Stores, method: string, args: readonly unknown[]): Promise<unknown> {
    const one = this.#stores[store] as unknown as Record<
      string,
      (...args: readonly unknown[]) => Promise<unknown>
    >
    return one[method]?.(...args)
  }
}

/** An object's SQLite as the core's. */
export function sqlOf(storage: DurableStorage): Sql {
  const { sql } = storage
  return {
    async all(text, ...values) {
      return sql.exec<SqlRow>(text, ...values).toArray()
    },
    async batch(statements) {
      storage.transactionSync(() => {
        for (const [text, ...values] of statements) sql.exec(text, ...values)
      })
    },
  }
}

/** The logs of all gateways, spread over objects. */
export function logsOf(namespace: StoreNamespace): Logs {
  const shards = Array.from({ length: logShards }, (_, index) =>
    remote<Logs>(namespace, `logs-${index}`, 'logs', logMethods),
  )
  return createShardedLogs(shards as [Logs, ...Logs[]])
}

const logMethods = [
  'append',
  'list',
  'count',
  'get',
  'bodies',
  'patch',
  'remove',
  'trim',
] as const satisfies (keyof Logs)[]

/** A store in an object. A stub belongs to the request that gets it, so each call gets its own. */
function remote<T extends object>(
  namespace: StoreNamespace,
  name: string,
  store: keyof Stores,
  methods: readonly (keyof T & string)[],
): T {
  const call =
    (method: string) =>
    (...args: readonly unknown[]) =>
      namespace.get(namespace.idFromName(name)).call(store, method, args)
  return Object.fromEntries(methods.map((method) => [method, call(method)])) as T
}
