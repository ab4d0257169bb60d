import process from 'node:process'
import { report } from '../../../adapters/server.ts'
import { createThread, openSqlite } from '../../../adapters/sqlite.ts'
import { createMemoryCache } from '../../../src/store/cache.ts'
import { createMemoryCounters } from '../../../src/store/counters.ts'
import { createShardedLogs } from '../../../src/store/sharded-logs.ts'
import { createSqlCache } from '../../../src/store/sql-cache.ts'
import { createSqlConfig } from '../../../src/store/sql-config.ts'
import { createSqlCounters } from '../../../src/store/sql-counters.ts'
import { createSqlLogs } from '../../../src/store/sql-logs.ts'
import { cacheTests } from './cache.ts'
import { configTests } from './config.ts'
import { countersTests, lastingTests } from './counters.ts'
import { runStoreTests } from './kit.ts'
import { exactTests, logsTests } from './logs.ts'

/** `stores/main.ts FOLDER`: every store over this runtime's SQLite; prints what came of each test as JSON. */
const [folder = ''] = process.argv.slice(2)
const thread = createThread()
const config = await runStoreTests(configTests, async (name) =>
  createSqlConfig(await openSqlite(folder, `config-${name}`)),
)
const openLogs = async (name: string) => createSqlLogs(await openSqlite(folder, `logs-${name}`, thread))
const logs = await runStoreTests([...logsTests, ...exactTests], openLogs)
const sharded = await runStoreTests(logsTests, async (name) =>
  createShardedLogs([await openLogs(`${name}-a`), await openLogs(`${name}-b`), await openLogs(`${name}-c`)]),
)
const counters = await runStoreTests([...countersTests, ...lastingTests], async (name) =>
  createSqlCounters(await openSqlite(folder, `counters-${name}`, thread), { report }),
)
const memoryCounters = await runStoreTests(countersTests, async () => createMemoryCounters())
const openCache = async (name: string) =>
  createSqlCache(await openSqlite(folder, `cache-${name}`, thread), { gatherMs: 1 })
const cache = await runStoreTests(cacheTests, openCache)
const memoryCache = await runStoreTests(cacheTests, async (name) =>
  createMemoryCache(await openCache(`m-${name}`)),
)
console.log(JSON.stringify({ config, logs, sharded, counters, memoryCounters, cache, memoryCache }))
