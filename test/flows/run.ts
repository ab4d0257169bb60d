import { connect } from '../../src/client/index.ts'
import { flows, runStreams } from './flows.ts'
import type { Way } from './kit.ts'

/** Where the flows go. */
export interface Places {
  /** URL of a gateway. */
  readonly gateway: string
  /** The same, through a proxy that cuts. */
  readonly cut: string
  /** URL of the emulator. */
  readonly upstream: string
  /** Of the gateway, where it asks for one. */
  readonly token?: string
}

/** What failed, by name. */
export type Failures = Record<string, string>

const streams = 100

/** Every flow, over a line of the runtime that this runs in. Leaves nothing open. */
export async function runFlows({ gateway, cut, upstream, token }: Places): Promise<Failures> {
  const failures: Failures = {}
  const newKey = createLabels()
  const over = async (url: string, use: (way: Way) => Promise<void>) => {
    const line = await connect(url, { token, limits: { backoffMs: 20 } })
    await use({ url: (provider) => line.url(provider), fetch: line.fetch, upstream, newKey })
    line.close()
  }
  await over(gateway, (way) => runAll(way, failures))
  await attempt(failures, 'streams over a line that is cut', () =>
    over(cut, (way) => runStreams(way, streams)),
  )
  return failures
}

/** Every flow through one way, one after the other. */
export async function runAll(way: Way, failures: Failures): Promise<void> {
  for (const { name, run } of flows) await attempt(failures, name, () => run(way))
}

/** Labels for the ledger that nobody else has. */
export function createLabels(): () => string {
  const label = `f${Math.random().toString(36).slice(2)}`
  let counter = 0
  return () => `${label}-${counter++}`
}

async function attempt(failures: Failures, name: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run()
  } catch (error) {
    failures[name] = error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
}
