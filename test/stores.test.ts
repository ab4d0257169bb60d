import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { root } from './launch.ts'
import { configTests } from './suites/stores/config.ts'
import { exactTests, logsTests } from './suites/stores/logs.ts'

const commands = {
  node: ['node'],
  bun: ['bun'],
  deno: ['deno', 'run', '--quiet', '--allow-all', '--no-check'],
} as const
const suites = { config: configTests, logs: [...logsTests, ...exactTests], sharded: logsTests }
type Results = Record<keyof typeof suites, Record<string, string | null>>

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

describe.each(Object.entries(commands))('SQLite in %s', (_, command) => {
  let results: Results
  beforeAll(async () => {
    results = await runIn(command)
  }, 60_000)
  for (const [suite, tests] of Object.entries(suites))
    test.each(tests.map(({ name }) => name))(`${suite} %s`, async (name) => {
      expect(results[suite as keyof Results][name]).toBeNull()
    })
})
