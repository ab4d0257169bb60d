import { connect } from '../src/client/index.ts'
import { flows, runStreams } from './flows.ts'

/** Where the flows go. */
export interface Places {
  /** URL of a gateway. */
  readonly gateway: string
  /** The same, through a proxy that cuts. */
  readonly cut: string
  /** URL of the emulator. */
  readonly upstream: string
}

const streams = 100

/** Every flow, over a line of the runtime that this runs in; tells what failed, by name. Leaves nothing open. */
export async function runFlows({ gateway, cut, upstream }: Places): Promise<Record<string, string>> {
  const failures: Record<string, string> = {}
  const label = `f${Math.random().toString(36).slice(2)}`
  let counter = 0
  const newKey = () => `${label}-${counter++}`
  const attempt = async (name: string, run: () => Promise<unknown>): Promise<void> => {
    try {
      await run()
    } catch (error) {
      failures[name] = error instanceof Error ? (error.stack ?? error.message) : String(error)
    }
  }
  const over = async (url: string, use: (way: Parameters<typeof runStreams>[0]) => Promise<void>) => {
    const line = await connect(url, { limits: { backoffMs: 20 } })
    await use({ url: (provider) => line.url(provider), fetch: line.fetch, upstream, newKey })
    line.close()
  }
  await over(gateway, async (way) => {
    for (const { name, run } of flows) await attempt(name, () => run(way))
  })
  await attempt('streams over a line that is cut', () => over(cut, (way) => runStreams(way, streams)))
  return failures
}
