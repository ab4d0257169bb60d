import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, launch, type RuntimeName, root, runtimes, type Started } from '../launch.ts'
import type { Address } from './lines.ts'
import { installPortkey } from './portkey.ts'

/** One line of the tables: something that answers chat completions. */
export interface Row {
  readonly name: string
  readonly runtime: RuntimeName | 'none'
  /** `bare` is Trunkline with neither records nor limits nor a cache. */
  readonly kind: 'direct' | 'control' | 'trunkline' | 'bare' | 'peer'
  readonly over: Address['over']
}

/** A row whose process runs. */
export interface Running {
  readonly row: Row
  readonly address: Address
  readonly process: Started
}

const token = 'tk-bench-5a0c93'
/** One that is sent on: providers want a key. */
const providerKey = 'sk-bench-1f77c2'
const here = 'test/bench'

/** Everything that can be measured here. */
export function allRows(peers: readonly string[]): Row[] {
  const row = (kind: Row['kind'], runtime: Row['runtime'], over: Row['over'] = 'http'): Row => {
    const words = [kind, runtime === 'none' ? '' : runtime, over === 'http' ? '' : over]
    return { name: words.filter(Boolean).join(' '), kind, runtime, over }
  }
  const own = runtimes.flatMap((runtime) => [
    row('control', runtime),
    row('trunkline', runtime),
    row('trunkline', runtime, 'socket'),
    ...(runtime === 'workers' ? [] : [row('bare', runtime)]),
  ])
  const portkey = (['node', 'bun'] as const).map(
    (runtime): Row => ({ name: `portkey ${runtime}`, kind: 'peer', runtime, over: 'http' }),
  )
  return [row('direct', 'none'), ...own, ...(peers.includes('portkey') ? portkey : [])]
}

/** Start what the rows need, each process once; `stop` ends them all. */
export async function startRows(
  rows: readonly Row[],
  upstream: Started,
): Promise<{ running: Running[]; stop: () => Promise<void> }> {
  const processes = new Map<string, Promise<Started>>()
  const running = rows.map(async (row): Promise<Running> => {
    const key = `${row.kind} ${row.runtime}`
    if (!processes.has(key)) processes.set(key, startRow(row, upstream))
    const process = await processes.get(key)!
    return { row, process, address: addressOf(row, process.url, upstream.url) }
  })
  const stop = async (): Promise<void> => {
    const started = await Promise.all(processes.values())
    await Promise.all(started.map((process) => (process === upstream ? undefined : process.kill())))
  }
  return { running: await Promise.all(running), stop }
}

/** Start the process of a row. */
export async function startRow(row: Row, upstream: Started, nodeOptions = ''): Promise<Started> {
  const port = await freePort()
  switch (row.kind) {
    case 'direct':
      return upstream
    case 'control':
      return launch(controlOf(row, port, upstream.url), `http://127.0.0.1:${port}`, '/health', {
        UPSTREAM: upstream.url,
      })
    case 'trunkline':
    case 'bare':
      return startTrunkline(row, port, upstream.url, nodeOptions)
    case 'peer':
      return launch(await installPortkey(row.runtime, port), `http://127.0.0.1:${port}`, '/', {})
    default:
      return row.kind satisfies never
  }
}

function controlOf({ runtime }: Row, port: number, upstream: string): string {
  const file = `${here}/controls/${runtime}.ts`
  if (runtime === 'deno') return `deno run --quiet --allow-all --no-check ${file} ${port} ${upstream}`
  if (runtime === 'workers')
    return `workerd serve ${here}/controls/worker.capnp --socket-addr http=127.0.0.1:${port}`
  return `${runtime} ${file} ${port} ${upstream}`
}

/** The built bundle, with all that a gateway in earnest has on: a token, records, limits and a cache. */
async function startTrunkline(
  { runtime, kind }: Row,
  port: number,
  upstream: string,
  nodeOptions: string,
): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), 'trunkline-bench-'))
  const file = join(folder, 'config.json')
  await writeFile(file, JSON.stringify(toConfig(upstream, kind === 'bare')))
  const commands: Partial<Record<Row['runtime'], string>> = {
    node: `node ${nodeOptions} dist/cli.js`,
    bun: 'bun dist/cli.js',
    deno: 'deno run --quiet --allow-all dist/cli.js',
    workers: 'node adapters/workers/start.ts',
  }
  const words = [commands[runtime], `--port ${port} --config ${file} --data ${join(folder, 'data')}`]
  const started = await launch(words.join(' '), `http://127.0.0.1:${port}`, '/health', {})
  const kill = async () => {
    await started.kill()
    await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }) // workerd outlives its starter a little
  }
  return { ...started, kill }
}

/** None of which is ever reached: all that a request pays is the counting. */
const limited = {
  rate_limiting_interval: 3_600,
  rate_limiting_limit: 1_000_000_000,
  rate_limiting_technique: 'sliding',
  spend_limits: { enabled: true, rules: [{ limitType: 'cost', limit: 1_000_000, window: 86_400 }] },
}

/** Requests that differ find nothing in the cache, and are kept there. */
const toConfig = (upstream: string, isBare: boolean): object => ({
  gateways: [
    isBare
      ? { id: 'default', authentication: true, collect_logs: false }
      : { id: 'default', authentication: true, collect_logs: true, cache_ttl: 300, ...limited },
  ],
  tokens: [{ name: 'bench', token }],
  providers: { bench: { base_url: `${upstream}/v1` } },
  limits: { inFlight: 1_024 },
})

function addressOf({ kind, over }: Row, url: string, upstream: string): Address {
  const port = Number(new URL(url).port)
  const authorization = `Bearer ${providerKey}`
  const own = { 'cf-aig-authorization': `Bearer ${token}` }
  const peer = { 'x-portkey-provider': 'openai', 'x-portkey-custom-host': `${upstream}/v1` }
  if (over === 'socket') return { port, over, path: '/v1/default/default', headers: own }
  if (kind === 'trunkline' || kind === 'bare')
    return {
      port,
      over,
      path: '/v1/default/default/bench/chat/completions',
      headers: { ...own, authorization },
    }
  return {
    port,
    over,
    path: '/v1/chat/completions',
    headers: { authorization, ...(kind === 'peer' && peer) },
  }
}

/** Start the provider. */
export async function startUpstream(): Promise<Started> {
  const port = await freePort()
  return launch(`node ${here}/upstream.ts ${port}`, `http://127.0.0.1:${port}`, '/counts', {})
}

/** The folder of the project. */
export const folder: string = root
