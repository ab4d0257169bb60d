import { type SeriesPoint, type SeriesQuery, seriesDimensions } from './logs.ts'
import type { SqlRow, Statement } from './sql.ts'

/** Nearest rank: the smallest of which so many percent are no larger. */
const percentile = (percent: number): string =>
  `max(CASE WHEN place = (total * ${percent} + 99) / 100 THEN duration END) AS duration_p${percent}`

/**
 * Sums and percentiles of the logs of a gateway. The first attempt of a request has the request's id. Numbers in expressions are cast, as drivers bind them as floats.
 */
export function seriesStatement(query: SeriesQuery): Statement {
  const { gateway, from, until, bucketMs, by, rowsMax, pointsMax } = query
  const isMetadata = typeof by === 'object'
  const name = typeof by === 'string' && seriesDimensions.includes(by) ? by : undefined
  const group = isMetadata ? 'm.value' : name ? `CAST(logs.${name} AS TEXT)` : 'NULL'
  const join = isMetadata ? 'LEFT JOIN log_metadata m ON m.id = logs.id AND m.name = ?' : ''
  const text = `WITH picked AS (
      SELECT logs.created_at - logs.created_at % CAST(? AS BIGINT) AS bucket, ${group} AS part,
        CASE WHEN logs.id = request_id THEN 1 ELSE 0 END AS is_first, success, cached, tokens_in, tokens_out, cost, duration
      FROM logs ${join}
      WHERE gateway = ? AND created_at >= ? AND created_at < ? ORDER BY created_at DESC LIMIT ?
    ), ranked AS (
      SELECT picked.*, row_number() OVER (PARTITION BY bucket, part ORDER BY duration) AS place,
        count(*) OVER (PARTITION BY bucket, part) AS total
      FROM picked
    )
    SELECT bucket, part, sum(is_first) AS requests, count(*) AS attempts,
      sum(1 - success) AS errors, sum(cached) AS cached,
      sum(coalesce(tokens_in, 0)) AS tokens_in, sum(coalesce(tokens_out, 0)) AS tokens_out,
      sum(coalesce(cost, 0)) AS cost, ${[50, 90, 99].map(percentile).join(', ')}
    FROM ranked GROUP BY bucket, part ORDER BY bucket DESC, attempts DESC, part LIMIT ?`
  const joined = isMetadata ? [by.metadata] : []
  return [text, bucketMs, ...joined, gateway, from, until, rowsMax, pointsMax]
}

/** A row of that statement. */
export function toPoint({ bucket, part, ...sums }: SqlRow): SeriesPoint {
  const numbers = Object.fromEntries(Object.entries(sums).map(([name, value]) => [name, Number(value ?? 0)]))
  return { at: Number(bucket), group: part === null ? null : String(part), ...numbers } as SeriesPoint
}
