import * as z from 'zod'
import { type LogFilter, type LogKey, logKeys, logOperators } from '../store/logs.ts'

/** Values of all filters together: Durable Objects bind 100 to a statement. */
const valuesMax = 50
/** Keys of contract 8.4 that nothing is recorded of here. */
const unknownKeys = [
  'request_type',
  'model_type',
  'authentication',
  'wholesale',
  'compatibilityMode',
  'dlp_action',
]

const keys = Object.keys(logKeys) as [LogKey, ...LogKey[]]
const one = z.union([z.string(), z.number(), z.boolean()])

const filter = z
  .strictObject({
    key: z.enum(keys, {
      error: ({ input }) => (unknownKeys.includes(String(input)) ? 'not recorded here' : undefined),
    }),
    operator: z.enum(logOperators),
    value: z.union([z.array(one).min(1).max(valuesMax), one.transform((value) => [value])]),
  })
  .transform(({ key, operator, value }, context): LogFilter => {
    const read = value.map((text) => readValue(key, operator, text))
    if (read.includes(undefined)) context.addIssue(`value: of ${key} a ${logKeys[key]} is wanted`)
    return { key, operator, value: read.filter((part) => part !== undefined) }
  })

/**
 * Filters from a query, in each of the spellings in use: a JSON list, `filters[0][key]=`, `filters[][key]=`, and the
 * official SDK's `filters.key=…&filters.operator=…&filters.value=…`, again and again.
 */
export const filters: z.ZodType<LogFilter[], unknown> = z
  .array(z.tuple([z.string(), z.string()]))
  .transform(group)
  .pipe(z.array(filter))
  .refine(
    (list) => list.reduce((sum, { value }) => sum + value.length, 0) <= valuesMax,
    `${valuesMax} values at most`,
  )
  .default([])
  .meta({ description: 'JSON list of {key, operator, value[]}' })

interface Group {
  readonly index: string
  readonly fields: Record<string, unknown> & { value?: string[] }
}

function group(
  entries: readonly (readonly [name: string, value: string])[],
  context: z.RefinementCtx,
): unknown {
  const groups: Group[] = []
  for (const [name, value] of entries) {
    if (/^filters(\[\])?$/.test(name)) return parseList(value, context)
    const [, index = '', field = ''] =
      /^filters(?:\[(\d*)\])?(?:\.|\[)(key|operator|value)\]?(?:\[\d*\])?$/.exec(name) ?? []
    if (!field) context.addIssue(`${name}: not understood`)
    const last = groups.at(-1)
    const current = last && belongs(last, index, field) ? last : { index, fields: {} }
    if (current !== last) groups.push(current)
    if (field === 'value') current.fields.value = [...(current.fields.value ?? []), value]
    else current.fields[field] = value
  }
  return groups.map(({ fields }) => fields)
}

/** A filter ends where another index begins, or the member that came first in it comes again. */
function belongs({ index, fields }: Group, nextIndex: string, field: string): boolean {
  const members = Object.keys(fields)
  const isAgain = field === 'value' ? members[0] === 'value' && members.length > 1 : field in fields
  return index === nextIndex && !isAgain
}

function parseList(text: string, context: z.RefinementCtx): unknown {
  try {
    return JSON.parse(text)
  } catch {
    context.addIssue('not a JSON list')
    return z.NEVER
  }
}

/** A value in the type of its key; times as ISO 8601 or as milliseconds. Undefined for what is neither. */
function readValue(
  key: LogKey,
  operator: LogFilter['operator'],
  value: string | number | boolean,
): string | number | undefined {
  if (operator === 'contains' || logKeys[key] === 'text') return String(value)
  if (logKeys[key] === 'boolean') {
    const isTrue = /^(true|1)$/.test(String(value))
    return isTrue || /^(false|0)$/.test(String(value)) ? Number(isTrue) : undefined
  }
  const isTime = key === 'created_at' && typeof value === 'string' && !/^\d+$/.test(value)
  const number = isTime ? Date.parse(value) : value === '' ? Number.NaN : Number(value)
  return Number.isFinite(number) ? number : undefined
}

const amount = z.coerce.number().optional()
const text = z.string().optional()
const flag = z.enum(['true', 'false', '1', '0']).optional()
const time = z.iso
  .datetime({ offset: true })
  .or(z.iso.date())
  .transform((value) => Date.parse(value))
  .optional()

type Bound = 'cost' | 'duration' | 'tokens_in' | 'tokens_out' | 'total_tokens'
type FlatName =
  | 'cached'
  | 'success'
  | 'provider'
  | 'model'
  | 'request_content_type'
  | 'response_content_type'
  | 'feedback'
  | 'start_date'
  | 'end_date'
  | `${'min' | 'max'}_${Bound}`

/** The older parameters of the same meaning (contract 8.4). */
export const flatFilters: { readonly [K in FlatName]: z.ZodType<string | number | undefined, unknown> } = {
  cached: flag,
  success: flag,
  provider: text,
  model: text,
  request_content_type: text,
  response_content_type: text,
  feedback: z.enum(['0', '1', '-1']).optional(),
  start_date: time,
  end_date: time,
  min_cost: amount,
  max_cost: amount,
  min_duration: amount,
  max_duration: amount,
  min_tokens_in: amount,
  max_tokens_in: amount,
  min_tokens_out: amount,
  max_tokens_out: amount,
  min_total_tokens: amount,
  max_total_tokens: amount,
}

const bounds = { min: 'gte', start: 'gte', max: 'lte', end: 'lte' } as const

/** Them as filters; bounds are part of their ranges. */
export function fromFlat(
  query: {
    readonly [K in keyof typeof flatFilters]?: z.infer<(typeof flatFilters)[K]>
  },
): LogFilter[] {
  return (Object.keys(flatFilters) as FlatName[]).flatMap((name): LogFilter[] => {
    const value = query[name]
    if (value === undefined) return []
    const [, side, measured] = /^(min|max|start|end)_(.*)$/.exec(name) ?? []
    if (side === undefined) {
      const read = readValue(name as LogKey, 'eq', value)
      // What is 0 here is -1 where it is given (contract 8.3).
      return [
        {
          key: name as LogKey,
          operator: 'eq',
          value: name === 'feedback' && read === 0 ? [0, -1] : [read ?? ''],
        },
      ]
    }
    const key = measured === 'date' ? 'created_at' : measured === 'total_tokens' ? 'tokens' : measured
    return [{ key: key as LogKey, operator: bounds[side as keyof typeof bounds], value: [Number(value)] }]
  })
}
