import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { root } from './launch.ts'
import { cacheTests } from './suites/stores/cache.ts'
import { configTests } from './suites/stores/config.ts'
import { countersTests, lastingTests } from './suites/stores/counters.ts'
import { exactTests, logsTests } from './suites/stores/logs.ts'
import { startWorker } from './workerd.ts'

const commands = {
  node: ['node'],
  bun: ['bun'],
  deno: ['deno', 'run', '--quiet', '--allow-all', '--no-check'],
} as const
const counters = [...countersTests, ...lastingTests]
const suites = {
  config: configTests,
  logs: [...logsTests, ...exactTests],
  sharded: logsTests,
  counters,
  cache: cacheTests,
}
/** Of what needs no database, or has one behind it. */
const inMemory = { memoryCounters: countersTests, memoryCache: cacheTests }
type Results = Readonly<Record<string, Record<string, string | null>>>

/** Run the suites as a program of a runtime, over SQLite files of its own. */
async function runIn([command, ...args]: readonly [string, ...string[]]): Promise<Results> {
  const folder = await mkdtemp(join(tmpdir(), 'trunkline-stores-'))
  const PATH = `${join(root, 'node_modules/.bin')}:${process.env.PATH}`
  const { stdout } = await promisify(execFile)(command, [...args, 'test/suites/stores/main.ts', folder], {
    cwd: root,
    env: { ...process.env, PATH },
  })
  await rm(folder, { recursive: true })
  return JSON.parse(stdout) as Results
}

/** One vitest test for each of a suite's, which have run already. */
function tell(
  own: Readonly<Record<string, readonly { readonly name: string }[]>>,
  results: () => Results,
): void {
  for (const [suite, tests] of Object.entries(own))
    test.each(tests.map(({ name }) => name))(`${suite} %s`, async (name) => {
      expect(results()[suite]?.[name]).toBeNull()
    })
}

describe.each(Object.entries(commands))('SQLite in %s', (_, command) => {
  let results: Results = {}
  beforeAll(async () => {
    results = await runIn(command)
  }, 60_000)
  tell({ ...suites, ...inMemory }, () => results)
})

describe('SQLite of Durable Objects', () => {
  const results: Record<string, Record<string, string | null>> = {}
  beforeAll(async () => {
    const worker = await startWorker('test/suites/stores/worker.ts', true)
    for (const suite of Object.keys(suites)) {
      const answer = await fetch(`${worker.url}/run/${suite}`)
      results[suite] = (await answer.json()) as Results[string]
    }
    await worker.stop()
  }, 60_000)
  tell(suites, () => results)
})
