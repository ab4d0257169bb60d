import { mergePlaces, mergeStats } from './log-merge.ts'
import type { LogEntry, LogPlace, LogQuery, Logs, SeriesPoint, StoredLog } from './logs.ts'

/**
 * Logs over several stores, so that none carries all: a log lives where its id says. Lists are merged by their
 * places, of which each store gives those that the page could need.
 */
export function createShardedLogs(shards: readonly [Logs, ...Logs[]]): Logs {
  const shardOf = (id: string): Logs => shards[hash(id) % shards.length] ?? shards[0]
  const all = <T>(ask: (shard: Logs) => Promise<T>): Promise<T[]> => Promise.all(shards.map(ask))
  const places = async ({ offset, ...query }: LogQuery): Promise<LogPlace[]> => {
    const limit = offset + query.limit
    const lists = await all((shard) => shard.places({ ...query, offset: 0, limit }))
    return mergePlaces(lists, query, limit).slice(offset)
  }
  const read = async (gateway: string, ids: readonly string[]): Promise<StoredLog[]> => {
    const parts = Map.groupBy(ids, shardOf)
    return (await Promise.all([...parts].map(([shard, part]) => shard.read(gateway, part)))).flat()
  }

  return {
    async append(entries) {
      const parts = Map.groupBy(entries, ({ row }) => shardOf(row.id))
      await Promise.all([...parts].map(([shard, part]: [Logs, LogEntry[]]) => shard.append(part)))
    },
    async list(query) {
      const ids = (await places(query)).map(({ id }) => id)
      const rows = new Map((await read(query.gateway, ids)).map((log) => [log.id, log]))
      return ids.flatMap((id) => rows.get(id) ?? [])
    },
    places,
    read,
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
      const found = Map.groupBy(await places(query), ({ id }) => shardOf(id))
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
