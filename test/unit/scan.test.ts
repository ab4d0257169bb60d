import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSqlite } from '../../adapters/sqlite.ts'
import type { LogQuery, Logs } from '../../src/store/logs.ts'
import type { Sql } from '../../src/store/sql.ts'
import { createSqlLogs } from '../../src/store/sql-logs.ts'

const rows = 20_000
/** Statements that may follow one another before others have the process, and rows that one may give. */
const statementsMax = 5
const rowsMax = 1_000
const at = 1_700_000_000_000

let folder = ''
let sql: Sql
let logs: Logs
/** Since others had the process; the most there were; and the turns that others had. */
let [since, most, turns, largest] = [0, 0, 0, 0]

/** Counts what is asked in one go. */
function watched(inner: Sql): Sql {
  const note = (): void => {
    since += 1
    most = Math.max(most, since)
  }
  return {
    async all(...statement) {
      note()
      const found = await inner.all(...statement)
      largest = Math.max(largest, found.length)
      return found
    },
    async batch(statements) {
      note()
      await inner.batch(statements)
    },
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trunkline-scan-'))
  sql = await openSqlite(folder, 'logs')
  logs = createSqlLogs(watched(sql))
  await logs.append([])
  const db = new DatabaseSync(join(folder, 'logs.sqlite'))
  // Several of one millisecond among them.
  db.exec(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows - 1})
    INSERT INTO logs (id, gateway, created_at, request_id, event_id, principal, provider, model, path, step, attempt,
      success, cached, outcome, upstream_stopped, duration, streamed, request_content_type, response_content_type,
      response_size, tokens_in, cost)
    SELECT printf('%08d', i), 'a', ${at} + i / 3, printf('%08d', i), 'e', 'ada', 'openai', 'gpt', '/v1', 0, 1,
      i % 2, 0, 'completed', 1, i % 101, 0, '', '', 0, 1, 0.5 FROM n`)
  db.exec('INSERT INTO log_counts SELECT gateway, count(*) FROM logs GROUP BY gateway')
  db.close()
})
afterAll(() => rm(folder, { recursive: true }))

const query: LogQuery = {
  gateway: 'a',
  filters: [],
  orderBy: 'created_at',
  direction: 'desc',
  limit: 20,
  offset: 0,
}
const odd: LogQuery['filters'] = [{ key: 'success', operator: 'eq', value: [1] }]
const id = (number: number): string => String(number).padStart(8, '0')
const series = { gateway: 'a', from: 0, until: at * 2, bucketMs: 86_400_000, rowsMax: rows, pointsMax: 9 }

const questions: [name: string, ask: () => Promise<unknown>, answer: unknown][] = [
  ['a search that finds nothing', () => logs.list({ ...query, search: 'nowhere' }), []],
  ['a count by a filter', () => logs.count({ ...query, filters: odd }), rows / 2],
  [
    'the longest',
    async () => (await logs.list({ ...query, orderBy: 'duration', limit: 2 })).map((log) => log.id),
    [id(19_998 - (19_998 % 101) - 1), id(19_998 - (19_998 % 101) - 102)],
  ],
  [
    'a page far behind',
    async () => (await logs.list({ ...query, offset: 15_000, limit: 2 })).map((log) => log.id),
    [id(4_999), id(4_998)],
  ],
  ['extremes', async () => (await logs.stats(query)).max_duration, 100],
  [
    'sums',
    async () => (await logs.series(series)).map(({ attempts, cost }) => [attempts, cost]),
    [[rows, 10_000]],
  ],
]

test.each(questions)('%s lets others have the process in between, and is right', async (_, ask, answer) => {
  ;[since, most, turns, largest] = [0, 0, 0, 0]
  let turn = setImmediate(function next() {
    since = 0
    turns += 1
    turn = setImmediate(next)
  })
  const found = await ask()
  clearImmediate(turn)
  expect(found).toEqual(answer)
  expect(most).toBeLessThanOrEqual(statementsMax)
  expect(largest).toBeLessThanOrEqual(rowsMax + 2)
  expect(turns).toBeGreaterThanOrEqual(4)
})

test('the first of an order by time are found without looking at all', async () => {
  since = most = 0
  const oldest = await logs.list({ ...query, filters: odd, direction: 'asc', limit: 2 })
  expect(oldest.map((log) => log.id)).toEqual([id(1), id(3)])
  expect(most).toBeLessThanOrEqual(statementsMax)
})

test('where an index has the answer, little is looked at', async () => {
  const plans = await Promise.all(
    ['SELECT total FROM log_counts WHERE gateway = ?', 'SELECT * FROM logs WHERE id IN (?, ?)'].map((text) =>
      sql.all(`EXPLAIN QUERY PLAN ${text}`, ...(text.includes('IN') ? ['a', 'b'] : ['a'])),
    ),
  )
  for (const [step] of plans) expect(String(step?.detail)).toMatch(/^SEARCH .* USING INDEX sqlite_autoindex/)
})

test('removing, and trimming, lets others have the process in between, and counts on', async () => {
  ;[since, most, turns] = [0, 0, 0]
  let turn = setImmediate(function next() {
    since = 0
    turns += 1
    turn = setImmediate(next)
  })
  await logs.remove({ ...query, filters: odd, limit: 900, direction: 'asc' })
  expect(await logs.count(query)).toBe(rows - 900)
  await logs.trim('a', 10_000, 0)
  clearImmediate(turn)
  expect(most).toBeLessThanOrEqual(statementsMax)
  expect(turns).toBeGreaterThan(100)
  expect(await logs.count(query)).toBe(10_000)
  expect(await logs.count({ ...query, search: 'ada' })).toBe(10_000)
  expect((await logs.list({ ...query, direction: 'asc', limit: 1 }))[0]?.id).toBe(id(10_000))
  await logs.trim('a', 10_000, at + 6_000)
  expect(await logs.count(query)).toBe(rows - 18_000)
})
