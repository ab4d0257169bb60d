import { remote, Store, type StoreNamespace } from '../../../adapters/workers/store.ts'
import { createShardedLogs } from '../../../src/store/sharded-logs.ts'
import { cacheTests } from './cache.ts'
import { configTests } from './config.ts'
import { countersTests, lastingTests } from './counters.ts'
import { runStoreTests } from './kit.ts'
import { exactTests, logsTests } from './logs.ts'

export { Store }

/** As a Worker: `GET /run/{suite}` answers what came of each test of a suite over objects; any other path, nothing. */
const worker: { fetch(request: Request, bindings: { STORES: StoreNamespace }): Promise<Response> } = {
  async fetch({ url }, { STORES }) {
    const logsOf = (name: string) => remote(STORES, `logs-${name}`, 'logs')
    const suites: Record<string, () => Promise<Record<string, string | null>>> = {
      config: () => runStoreTests(configTests, async (name) => remote(STORES, `config-${name}`, 'settings')),
      logs: () => runStoreTests([...logsTests, ...exactTests], async (name) => logsOf(name)),
      sharded: () =>
        runStoreTests(logsTests, async (name) =>
          createShardedLogs([logsOf(`${name}-a`), logsOf(`${name}-b`), logsOf(`${name}-c`)]),
        ),
      counters: () =>
        runStoreTests([...countersTests, ...lastingTests], async (name) =>
          remote(STORES, `counters-${name}`, 'counters'),
        ),
      cache: () => runStoreTests(cacheTests, async (name) => remote(STORES, `cache-${name}`, 'cache')),
    }
    const run = suites[new URL(url).pathname.slice('/run/'.length)]
    return run ? Response.json(await run()) : new Response()
  },
}
export default worker
