import process from 'node:process'
import { openSqlite } from '../../../adapters/sqlite.ts'
import { createSqlConfig } from '../../../src/store/sql-config.ts'
import { createSqlLogs } from '../../../src/store/sql-logs.ts'
import { configTests } from './config.ts'
import { runStoreTests } from './kit.ts'
import { logsTests } from './logs.ts'

/** `stores/main.ts FOLDER`: every store over this runtime's SQLite; prints what came of each test as JSON. */
const [folder = ''] = process.argv.slice(2)
const config = await runStoreTests(configTests, async (name) =>
  createSqlConfig(await openSqlite(folder, `config-${name}`)),
)
const logs = await runStoreTests(logsTests, async (name) =>
  createSqlLogs(await openSqlite(folder, `logs-${name}`)),
)
console.log(JSON.stringify({ config, logs }))
