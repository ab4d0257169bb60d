import process from 'node:process'
import { connect } from '../src/client/index.ts'
import { flows, runStreams } from './flows.ts'

/**
 * Every flow, over a line of the runtime this is run in: `flows-main.ts GATEWAY CUT UPSTREAM`, the second the same
 * gateway through a proxy that cuts. Prints what failed as JSON, and ends by itself once its lines are closed.
 */
const [gateway = '', cut = '', upstream = ''] = process.argv.slice(2)
const failures: Record<string, string> = {}
let counter = 0
const newKey = () => `f${process.pid}-${counter++}`

const attempt = async (name: string, run: () => Promise<unknown>): Promise<void> => {
  try {
    await run()
  } catch (error) {
    failures[name] = error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
}

const line = await connect(gateway)
const way = { url: (provider: string) => line.url(provider), fetch: line.fetch, upstream, newKey }
for (const { name, run } of flows) await attempt(name, () => run(way))
line.close()

const shaky = await connect(cut, { limits: { backoffMs: 20 } })
await attempt('streams', () =>
  runStreams({ ...way, url: (provider) => shaky.url(provider), fetch: shaky.fetch }, 100),
)
shaky.close()
console.log(JSON.stringify(failures))
