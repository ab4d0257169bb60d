import type { LogEntry, LogQuery, Logs, StoredLog } from './logs.ts'

/**
 * Logs over several stores, so that none carries all: a log lives where its id says. Lists are merged, each store
 * giving what the page could need of it.
 */
export function createShardedLogs(shards: readonly [Logs, ...Logs[]]): Logs {
  const shardOf = (id: string): Logs => shards[hash(id) % shards.length] ?? shards[0]
  const all = <T>(ask: (shard: Logs) => Promise<T>): Promise<T[]> => Promise.all(shards.map(ask))
  const list = async ({ offset, ...query }: LogQuery): Promise<StoredLog[]> => {
    const pages = await all((shard) => shard.list({ ...query, offset: 0, limit: offset + query.limit }))
    return pages
      .flat()
      .sort(orderOf(query))
      .slice(offset, offset + query.limit)
  }

  return {
    async append(entries) {
      const parts = Map.groupBy(entries, ({ row }) => shardOf(row.id))
      await Promise.all([...parts].map(([shard, part]: [Logs, LogEntry[]]) => shard.append(part)))
    },
    list,
    count: async (query) => (await all((shard) => shard.count(query))).reduce((sum, count) => sum + count, 0),
    get: (gateway, id) => shardOf(id).get(gateway, id),
    bodies: (gateway, id) => shardOf(id).bodies(gateway, id),
    patch: (gateway, id, patch) => shardOf(id).patch(gateway, id, patch),
    async remove(query) {
      const found = Map.groupBy(await list(query), ({ id }) => shardOf(id))
      await Promise.all(
        [...found].map(([shard, rows]) => shard.remove({ ...query, limit: rows.length, offset: 0 })),
      )
    },
    async trim(gateway, rows, before) {
      await all((shard) => shard.trim(gateway, Math.ceil(rows / shards.length), before))
    },
  }
}

/** Ids end in random digits (RFC 9562, 5.7). */
const hash = (id: string): number => Number.parseInt(id.slice(-4), 16) || 0

function orderOf({ orderBy, direction }: Pick<LogQuery, 'orderBy' | 'direction'>) {
  const sign = direction === 'asc' ? 1 : -1
  return (one: StoredLog, other: StoredLog): number =>
    sign * compare(sortKeyOf(one, orderBy), sortKeyOf(other, orderBy)) || compare(other.id, one.id)
}

type Value = string | number | boolean | null

const sortKeyOf = (log: StoredLog, key: LogQuery['orderBy']): Value =>
  key === 'tokens' ? (log.tokens_in ?? 0) + (log.tokens_out ?? 0) : log[key]

/** As databases order: what is null first. */
function compare(one: Value, other: Value): number {
  if (one === other) return 0
  if (one === null || other === null) return one === null ? -1 : 1
  return one < other ? -1 : 1
}
