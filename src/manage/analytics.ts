import * as z from 'zod'
import { seriesDimensions } from '../store/logs.ts'
import { ManageError } from './answer.ts'
import { type Route, route, toTime } from './route.ts'

const dayMs = 86_400_000
/** Logs that one answer looks at, from the newest: a database needs a second for so many. */
const rowsMax = 100_000
/** Points of one answer. */
const pointsMax = 1_000
const rangeDaysMax = 366

const time = z.iso.datetime({ offset: true }).transform((value) => Date.parse(value))
const metadata = 'metadata.'

const query = z
  .strictObject({
    from: time.optional(),
    until: time.optional(),
    bucket_seconds: z.coerce.number().int().min(60).max(31_622_400).default(3_600),
    by: z
      .union([z.enum(seriesDimensions), z.templateLiteral([metadata, z.string().min(1).max(256)])])
      .optional(),
  })
  .transform(({ from, until = Date.now(), ...rest }) => ({ ...rest, until, from: from ?? until - dayMs }))
  .refine(({ from, until }) => from < until, { error: 'from must lie before until', path: ['from'] })
  .refine(({ from, until }) => until - from <= rangeDaysMax * dayMs, {
    error: `${rangeDaysMax} days at most`,
    path: ['from'],
  })

const count = z.int().min(0)
const point = z.strictObject({
  at: z.iso.datetime(),
  group: z.string().nullable(),
  requests: count,
  attempts: count,
  errors: count,
  cached: count,
  /** Of the attempts, 0 to 1. */
  cache_rate: z.number(),
  error_rate: z.number(),
  tokens_in: count,
  tokens_out: count,
  /** US dollars, of the attempts whose cost is known. */
  cost: z.number(),
  /** Attempts whose cost is not known. */
  cost_unknown: count,
  /** Milliseconds. */
  duration_p50: count,
  duration_p90: count,
  duration_p99: count,
})

/** Sums of a gateway over time; ours, as the original has them in its dashboard only. */
export const analyticsRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/gateways/{gateway}/analytics',
    summary: `Sums and percentiles by time, newest first, and by one dimension; of the ${rowsMax} newest logs at most`,
    query,
    result: z.strictObject({
      from: z.iso.datetime(),
      until: z.iso.datetime(),
      bucket_seconds: count,
      /** True where there may be more than was looked at, or told. */
      is_partial: z.boolean(),
      points: z.array(point),
    }),
    async handle({ desk, params, query: { from, until, bucket_seconds, by } }) {
      if (!desk.logs) throw new ManageError('unavailable', 'This gateway has no store for logs')
      await desk.flush()
      const found = await desk.logs.series({
        gateway: params.gateway ?? '',
        from,
        until,
        bucketMs: bucket_seconds * 1_000,
        by: by?.startsWith(metadata)
          ? { metadata: by.slice(metadata.length) }
          : (by as (typeof seriesDimensions)[number]),
        rowsMax,
        pointsMax,
      })
      const seen = found.reduce((sum, { attempts }) => sum + attempts, 0)
      const points = found.map(({ at, ...sums }) => ({
        ...sums,
        at: toTime(at),
        cache_rate: sums.cached / sums.attempts,
        error_rate: sums.errors / sums.attempts,
      }))
      const is_partial = found.length >= pointsMax || seen >= rowsMax
      return { result: { from: toTime(from), until: toTime(until), bucket_seconds, is_partial, points } }
    },
  }),
]
