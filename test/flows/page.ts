import { connect } from '../../src/client/index.ts'
import { createLabels, type Places, type Report, runAll, runFlows } from './run.ts'

/** What the page is asked. */
export interface Page {
  /** Every flow over a line; then over plain `fetch`, which the gateway must allow this origin. */
  run(places: Places): Promise<{ line: Report; http: Report }>
  /** Whether a gateway lets this origin in: over a socket, and over HTTP. */
  isLetIn(gateway: string, token: string): Promise<{ socket: boolean; http: boolean }>
  /** Sound and words to a provider's own socket, which returns them. */
  speak(url: string, protocols: string[], frames: number): Promise<Spoken>
}

/** What came of it. */
export interface Spoken {
  /** Null where the socket was never open. */
  readonly protocol: string | null
  /** Frames that came back as they were sent, in order. */
  readonly same: number
  readonly code: number
  readonly reason: string
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
    const http: Report = { ran: [], failures: {} }
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
  speak(url, protocols, count) {
    const socket = new WebSocket(url, protocols)
    socket.binaryType = 'arraybuffer'
    const frames = makeFrames(count)
    let protocol: string | null = null
    let [heard, same] = [0, 0]
    socket.onopen = () => {
      protocol = socket.protocol
      for (const frame of frames) socket.send(frame)
    }
    socket.onmessage = ({ data }) => {
      if (isSame(data, frames[heard++])) same += 1
      if (heard === count) socket.close(3_000, 'done')
    }
    return new Promise((resolve) => {
      socket.onclose = ({ code, reason }) => resolve({ protocol, same, code, reason })
    })
  },
}

/** Every second one a text, and the others as long as 20 ms of sound. */
function makeFrames(count: number): (string | ArrayBuffer)[] {
  return Array.from({ length: count }, (_, index) =>
    index % 2 === 0 ? `{"type":"word","index":${index}}` : crypto.getRandomValues(new Uint8Array(960)).buffer,
  )
}

function isSame(one: unknown, other: unknown): boolean {
  if (!(one instanceof ArrayBuffer) || !(other instanceof ArrayBuffer)) return one === other
  const bytes = new Uint8Array(other)
  return one.byteLength === other.byteLength && new Uint8Array(one).every((byte, at) => byte === bytes[at])
}

Object.assign(globalThis, { page })
