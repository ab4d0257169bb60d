import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** The project's folder. */
export const root: string = fileURLToPath(new URL('..', import.meta.url))

/** Runtimes the gateway runs on, by the name in its start script. */
export const runtimes = ['node', 'bun', 'deno', 'workers'] as const
/** One of them. */
export type RuntimeName = (typeof runtimes)[number]

/** A process started for a test. */
export interface Started {
  readonly url: string
  /** Of the process, and of its group. */
  readonly pid: number
  /** All it has printed. */
  output(): string
  /** Its exit code, once it has ended. */
  exitCode(): number | null
  /** From the start of the process to its first answer, in milliseconds. */
  readonly startMs: number
  /** Where a gateway keeps its things. */
  readonly folder?: string
  /** SIGKILL, at once, to its whole group. Resolves when it has ended. */
  kill(): Promise<void>
  /** SIGTERM to its group; resolves with its exit code, whenever that is. */
  terminate(): Promise<number | null>
  /** SIGTERM, then SIGKILL; to its whole group. Resolves with its exit code. */
  stop(): Promise<number | null>
}

const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
}
const startMsMax = 20_000
const stopMs = 5_000

/**
 * Start the gateway with the very command of package.json, on a free port, with a configuration and folder of its
 * own; or those of one that was killed.
 */
export async function startGateway(
  runtime: RuntimeName,
  config: unknown,
  env: Readonly<Record<string, string>> = {},
  args: readonly string[] = [],
  again?: Started,
): Promise<Started> {
  const folder = again?.folder ?? (await mkdtemp(join(tmpdir(), `trunkline-${runtime}-`)))
  const file = join(folder, 'config.json')
  await writeFile(file, JSON.stringify(config))
  const port = again ? Number(new URL(again.url).port) : await freePort()
  const words = [`--port ${port}`, `--config ${file}`, `--data ${join(folder, 'data')}`, ...args]
  const started = await launch(
    `${scripts[`start:${runtime}`]} ${words.join(' ')}`,
    `http://127.0.0.1:${port}`,
    '/health',
    env,
  )
  const stop = async () => {
    const code = await started.stop()
    await rm(folder, { recursive: true, force: true })
    return code
  }
  return { ...started, folder, stop }
}

/** Start the provider emulator; or one that was killed, again, of which nothing is in its ledger. */
export async function startEmulator(again?: Started): Promise<Started> {
  const port = again ? Number(new URL(again.url).port) : await freePort()
  return launch(
    `exec node test/upstream/main.ts --port ${port}`,
    `http://127.0.0.1:${port}`,
    '/ledger/open',
    {},
  )
}

/** Run a command as a process group, and wait until it answers. Rejects with its output when it ends before. */
export async function launch(
  command: string,
  url: string,
  path: string,
  env: Readonly<Record<string, string>>,
): Promise<Started> {
  const began = performance.now()
  const PATH = `${join(root, 'node_modules/.bin')}:${process.env.PATH}`
  const child = spawn('sh', ['-c', command], {
    cwd: root,
    detached: true,
    env: { ...process.env, ...env, PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk
    })
  }
  while (!(await isUp(url + path))) {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}: ${output}`)
    if (performance.now() - began > startMsMax) throw new Error(`${command} did not start: ${output}`)
    await sleep(10)
  }
  const startMs = performance.now() - began
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    const ended = once(child, 'exit')
    signalGroup(child, signal)
    await ended
    return child.exitCode
  }
  return {
    url,
    pid: child.pid!,
    startMs,
    output: () => output,
    exitCode: () => child.exitCode,
    kill: async () => void (await end('SIGKILL')),
    terminate: () => end('SIGTERM'),
    stop: () => stopGroup(child),
  }
}

const isUp = (url: string): Promise<boolean> =>
  fetch(url).then(
    (response) => response.ok,
    () => false,
  )

async function stopGroup(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  signalGroup(child, 'SIGTERM')
  await Promise.race([ended, sleep(stopMs)])
  if (child.exitCode === null && child.signalCode === null) signalGroup(child, 'SIGKILL')
  await ended
  return child.exitCode
}

function signalGroup(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (child.pid !== undefined) process.kill(-child.pid, signal)
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
