import type { Fetch } from '../../src/client/index.ts'
import { connect } from '../../src/client/index.ts'
import { flows, runStreams } from './flows.ts'
import { check, type Flow, type Way } from './kit.ts'

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

/** What ran, in order, and what of it failed. */
export interface Report {
  readonly ran: string[]
  readonly failures: Failures
}

/** The streams over a line that is cut, among what ran. */
export const overCut = 'streams over a line that is cut'

const streams = 100
/** As many may be cut in a row, where each takes its time. */
const handshakes = 50

/** Every flow, over a line of the runtime that this runs in. Leaves nothing open. */
export async function runFlows({ gateway, cut, upstream, token }: Places): Promise<Report> {
  const report: Report = { ran: [], failures: {} }
  const newKey = createLabels()
  const over = async (url: string, use: (way: Way) => Promise<void>) => {
    const line = await connect(url, { token, limits: { backoffMs: 20, handshakes } })
    await use({ url: (provider) => line.url(provider), fetch: line.fetch, upstream, newKey })
    line.close()
  }
  await over(gateway, (way) => runAll(way, report))
  await attempt(report, overCut, () => over(cut, (way) => runStreams(way, streams)))
  return report
}

/** Every flow through one way, one after the other. */
export async function runAll(way: Way, report: Report): Promise<void> {
  for (const { name, run } of flows) await attempt(report, name, () => through(way, run))
}

/** Run a flow; it must have gone this way, and not over a `fetch` of its own. */
async function through(way: Way, run: Flow['run']): Promise<void> {
  let asked = 0
  const counted: Fetch = (input, init) => {
    asked += 1
    return way.fetch(input, init)
  }
  await run({ ...way, fetch: counted })
  check(asked > 0, 'went another way')
}

/** Labels for the ledger that nobody else has. */
export function createLabels(): () => string {
  const label = `f${Math.random().toString(36).slice(2)}`
  let counter = 0
  return () => `${label}-${counter++}`
}

async function attempt({ ran, failures }: Report, name: string, run: () => Promise<unknown>): Promise<void> {
  ran.push(name)
  try {
    await run()
  } catch (error) {
    failures[name] = error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
}
