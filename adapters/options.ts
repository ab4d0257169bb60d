import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { ConfigError, type Env } from '../src/index.ts'

/** The command line. */
export interface Options {
  readonly port: number
  readonly host: string
  readonly config: string | undefined
  /** Folder of what must outlive the process. */
  readonly data: string
  readonly demo: boolean
  readonly help: boolean
}

/** Shown by `--help`. */
export const usage = `trunkline [options]

  --port N       port to listen on (default 8787; 0 for any free one)
  --host HOST    address to listen on (default 127.0.0.1)
  --config FILE  configuration, .json or .ts (default trunkline.config.json, if it is there)
  --data DIR     folder for what must outlive the process (default .trunkline)
  --demo         add the provider "demo": an emulator, for trying things out
  --help         this text

Environment: TRUNKLINE_CONFIG (the configuration as JSON), TRUNKLINE_TOKEN (a gateway token),
TRUNKLINE_MASTER_KEY (seals stored keys: 32 bytes in base64), TRUNKLINE_MASTER_KEYS_OLD (former ones),
TRUNKLINE_SESSION_SECRET (a part of the key that signs session tokens),
and each provider's own key variable (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...).`

const defaultFile = 'trunkline.config.json'

/** @throws ConfigError for options that do not exist or make no sense */
export function readOptions(args: readonly string[]): Options {
  const { port, host, config, data, demo, help } = parse(args)
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535)
    throw new ConfigError('--port: a number from 0 to 65535')
  return { port: Number(port), host, config, data, demo, help }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        port: { type: 'string', default: '8787' },
        host: { type: 'string', default: '127.0.0.1' },
        config: { type: 'string' },
        data: { type: 'string', default: '.trunkline' },
        demo: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error))
  }
}

/**
 * The configuration, unparsed: of `--config`, else of TRUNKLINE_CONFIG, else of the default file, else none.
 * @throws ConfigError naming the file
 */
export async function readConfigFile(file: string | undefined, env: Env): Promise<unknown> {
  if (file === undefined)
    return env.TRUNKLINE_CONFIG || !existsSync(defaultFile) ? readEnvConfig(env) : readJson(defaultFile)
  if (!existsSync(file)) throw new ConfigError(`${file}: no such file`)
  if (!/\.[cm]?[jt]s$/.test(file)) return readJson(file)
  const module: unknown = await import(pathToFileURL(resolve(file)).href)
  return (module as { default?: unknown }).default
}

/** TRUNKLINE_CONFIG, or nothing. @throws ConfigError when it is not JSON */
export function readEnvConfig(env: Env): unknown {
  return env.TRUNKLINE_CONFIG ? parseJson(env.TRUNKLINE_CONFIG, 'TRUNKLINE_CONFIG') : undefined
}

const readJson = (file: string): unknown => parseJson(readFileSync(file, 'utf8'), file)

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new ConfigError(`${name}: not JSON`) // the parser's own message quotes the text
  }
}
