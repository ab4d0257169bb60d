import process from 'node:process'
import type { TestProject } from 'vitest/node'
import { configFor, env } from './config.ts'
import { type RuntimeName, runtimes, startEmulator, startGateway } from './launch.ts'
import type { Target } from './target.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    targets: Readonly<Record<string, Target>>
  }
}

/** Start the emulator and every runtime once, for all files. `RUNTIMES=node,bun` narrows the run; nothing else does. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const chosen = (process.env.RUNTIMES?.split(',') ?? runtimes) as RuntimeName[]
  const emulator = await startEmulator()
  const config = configFor(emulator.url)
  const gateways = await Promise.all(chosen.map((runtime) => startGateway(runtime, config, env)))
  const targets = chosen.map((runtime, index): [string, Target] => {
    const url = gateways[index]!.url
    return [runtime, { runtime, url, ws: url.replace('http', 'ws'), upstream: emulator.url }]
  })
  project.provide('targets', Object.fromEntries(targets))
  return async () => {
    const codes = await Promise.all(gateways.map((gateway) => gateway.stop()))
    await emulator.stop()
    const noise = gateways.map(
      (gateway, index) => `${chosen[index]} exit ${codes[index]}: ${gateway.output().trim()}`,
    )
    if (process.env.SHOW_OUTPUT) console.log(noise.join('\n\n'))
  }
}
