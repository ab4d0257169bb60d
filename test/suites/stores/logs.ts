import {
  type LogEntry,
  type LogFilter,
  type LogKey,
  type LogOrder,
  type LogQuery,
  type LogRow,
  type Logs,
  logKeys,
  logOperators,
  type StoredLog,
} from '../../../src/store/logs.ts'
import { oddTexts, type StoreTest, same } from './kit.ts'

const at = 1_700_000_000_000
const keys = Object.keys(logKeys) as LogKey[]

/** A log; `number` makes it differ from others. */
function entry(number: number, more: Partial<LogRow> = {}, bodies: LogEntry['bodies'] = none): LogEntry {
  const row: LogRow = {
    id: `0190-${String(number).padStart(6, '0')}`,
    gateway: 'a',
    created_at: at + number * 1_000,
    request_id: `r${number >> 1}`,
    event_id: `e${number}`,
    run_id: null,
    principal: 'ada',
    provider: number % 2 ? 'openai' : 'anthropic',
    model: number % 3 ? 'gpt-5' : 'claude',
    path: '/v1/chat',
    step: 0,
    attempt: 1,
    status_code: number % 5 === 4 ? null : 200 + (number % 3) * 100,
    success: number % 3 === 0,
    cached: number % 4 === 0,
    outcome: number % 3 ? 'failed' : 'completed',
    upstream_stopped: true,
    error: null,
    duration: (number * 37) % 101,
    ttft: number,
    streamed: false,
    request_content_type: 'application/json',
    response_content_type: number % 2 ? 'text/event-stream' : 'application/json',
    request_size: null,
    response_size: 10,
    request_frames: null,
    response_frames: null,
    tokens_in: number % 7 === 6 ? null : number,
    tokens_out: number % 2 ? number * 2 : null,
    tokens_cached: null,
    tokens_cache_written: null,
    tokens_reasoning: number % 2 ? 3 : null,
    usage_basis: null,
    cost: number % 2 ? number / 8 : null,
    cost_basis: number % 2 ? 'estimated' : 'unknown',
    custom_cost: number % 2 === 0,
    metadata: number % 3 ? JSON.stringify({ user: `u${number % 4}`, premium: number % 2 === 0 }) : null,
    user_agent: number % 5 ? 'curl/8' : null,
    ...more,
  }
  return { row, bodies }
}
const none = { request: null, response: null }
const stored = ({ row }: LogEntry): StoredLog => ({ ...row, feedback: null, score: null })

const query = (more: Partial<LogQuery> = {}): LogQuery => ({
  gateway: 'a',
  filters: [],
  orderBy: 'created_at',
  direction: 'desc',
  limit: 1_000,
  offset: 0,
  ...more,
})
const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const ids = (logs: readonly { readonly id: string }[]): string[] => logs.map(({ id }) => id)

/** What a key says of a log: none, one or several values. */
function valuesOf(log: StoredLog, key: LogKey): (string | number)[] {
  if (key === 'tokens') return [(log.tokens_in ?? 0) + (log.tokens_out ?? 0)]
  if (key === 'metadata.key' || key === 'metadata.value') {
    const metadata = JSON.parse(log.metadata ?? '{}') as object
    return (key === 'metadata.key' ? Object.keys(metadata) : Object.values(metadata)).map(String)
  }
  const value = log[key]
  return value === null ? [] : [typeof value === 'boolean' ? Number(value) : value]
}

/** The filter as it is meant, in the plainest words. */
function fits(log: StoredLog, { key, operator, value }: LogFilter): boolean {
  if (operator === 'neq') return !fits(log, { key, operator: 'eq', value })
  const holds = (own: string | number, one: string | number): boolean => {
    if (operator === 'contains') return String(own).toLowerCase().includes(String(one).toLowerCase())
    const order = own === one ? 0 : own < one ? -1 : 1
    return { eq: [0], lt: [-1], gt: [1], lte: [-1, 0], gte: [1, 0] }[operator].includes(order)
  }
  return valuesOf(log, key).some((own) => value.some((one) => holds(own, one)))
}

/** Every order in which logs may come, with ties by the newest id, and what is not known last. */
function inOrder(logs: readonly StoredLog[], key: LogOrder, direction: 'asc' | 'desc'): StoredLog[] {
  const sign = direction === 'asc' ? 1 : -1
  return logs.toSorted((one, other) => {
    const [a, b] = [valuesOf(one, key)[0], valuesOf(other, key)[0]]
    if (a === undefined || b === undefined) {
      if (a !== b) return a === undefined ? 1 : -1
    } else if (a !== b) return (a < b ? -1 : 1) * sign
    return one.id < other.id ? 1 : -1
  })
}

/** What every store of logs promises. */
export const logsTests: readonly StoreTest<Logs>[] = [
  {
    name: 'is empty at first',
    async run(logs) {
      same(await logs.list(query()), [])
      same(await logs.count(query()), 0)
      same(await logs.get('a', 'none'), undefined)
      same(await logs.bodies('a', 'none'), undefined)
      same(await logs.patch('a', 'none', { feedback: 1 }), false)
      same((await logs.stats(query())).max_cost, null)
      await logs.append([])
      await logs.remove(query())
      await logs.trim('a', 1, 0)
    },
  },
  {
    name: 'gives every column back as it was, by list and by id, to another opening too',
    async run(logs, open) {
      const entries = numbers(10).map((number) => entry(number))
      await logs.append(entries)
      same(await logs.list(query()), entries.map(stored).toReversed())
      for (const one of entries) same(await logs.get('a', one.row.id), stored(one))
      same(await (await open()).count(query()), 10)
    },
  },
  {
    name: 'leaves out what has an id that is there, alone or among others',
    async run(logs) {
      const bodies = { request: 'first', response: null }
      await logs.append([entry(1, {}, bodies)])
      await logs.append([entry(0), entry(1, { model: 'other', metadata: '{"new":1}' }), entry(2), entry(2)])
      same(await logs.count(query()), 3)
      same((await logs.get('a', entry(1).row.id))?.model, 'gpt-5')
      same(await logs.bodies('a', entry(1).row.id), bodies)
    },
  },
  {
    name: 'keeps gateways apart',
    async run(logs) {
      const other = entry(2, { gateway: 'b' }, { request: 'q', response: 'r' })
      await logs.append([entry(1), other])
      same(ids(await logs.list(query())), [entry(1).row.id])
      same(await logs.get('a', other.row.id), undefined)
      same(await logs.bodies('a', other.row.id), undefined)
      same(await logs.patch('a', other.row.id, { feedback: 1 }), false)
      await logs.remove(query())
      await logs.trim('a', 0, 0)
      same(await logs.bodies('b', other.row.id), other.bodies)
      same(await logs.get('b', other.row.id), stored(other))
    },
  },
  {
    name: 'keeps bodies apart from rows, either or both or none',
    async run(logs) {
      const bodies = [
        { request: 'q', response: 'r' },
        { request: 'q', response: null },
        { request: null, response: '' },
        none,
      ]
      await logs.append(bodies.map((own, number) => entry(number, {}, own)))
      for (const [number, own] of bodies.entries()) same(await logs.bodies('a', entry(number).row.id), own)
    },
  },
  {
    name: 'filters by every key with every operator, by one value and by several',
    async run(logs) {
      const entries = numbers(24).map((number) => entry(number))
      await logs.append(entries)
      for (const feedback of [-1, 1]) await logs.patch('a', entry(feedback + 5).row.id, { feedback })
      const all = entries.map((one, number) => ({
        ...stored(one),
        feedback: number === 4 ? -1 : number === 6 ? 1 : null,
      }))
      for (const key of keys) {
        const samples = [...new Set(all.flatMap((log) => valuesOf(log, key)))].slice(0, 5)
        for (const operator of logOperators) {
          const values = [...samples.map((one) => [one]), samples, [samples[0]!, samples.at(-1)!], []]
          for (const value of values) {
            const filter = { key, operator, value }
            const expected = value.length === 0 ? all : all.filter((log) => fits(log, filter))
            const found = await logs.list(query({ filters: [filter] }))
            same(ids(found), ids(expected).toReversed(), JSON.stringify(filter))
            same(await logs.count(query({ filters: [filter] })), expected.length)
          }
        }
      }
    },
  },
  {
    name: 'takes several filters together, and a part of a text in capitals',
    async run(logs) {
      const entries = numbers(24).map((number) => entry(number))
      await logs.append(entries)
      const filters: LogFilter[] = [
        { key: 'provider', operator: 'contains', value: ['OPEN'] },
        { key: 'tokens_in', operator: 'gt', value: [3] },
        { key: 'metadata.value', operator: 'eq', value: ['u1', 'u3'] },
      ]
      const expected = entries.map(stored).filter((log) => filters.every((filter) => fits(log, filter)))
      same(expected.length > 2, true)
      same(ids(await logs.list(query({ filters }))), ids(expected).toReversed())
    },
  },
  {
    name: 'searches the texts of a row',
    async run(logs) {
      await logs.append([
        entry(1, { error: 'It Broke' }),
        entry(2, { path: '/v1/broke' }),
        entry(3, { metadata: '{"why":"broken"}' }),
        entry(4),
      ])
      same(ids(await logs.list(query({ search: 'BROKE' }))), ids([3, 2, 1].map((n) => entry(n).row)))
      same(await logs.count(query({ search: 'nowhere' })), 0)
      same(await logs.count(query({ search: '' })), 4)
    },
  },
  {
    name: 'orders by every key, both ways',
    async run(logs) {
      const all = numbers(24).map((number) => stored(entry(number)))
      await logs.append(numbers(24).map((number) => entry(number)))
      for (const key of keys.filter((one): one is LogOrder => !one.startsWith('metadata.'))) {
        for (const direction of ['asc', 'desc'] as const) {
          const found = await logs.list(query({ orderBy: key, direction }))
          same(ids(found), ids(inOrder(all, key, direction)), `${key} ${direction}`)
        }
      }
    },
  },
  {
    name: 'pages without a gap or a twin, and past the end gives nothing',
    async run(logs) {
      await logs.append(numbers(25).map((number) => entry(number, { created_at: at })))
      const pages = await Promise.all(
        [0, 10, 20, 30].map((offset) => logs.list(query({ limit: 10, offset }))),
      )
      same(
        pages.map((page) => page.length),
        [10, 10, 5, 0],
      )
      same(new Set(ids(pages.flat())).size, 25)
    },
  },
  {
    name: 'tells extremes of a selection',
    async run(logs) {
      await logs.append([
        entry(1, { cost: 0.25, duration: 5, tokens_in: 3, tokens_out: null }),
        entry(2, { cost: null, duration: 9, tokens_in: 1, tokens_out: 4 }),
        entry(3, { model: 'else', cost: 9, duration: 100, tokens_in: 50 }),
      ])
      const filters: LogFilter[] = [{ key: 'model', operator: 'neq', value: ['else'] }]
      same(await logs.stats(query({ filters })), {
        min_cost: 0.25,
        max_cost: 0.25,
        min_duration: 5,
        max_duration: 9,
        min_tokens_in: 1,
        max_tokens_in: 3,
        min_tokens_out: 4,
        max_tokens_out: 4,
        min_total_tokens: 3,
        max_total_tokens: 5,
      })
    },
  },
  {
    name: 'patches what may change, and nothing else',
    async run(logs) {
      const one = entry(1, { metadata: '{"user":"u1"}' })
      await logs.append([one, entry(2)])
      const { id } = one.row
      same(await logs.patch('a', id, { feedback: -1, score: 0.5, metadata: '{"team":"x"}' }), true)
      const changed = { feedback: -1, score: 0.5, metadata: '{"team":"x"}' }
      same(await logs.get('a', id), { ...stored(one), ...changed })
      same(await logs.patch('a', id, { score: 7 }), true)
      same(await logs.get('a', id), { ...stored(one), ...changed, score: 7 })
      const by = (key: LogKey, value: string) =>
        logs.count(query({ filters: [{ key, operator: 'eq', value: [value] }] }))
      same(
        [await by('metadata.key', 'team'), await by('metadata.value', 'u1')],
        [1, (await by('metadata.value', 'u2')) * 0],
      )
      same(await logs.patch('a', id, { feedback: null, metadata: null }), true)
      same(await logs.get('a', id), { ...stored(one), feedback: null, score: 7, metadata: null })
      same(await by('metadata.key', 'team'), 0)
      same(await logs.patch('a', id, {}), true)
      same(await logs.patch('a', id, { id: 'stolen', model: 'x' } as object), true)
      same((await logs.get('a', id))?.model, one.row.model)
    },
  },
  {
    name: 'removes the first of a selection in their order, with bodies and metadata',
    async run(logs) {
      const bodies = { request: 'q', response: 'r' }
      await logs.append(numbers(200).map((number) => entry(number, { metadata: '{"k":"v"}' }, bodies)))
      const filters: LogFilter[] = [{ key: 'metadata.key', operator: 'eq', value: ['k'] }]
      await logs.remove(query({ filters, limit: 3, direction: 'asc' }))
      same(await logs.count(query()), 197)
      same(await logs.get('a', entry(2).row.id), undefined)
      same(await logs.bodies('a', entry(2).row.id), undefined)
      same(await logs.bodies('a', entry(3).row.id), bodies)
      const odd: LogFilter = { key: 'provider', operator: 'eq', value: ['openai'] }
      await logs.remove(query({ filters: [...filters, odd] }))
      same(await logs.count(query()), 98)
      await logs.append([entry(1, { metadata: null })])
      same(await logs.bodies('a', entry(1).row.id), none)
      same(await logs.count(query({ filters })), 98)
    },
  },
  {
    name: 'gives odd texts back as they were, NUL as its symbol, and finds them by filter and by search',
    async run(logs) {
      await logs.append(
        oddTexts.map((text, number) =>
          entry(
            number,
            { model: text, path: text, metadata: JSON.stringify({ [`k${text}`]: text }) },
            { request: text, response: text },
          ),
        ),
      )
      for (const [number, text] of oddTexts.entries()) {
        const { id } = entry(number).row
        const log = await logs.get('a', id)
        const kept = text.replaceAll('\0', '␀')
        same(log?.model, kept, `text ${number}:`)
        same(await logs.bodies('a', id), { request: kept, response: kept }, `text ${number}:`)
        const by = async (key: LogKey, operator: LogFilter['operator'], value: string) =>
          ids(await logs.list(query({ filters: [{ key, operator, value: [value] }] })))
        same(await by('model', 'eq', text), [id], `text ${number} eq`)
        same(await by('metadata.key', 'eq', `k${text}`), [id], `text ${number} key`)
        same((await by('model', 'contains', text)).includes(id), true, `text ${number} contains`)
        same((await by('model', 'neq', text)).length, oddTexts.length - 1)
        same(ids(await logs.list(query({ search: text }))).includes(id), true, `text ${number} search`)
      }
      const wild: LogFilter = { key: 'model', operator: 'contains', value: ['%', '_'] }
      same(await logs.count(query({ filters: [wild] })), 2)
    },
  },
  {
    name: 'keeps large whole numbers and small fractions',
    async run(logs) {
      const large = Number.MAX_SAFE_INTEGER
      const cost = 0.000_000_123_456_789
      await logs.append([entry(1, { tokens_in: large, tokens_out: 0, response_size: large, cost })])
      const [log] = await logs.list(query())
      same([log?.tokens_in, log?.response_size, log?.cost], [large, large, cost])
      const filters: LogFilter[] = [{ key: 'tokens_in', operator: 'eq', value: [large] }]
      same(await logs.count(query({ filters })), 1)
    },
  },
  {
    name: 'keeps a body of a megabyte',
    async run(logs) {
      const text = `{"a":"${'é'.repeat(500_000)}"}`
      await logs.append([entry(1, {}, { request: text, response: text })])
      same((await logs.bodies('a', entry(1).row.id))?.response?.length, text.length)
    },
  },
  {
    name: 'keeps of what is too long as many bytes as every store can, and no half of a character',
    async run(logs) {
      const [text, long] = ['鸟'.repeat(1_000_000), '🦜'.repeat(100_000)]
      const nul = '\0'.repeat(1_000_000)
      const metadata = JSON.stringify({ long })
      await logs.append([
        entry(1, { path: long, model: long, error: long, metadata }, { request: text, response: nul }),
        entry(2),
      ])
      same(await logs.count(query()), 2)
      const { id } = entry(1).row
      const bodies = await logs.bodies('a', id)
      same(bodies?.request, '鸟'.repeat(349_525))
      same(bodies?.response, '␀'.repeat(349_525))
      const log = await logs.get('a', id)
      same([log?.path, log?.model, log?.error], Array(3).fill('🦜'.repeat(16_384)))
      const filters: LogFilter[] = [{ key: 'metadata.key', operator: 'eq', value: ['long'] }]
      same(ids(await logs.list(query({ filters }))), [id])
    },
  },
  {
    name: 'is written, read, patched and removed from by many at once',
    async run(logs, open) {
      const other = await open()
      const batches = numbers(20).map((batch) =>
        numbers(10).map((number) => entry(batch * 10 + number, { created_at: at })),
      )
      await Promise.all(
        batches.flatMap((batch, index) => [
          (index % 2 ? logs : other).append(batch),
          (index % 2 ? other : logs).append(batch),
          logs.list(query()),
          other.patch('a', batch[0]!.row.id, { feedback: 1 }),
        ]),
      )
      same(await logs.count(query()), 200)
      same(await other.count(query()), 200)
      await Promise.all(numbers(4).map((number) => (number % 2 ? logs : other).remove(query({ limit: 50 }))))
      const left = await logs.count(query())
      same(left >= 0 && left <= 150, true)
    },
  },
]

const series = { gateway: 'a', from: 0, until: at * 2, bucketMs: 1_000, rowsMax: 1_000, pointsMax: 100 }
const same0 = { errors: 0, cached: 0, tokens_in: 0, tokens_out: 0, cost: 0, cost_unknown: 0 }
const plain = {
  success: true,
  cached: false,
  tokens_in: null,
  tokens_out: null,
  cost: null,
  metadata: null,
}

/** What a single store promises to the row; several together come close: in what they keep, and in percentiles. */
export const exactTests: readonly StoreTest<Logs>[] = [
  {
    name: 'trims to the newest, by number and by time',
    async run(logs) {
      await logs.append(numbers(250).map((number) => entry(number, { created_at: at + (number >> 2) })))
      await logs.append([entry(900, { gateway: 'b' })])
      await logs.trim('a', 300, 0)
      same(await logs.count(query()), 250)
      await logs.trim('a', 11, 0)
      same(
        ids(await logs.list(query())),
        ids(
          numbers(250)
            .slice(-11)
            .toReversed()
            .map((n) => entry(n).row),
        ),
      )
      await logs.trim('a', 11, at + 61)
      same(await logs.count(query()), 6)
      await logs.trim('a', 0, 0)
      same(await logs.count(query()), 0)
      same(await logs.count(query({ gateway: 'b' })), 1)
    },
  },
  {
    name: 'sums a series by time, with percentiles by nearest rank',
    async run(logs) {
      const first = numbers(100).map((number) =>
        entry(number, {
          ...plain,
          created_at: at + number,
          duration: 100 - number,
          request_id: entry(number).row.id,
        }),
      )
      const rest = [
        entry(200, {
          ...plain,
          created_at: at + 1_999,
          request_id: entry(200).row.id,
          success: false,
          cached: true,
          tokens_in: 3,
          cost: 0.5,
          duration: 7,
        }),
        entry(201, {
          ...plain,
          created_at: at + 1_000,
          request_id: 'x',
          tokens_out: 4,
          cost: 0.25,
          duration: 9,
        }),
        entry(202, { ...plain, created_at: at + 1_000, gateway: 'b' }),
      ]
      await logs.append([...first, ...rest])
      const whole = [
        {
          ...same0,
          at: at + 1_000,
          group: null,
          requests: 1,
          attempts: 2,
          errors: 1,
          cached: 1,
          tokens_in: 3,
          tokens_out: 4,
          cost: 0.75,
          duration_p50: 7,
          duration_p90: 9,
          duration_p99: 9,
        },
        {
          ...same0,
          at,
          group: null,
          requests: 100,
          attempts: 100,
          cost_unknown: 100,
          duration_p50: 50,
          duration_p90: 90,
          duration_p99: 99,
        },
      ]
      same(await logs.series(series), whole)
      same(await logs.series({ ...series, until: at + 1_000 }), whole.slice(1))
      same(await logs.series({ ...series, from: at + 1_000 }), whole.slice(0, 1))
      same(await logs.series({ ...series, pointsMax: 1 }), whole.slice(0, 1))
      same(
        (await logs.series({ ...series, rowsMax: 3 })).map(({ attempts }) => attempts),
        [2, 1],
      )
    },
  },
  {
    name: 'splits a series by a column or an entry of the metadata',
    async run(logs) {
      const metadata = (user: string) => JSON.stringify({ user, other: 'x' })
      const one = { ...plain, created_at: at }
      await logs.append([
        entry(1, { ...one, metadata: metadata("o'neill"), status_code: 200 }),
        entry(2, { ...one, metadata: metadata('eve'), status_code: 500 }),
        entry(3, { ...one, metadata: metadata('eve'), status_code: 200 }),
        entry(4, { ...one, status_code: null }),
      ])
      const groups = async (by: Parameters<Logs['series']>[0]['by']) =>
        (await logs.series({ ...series, by }))
          .map(({ group, attempts }) => [group, attempts])
          .sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1))
      same(await groups({ metadata: 'user' }), [
        ['eve', 2],
        [null, 1],
        ["o'neill", 1],
      ])
      same(await groups('status_code'), [
        ['200', 2],
        ['500', 1],
        [null, 1],
      ])
      same(await groups({ metadata: 'nobody' }), [[null, 4]])
    },
  },
]
