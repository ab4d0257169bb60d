import { lookup } from 'node:dns/promises'
import process from 'node:process'
import { type Config, ConfigError, isOpen, noticesOf, parseConfig } from '../src/index.ts'
import { isLoopback } from '../src/loopback.ts'
import { type Options, readConfigFile, readOptions, usage } from './options.ts'
import type { Server } from './server.ts'

const openRefusal = `Without a token anyone who reaches this address could use the gateway. Make one, then start again:
  export TRUNKLINE_TOKEN=$(openssl rand -hex 32); echo $TRUNKLINE_TOKEN`

/** Read the command line and configuration, start, say so in one line, and stop on SIGTERM or SIGINT. */
export async function launch(
  name: string,
  start: (config: Config, options: Options, input: unknown) => Promise<Server>,
): Promise<void> {
  try {
    const options = readOptions(process.argv.slice(2))
    if (options.help) return console.log(usage)
    const input = withDemo(
      await readConfigFile(options.config, process.env),
      options.demo ? await startDemo() : undefined,
    )
    const config = parseConfig(input, process.env)
    await lookup(options.host).catch(() => {
      throw new ConfigError(`--host ${options.host}: no such address`)
    })
    if (!isLoopback(options.host) && isOpen(config))
      throw new ConfigError(`--host ${options.host}: ${openRefusal}`)
    const starting = start(config, options, input)
    stopOnSignal(starting)
    console.log(`trunkline listening on ${(await starting).url} (${name})`)
    for (const notice of noticesOf(config)) console.log(`note: ${notice}`)
  } catch (error) {
    // Messages of configurations name paths, not values; anything else is a fault worth its stack.
    console.error(
      error instanceof ConfigError || isSystemError(error) ? `trunkline: ${error.message}` : error,
    )
    process.exit(1)
  }
}

const isSystemError = (error: unknown): error is Error =>
  error instanceof Error && ('code' in error || error instanceof TypeError)

/** A second signal counts only after this long: npm passes on what the terminal has already sent. */
const insistMs = 1_000

/** Drains, and exits with 0. Also while still starting: whoever may connect may already want it stopped. */
function stopOnSignal(starting: Promise<Server>): void {
  let since: number | undefined
  const stop = async (): Promise<void> => {
    if (since !== undefined && performance.now() - since > insistMs) process.exit(1)
    if (since !== undefined) return
    since = performance.now()
    await (await starting).stop()
    process.exit(0)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => void stop().catch(() => process.exit(1)))
}

/** The provider emulator of the tests, in this process. */
async function startDemo(): Promise<string> {
  const { startUpstream } = await import('../test/upstream/server.ts')
  const { url } = await startUpstream({ name: 'demo', log: (line) => console.log(line) })
  console.log('provider "demo" is an emulator: its answers are made up, and cost nothing')
  return `${url}/v1`
}

function withDemo(input: unknown, demo: string | undefined): unknown {
  if (demo === undefined) return input
  const given = (input ?? {}) as { providers?: { demo?: object } }
  return { ...given, providers: { ...given.providers, demo: { ...given.providers?.demo, base_url: demo } } }
}
