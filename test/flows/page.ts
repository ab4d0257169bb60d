import { connect } from '../../src/client/index.ts'
import { createLabels, type Failures, type Places, runAll, runFlows } from './run.ts'

/** What the page is asked. */
export interface Page {
  /** Every flow over a line; then over plain `fetch`, which the gateway must allow this origin. */
  run(places: Places): Promise<{ line: Failures; http: Failures }>
  /** Whether a gateway lets this origin in: over a socket, and over HTTP. */
  isLetIn(gateway: string, token: string): Promise<{ socket: boolean; http: boolean }>
}

const toHttp = (url: string): string => url.replace(/^ws/, 'http')
const holds = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  )

const page: Page = {
  async run(places) {
    const line = await runFlows(places)
    const http: Failures = {}
    const headers = { 'cf-aig-authorization': `Bearer ${places.token}` }
    const way = {
      url: (provider: string) => `${toHttp(places.gateway)}/${provider}`,
      fetch: (input: string | URL | Request, init?: RequestInit) => {
        const request = new Request(input, init)
        for (const [name, value] of Object.entries(headers)) request.headers.set(name, value)
        return fetch(request)
      },
      upstream: places.upstream,
      newKey: createLabels(),
    }
    await runAll(way, http)
    return { line, http }
  },
  async isLetIn(gateway, token) {
    const socket = await holds(
      connect(gateway, { token, limits: { handshakes: 1 } }).then((line) => line.close()),
    )
    const http = await holds(
      fetch(`${toHttp(gateway)}/openai/models`, { headers: { 'cf-aig-authorization': `Bearer ${token}` } }),
    )
    return { socket, http }
  },
}
Object.assign(globalThis, { page })
