import type { LogEntry, LogQuery, LogStats, Logs, SeriesPoint, StoredLog } from './logs.ts'

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
    stats: async (selection) => mergeStats(await all((shard) => shard.stats(selection))),
    async series(query) {
      const rowsMax = Math.ceil(query.rowsMax / shards.length)
      const points = await all((shard) => shard.series({ ...query, rowsMax }))
      const parts = Map.groupBy(points.flat(), ({ at, group }) => JSON.stringify([at, group]))
      return [...parts.values()].map(mergePoints).sort(newestFirst).slice(0, query.pointsMax)
    },
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
  return (one: StoredLog, other: StoredLog): number => {
    const [a, b] = [sortKeyOf(one, orderBy), sortKeyOf(other, orderBy)]
    if (a === null || b === null) return Number(a === null) - Number(b === null) || compare(other.id, one.id)
    return sign * compare(a, b) || compare(other.id, one.id)
  }
}

type Value = string | number | boolean

const sortKeyOf = (log: StoredLog, key: LogQuery['orderBy']): Value | null =>
  key === 'tokens' ? (log.tokens_in ?? 0) + (log.tokens_out ?? 0) : log[key]

const compare = (one: Value, other: Value): number => (one === other ? 0 : one < other ? -1 : 1)

function mergeStats(parts: readonly LogStats[]): LogStats {
  const names = Object.keys(parts[0] ?? {}) as (keyof LogStats)[]
  const merged = names.map((name) => {
    const known = parts.map((part) => part[name]).filter((value) => value !== null)
    const extreme = name.startsWith('min') ? Math.min(...known) : Math.max(...known)
    return [name, known.length > 0 ? extreme : null]
  })
  return Object.fromEntries(merged) as LogStats
}

/** Sums of sums; a percentile is the mean of those of the stores, each of which holds a fair sample. */
function mergePoints(points: readonly SeriesPoint[]): SeriesPoint {
  const [first] = points
  const attempts = points.reduce((sum, point) => sum + point.attempts, 0)
  const merged = Object.entries(first ?? {}).map(([name, value]) => {
    if (name === 'at' || name === 'group') return [name, value]
    const numbers = points.map((point) => point[name as 'requests'])
    if (!name.startsWith('duration')) return [name, numbers.reduce((sum, number) => sum + number, 0)]
    const weighted = numbers.reduce((sum, number, index) => sum + number * (points[index]?.attempts ?? 0), 0)
    return [name, Math.round(weighted / attempts)]
  })
  return Object.fromEntries(merged) as SeriesPoint
}

const newestFirst = (one: SeriesPoint, other: SeriesPoint): number =>
  other.at - one.at || other.attempts - one.attempts
