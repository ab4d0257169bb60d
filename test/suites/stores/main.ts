import process from 'node:process'
import { openSqlite } from '../../../adapters/sqlite.ts'
import { createShardedLogs } from '../../../src/store/sharded-logs.ts'
import { createSqlConfig } from '../../../src/store/sql-config.ts'
import { createSqlLogs } from '../../../src/store/sql-logs.ts'
import { configTests } from './config.ts'
import { runStoreTests } from './kit.ts'
import { exactTests, logsTests } from './logs.ts'

/** `stores/main.ts FOLDER`: every store over this runtime's SQLite; prints what came of each test as JSON. */
const [folder = ''] = process.argv.slice(2)
const config = await runStoreTests(configTests, async (name) =>
  createSqlConfig(await openSqlite(folder, `config-${name}`)),
)
const openLogs = async (name: string) => createSqlLogs(await openSqlite(folder, `logs-${name}`))
const logs = await runStoreTests([...logsTests, ...exactTests], openLogs)
const sharded = await runStoreTests(logsTests, async (name) =>
  createShardedLogs([await openLogs(`${name}-a`), await openLogs(`${name}-b`), await openLogs(`${name}-c`)]),
)
console.log(JSON.stringify({ config, logs, sharded }))
