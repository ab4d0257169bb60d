import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigError } from '../../src/index.ts'
import { isLoopback } from '../../src/loopback.ts'
import { table } from '../../src/providers/table.ts'
import { launch } from '../launch.ts'
import type { Options } from '../options.ts'
import { type Server, toUrl } from '../server.ts'
import { bundleWorker } from './bundle.ts'

/** Newest date the pinned workerd knows. */
const compatibilityDate = '2026-10-23'
const startMs = 10_000
const stopMs = 3_000
const pollMs = 20

/**
 * Keeps workerd out of reach of signals to the whole group, as Ctrl-C sends them, since it would end at once; sends it
 * the signals that are written to the keeper, and KILL when the writer is gone.
 */
const keeper = `
exec 3<&0
workerd serve "$0" --experimental < /dev/null &
worker=$!
{ while read -r signal <&3; do kill -"$signal" $worker; done; kill -KILL $worker; } &
wait $worker
code=$?
kill $! 2> /dev/null
exit $code`

/** `start:workers`: the Worker bundle in workerd, with Durable Objects on disk, as a child process. */
await launch('workers', async (_config, options, input) => {
  const port = options.port || (await freePort())
  const folder = await mkdtemp(join(tmpdir(), 'trunkline-workers-'))
  const objects = resolve(options.data, 'workers')
  await mkdir(objects, { recursive: true })
  await bundleWorker(join(folder, 'worker.mjs'))
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    TRUNKLINE_CONFIG: JSON.stringify(input ?? {}),
    TRUNKLINE_LOOPBACK: isLoopback(options.host) ? '1' : '',
  }
  const file = join(folder, 'config.capnp')
  await writeFile(file, toCapnp({ options, port, objects, names: namesOf(env) }))
  const child = spawn('sh', ['-c', keeper, file], {
    env,
    detached: true,
    stdio: ['pipe', 'inherit', 'inherit'],
  })
  const ended = new Promise<void>((done) => child.once('exit', () => done()))
  const server: Server = {
    url: toUrl(options.host, port),
    async stop() {
      await untilWritten(server.url)
      child.stdin.write('TERM\n')
      const late = setTimeout(() => child.stdin.end(), stopMs)
      await ended
      clearTimeout(late)
      await rm(folder, { recursive: true, force: true })
    },
  }
  child.once('error', (error) => console.error(`trunkline: workerd: ${error.message}`))
  await untilReady(server.url, ended)
  // Of its own accord, or killed: only a wish to stop is no fault.
  const isWished = () => child.signalCode === 'SIGTERM' || child.signalCode === 'SIGINT'
  void ended.then(() => process.exit(isWished() ? 0 : (child.exitCode ?? 1)))
  return server
})

async function untilReady(url: string, ended: Promise<void>): Promise<void> {
  const gone = new AbortController()
  void ended.then(() => gone.abort())
  if (!(await untilHealth(url, startMs, ({ status }) => status === 'ok', gone)))
    throw new ConfigError(`workerd did not start at ${url}`)
}

/** workerd has no word for a Worker whose end is near, so what waits to be recorded is waited for here. */
async function untilWritten(url: string): Promise<void> {
  await untilHealth(url, stopMs, ({ logs }) => !logs?.waiting)
}

interface Health {
  readonly status?: string
  readonly logs?: { readonly waiting: number }
}

/** Asks until it is as wanted, which it may not be `ms` later, nor may it then have answered. */
async function untilHealth(
  url: string,
  ms: number,
  isWanted: (health: Health) => boolean,
  late: AbortController = new AbortController(),
): Promise<boolean> {
  const timer = setTimeout(() => late.abort(), ms)
  let isFound = false
  while (!isFound && !late.signal.aborted) {
    const response = await fetch(`${url}/health`, late).catch(() => undefined) // not listening yet, or no more
    isFound = isWanted(((await response?.json().catch(() => undefined)) ?? {}) as Health)
    if (!isFound) await sleep(pollMs)
  }
  clearTimeout(timer)
  return isFound
}

/** Variables the Worker may see: our own, each provider's key, and those that the configuration refers to. */
function namesOf(env: NodeJS.ProcessEnv): readonly string[] {
  const own = ['CONFIG', 'TOKEN', 'SESSION_SECRET', 'LOOPBACK', 'MASTER_KEY', 'MASTER_KEYS_OLD'].map(
    (name) => `TRUNKLINE_${name}`,
  )
  const keys = Object.values(table).flatMap((row) => row.env ?? [])
  const named = [...(env.TRUNKLINE_CONFIG ?? '').matchAll(/"env:(\w+)"/g)].map((match) => match[1] ?? '')
  return [...new Set([...own, ...keys, ...named])].filter((name) => env[name])
}

/** Values come from workerd's own environment, so that no secret is written to a file. */
function toCapnp(parts: {
  options: Options
  port: number
  objects: string
  names: readonly string[]
}): string {
  const { options, port, objects, names } = parts
  const text = (value: string) => JSON.stringify(value)
  const address = options.host.includes(':') ? `[${options.host}]:${port}` : `${options.host}:${port}`
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.mjs", esModule = embed "worker.mjs")],
      compatibilityDate = ${text(compatibilityDate)},
      compatibilityFlags = ["enable_request_signal"],
      globalOutbound = "internet",
      durableObjectNamespaces = [
        (className = "Session", uniqueKey = "trunkline-session", enableSql = true),
        (className = "Store", uniqueKey = "trunkline-store", enableSql = true)],
      durableObjectStorage = (localDisk = "objects"),
      bindings = [
        (name = "SESSIONS", durableObjectNamespace = "Session"),
        (name = "STORES", durableObjectNamespace = "Store"),
        ${names.map((name) => `(name = ${text(name)}, fromEnvironment = ${text(name)})`).join(',\n        ')}
      ])),
    (name = "internet", network = (allow = ["public", "private", "local"], tlsOptions = (trustBrowserCas = true))),
    (name = "objects", disk = (path = ${text(objects)}, writable = true)),
  ],
  sockets = [(name = "http", address = ${text(address)}, http = (), service = "main")]
);
`
}

function freePort(): Promise<number> {
  return new Promise((done) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => done(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
