import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chat, newKey, now, upstream } from './client.ts'
import { type RuntimeName, runtimes, type Started, startEmulator, startGateway } from './launch.ts'
import type { Entry } from './upstream/ledger.ts'

/** All of them on Node; on the others enough for what differs there. */
const requests: Record<RuntimeName, number> = { node: 10_000, bun: 3_000, deno: 3_000, workers: 3_000 }
const inFlight = 64
/** What a process that is killed may lose: what was under way, and what ended within this long before. */
const lossMs = 700
/** The same where others have the processors meanwhile, and how long a gateway lives before it is killed. */
const [busyLossMs, lifeMs] = [2_000, 4_000]

let emulator: Started
beforeAll(async () => {
  emulator = await startEmulator()
})
afterAll(() => emulator.stop())

const start = (runtime: RuntimeName, again?: Started): Promise<Started> => {
  const config = {
    gateways: [{ id: 'default' }, { id: 'cached', cache_ttl: 300 }],
    providers: { openai: { base_url: emulator.url } },
  }
  return startGateway(runtime, config, {}, [], again)
}

/** What a client knows of an answer that it has had. */
interface Had {
  readonly id: string
  readonly cacheStatus: string | null
  readonly endedAt: number
}

/** One request of a mix: single, streamed, failed, left in the middle, cached. Its tag is its event id. */
async function ask(gateway: Started, key: string, index: number): Promise<Had> {
  const kind = index % 5
  const tag = `${key}-${index}`
  const leaver = new AbortController()
  const control = [{}, { events: 5 }, { status: 500 }, { events: 4_000, interval: 5 }, {}][kind]
  const body = chat(kind === 4 ? `cached ${index % 100}` : 'x', { stream: kind === 1 || kind === 3 })
  const tagged: Record<string, string> = kind === 4 ? {} : { 'x-tag': tag }
  const url = `${gateway.url}/v1/default/${kind === 4 ? 'cached' : 'default'}/openai/chat/completions`
  const response = await fetch(url, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: {
      'content-type': 'application/json',
      'cf-aig-event-id': tag,
      ...upstream({ key, ...control }),
      ...tagged,
    },
    signal: leaver.signal,
  })
  const reader = response.body?.getReader()
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read())
    if (kind === 3) leaver.abort()
  return { id: tag, cacheStatus: response.headers.get('cf-aig-cache-status'), endedAt: now() }
}

/** Ask `count` times, so many at once; `each` is told how many are done. Faults are leavers, and the gateway's death. */
async function askAll(
  gateway: Started,
  key: string,
  count: number,
  each?: (done: number) => void,
): Promise<Had[]> {
  const had: Had[] = []
  let next = 0
  let done = 0
  const worker = async () => {
    while (next < count && gateway.exitCode() === null) {
      const one = await ask(gateway, key, next++).catch(() => undefined)
      if (one) had.push(one)
      each?.(++done)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  return had
}

interface Row {
  readonly event_id: string
  readonly outcome: string
  readonly cached: number
}

/** The rows of a gateway's logs, in the files of its runtime. */
function readRows({ folder = '' }: Started, runtime: RuntimeName): Row[] {
  const data = join(folder, 'data')
  const objects = join(data, 'workers/trunkline-store')
  const files =
    runtime === 'workers'
      ? readdirSync(objects)
          .filter((file) => /^[0-9a-f]{64}\.sqlite$/.test(file))
          .map((file) => join(objects, file))
      : [join(data, 'logs.sqlite')]
  return files.flatMap((file) => {
    const db = new DatabaseSync(file, { readOnly: true })
    const hasLogs = db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'logs'").all().length > 0
    const rows = hasLogs ? db.prepare('SELECT event_id, outcome, cached FROM logs').all() : []
    db.close()
    return rows as unknown as Row[]
  })
}

/** What the provider saw, those that were tagged and those that were not. */
async function readLedger(key: string): Promise<Entry[]> {
  return (await fetch(`${emulator.url}/ledger?key=${key}`)).json() as Promise<Entry[]>
}

const tagOf = ({ headers }: Entry): string => String(headers['x-tag'])
/** Who was told that nobody was asked for it, and of whom that was recorded. */
const hitsOf = (had: readonly Had[]): string[] =>
  had
    .filter(({ cacheStatus }) => cacheStatus === 'HIT')
    .map(({ id }) => id)
    .toSorted()
const cachedIn = (rows: readonly Row[]): string[] =>
  rows
    .filter(({ cached }) => cached)
    .map(({ event_id }) => event_id)
    .toSorted()
const outcomes = (rows: readonly Row[], key: string, kind: number): string[] => [
  ...new Set(
    rows
      .filter(({ event_id }) => Number(event_id.slice(key.length + 1)) % 5 === kind)
      .map((row) => row.outcome),
  ),
]

describe.each(runtimes)('%s', (runtime) => {
  const count = requests[runtime]

  test(`of ${count} requests, every one has its record after a stop`, { timeout: 120_000 }, async () => {
    const gateway = await start(runtime)
    const key = newKey()
    const had = await askAll(gateway, key, count)
    expect(await gateway.terminate()).toBe(0)
    const rows = readRows(gateway, runtime).filter(({ event_id }) => event_id.startsWith(key))
    const entries = await readLedger(key)
    expect(rows).toHaveLength(count)
    expect(new Set(rows.map(({ event_id }) => event_id)).size).toBe(count)
    expect(hitsOf(had)).toEqual(cachedIn(rows))
    const asked = rows.filter(({ cached }) => !cached)
    expect(asked).toHaveLength(entries.length)
    const tagged = entries.filter((entry) => entry.headers['x-tag']).map(tagOf)
    const own = asked.map(({ event_id }) => event_id)
    expect(own.filter((id) => Number(id.slice(key.length + 1)) % 5 !== 4).toSorted()).toEqual(
      tagged.toSorted(),
    )
    expect([0, 1, 2, 3, 4].map((kind) => outcomes(rows, key, kind))).toEqual([
      ['completed'],
      ['completed'],
      ['failed'],
      ['cancelled'],
      ['completed'],
    ])
    await gateway.stop()
  })

  test(`of ${count} requests, a kill in the middle loses what was under way, and no more`, {
    timeout: 120_000,
  }, async () => {
    const gateway = await start(runtime)
    const key = newKey()
    const last = 10 * count
    let killedAt = 0
    let killed: Promise<void> | undefined
    const began = now()
    const had = await askAll(gateway, key, 10 * count, (done) => {
      if (done < count / 2 || now() - began < lifeMs || killed) return
      killedAt = now()
      killed = gateway.kill()
    })
    await killed
    await sleep(100)
    const entries = await readLedger(key)
    expect(entries.length).toBeGreaterThan(count / 3)
    const again = await start(runtime, gateway)
    await ask(again, key, last)
    expect(await again.terminate()).toBe(0)
    const rows = readRows(again, runtime)
    const ids = new Set(rows.map(({ event_id }) => event_id))
    // Nothing twice, and nothing that neither the provider nor a client knows of.
    expect(rows).toHaveLength(ids.size)
    const uncached = rows.filter(({ event_id, cached }) => event_id !== `${key}-${last}` && !cached)
    expect(uncached.length).toBeLessThanOrEqual(entries.length)
    const told = had.filter(({ endedAt }) => endedAt < killedAt - busyLossMs)
    expect(told.filter(({ id }) => !ids.has(id))).toEqual([])
    const toldIds = new Set(told.map(({ id }) => id))
    expect(hitsOf(told).length).toBeGreaterThan(10)
    expect(hitsOf(told)).toEqual(cachedIn(rows.filter(({ event_id }) => toldIds.has(event_id))))
    const known = new Set([...entries.map(tagOf), `${key}-${last}`])
    for (const id of ids) if (Number(id.slice(key.length + 1)) % 5 !== 4) expect(known).toContain(id)
    const older = entries.filter((entry) => {
      const endedAt = entry.finishedAt ?? entry.closedAt ?? Number.POSITIVE_INFINITY
      return entry.headers['x-tag'] && endedAt < killedAt - busyLossMs
    })
    expect(older.length).toBeGreaterThan(100)
    expect(older.map(tagOf).filter((tag) => !ids.has(tag))).toEqual([])
    await again.stop()
  })
})

describe.each(['node', 'bun', 'deno'] as const)('%s', (runtime) => {
  test('while its file is locked it goes on, says so, and writes what waited when it is free', {
    timeout: 30_000,
  }, async () => {
    const config = {
      gateways: [{ id: 'default' }, { id: 'strict', log_required: true }],
      providers: { openai: { base_url: emulator.url } },
    }
    const gateway = await startGateway(runtime, config)
    const askOf = async (id: string): Promise<number> => {
      const url = `${gateway.url}/v1/default/${id}/openai/chat/completions`
      return (await fetch(url, { method: 'POST', body: JSON.stringify(chat('x')) })).status
    }
    const health = async () => {
      const answer = await fetch(`${gateway.url}/health`)
      return ((await answer.json()) as { logs: { status: string; lost: number } }).logs
    }
    const until = async (status: string) => {
      while ((await health()).status !== status) await sleep(50)
    }
    expect([await askOf('default'), await askOf('strict')]).toEqual([200, 200])
    await until('ok')
    await sleep(lossMs)
    const lock = new DatabaseSync(join(gateway.folder ?? '', 'data/logs.sqlite'))
    lock.exec('BEGIN EXCLUSIVE')
    expect(await askOf('default')).toBe(200)
    await until('degraded')
    expect([await askOf('default'), await askOf('strict')]).toEqual([200, 503])
    expect(gateway.output()).toContain('logs cannot be written')
    lock.exec('ROLLBACK')
    lock.close()
    await until('ok')
    expect(await askOf('strict')).toBe(200)
    expect(await gateway.terminate()).toBe(0)
    expect(readRows(gateway, runtime)).toHaveLength(5)
    await gateway.stop()
  })
})
