import { type LogFilter, type LogKey, type LogSelection, logKeys } from './logs.ts'
import { type SqlValue, writable } from './sql.ts'

/** A condition, and the values it binds. */
export type Condition = readonly [text: string, values: SqlValue[]]

/** Keys that are no columns. */
const expressions: { readonly [K in LogKey]?: string } = {
  tokens: '(coalesce(tokens_in, 0) + coalesce(tokens_out, 0))',
}
/** Where `search` looks. */
const searched = [
  'id',
  'event_id',
  'request_id',
  'provider',
  'model',
  'path',
  'principal',
  'error',
  'metadata',
]
const operators = { eq: '=', lt: '<', gt: '>', lte: '<=', gte: '>=' } as const

/** The column or expression of a key. */
export const columnOf = (key: LogKey): string => expressions[key] ?? key

/** The logs of a selection. */
export function toWhere({ gateway, filters, search }: LogSelection): Condition {
  const parts: Condition[] = [['gateway = ?', [gateway]], ...filters.map(toCondition)]
  if (search) parts.push(anyOf(searched.map((column) => contains(column, search))))
  return [parts.map(([text]) => text).join(' AND '), parts.flatMap(([, values]) => values)]
}

function toCondition(filter: LogFilter): Condition {
  const { key, operator, value } = filter
  if (value.length === 0) return ['1 = 1', []]
  if (operator === 'neq') {
    const [text, values] = toCondition({ ...filter, operator: 'eq' })
    return [`coalesce(NOT ${text}, 1 = 1)`, values]
  }
  if (key === 'metadata.key' || key === 'metadata.value') {
    const column = key === 'metadata.key' ? 'm.name' : 'm.value'
    const [text, values] = anyOf(value.map((one) => compare(column, operator, String(one))))
    return [`EXISTS (SELECT 1 FROM log_metadata m WHERE m.id = logs.id AND ${text})`, values]
  }
  const column = columnOf(key)
  return anyOf(value.map((one) => compare(column, operator, one, logKeys[key] !== 'text')))
}

function compare(
  column: string,
  operator: Exclude<LogFilter['operator'], 'neq'>,
  value: string | number,
  isNumber = false,
): Condition {
  if (operator === 'contains') return contains(isNumber ? `CAST(${column} AS TEXT)` : column, String(value))
  return [`${column} ${operators[operator]} ?`, [typeof value === 'string' ? writable(value) : value]]
}

/** Not LIKE: its patterns have wildcards, a limit of 50 bytes in Durable Objects, and their case in Postgres. */
const contains = (column: string, value: string): Condition =>
  value === ''
    ? ['1 = 1', []]
    : [`replace(lower(${column}), lower(?), '') <> lower(${column})`, [writable(value)]]

const anyOf = (parts: readonly Condition[]): Condition => [
  `(${parts.map(([text]) => text).join(' OR ')})`,
  parts.flatMap(([, values]) => values),
]
