import { afterEach, beforeEach, expect } from 'vitest'
import {
  type ConnectOptions,
  connect,
  type Line,
  type LineState,
  type RunFrame,
} from '../../src/client/index.ts'
import { startProxy, type TestProxy } from '../proxy.ts'
import { FakeGateway } from './fake-gateway.ts'

/** What each test of the client has: a fake gateway, a proxy before it, and a way to connect through that. */
export interface Kit {
  gateway: FakeGateway
  proxy: TestProxy
  /** Of the gateway, through the proxy. */
  url: string
  open(options?: ConnectOptions): Promise<Line>
}

/** Waits short enough for tests. */
export const quick: NonNullable<ConnectOptions['limits']> = {
  backoffMs: 5,
  backoffMaxMs: 50,
  handshakeMs: 300,
  ackMs: 5,
}

/** Make the kit before each test, and clear it away after. */
export function useKit(): Kit {
  const kit = {} as Kit
  const lines: Line[] = []
  beforeEach(async () => {
    kit.gateway = new FakeGateway()
    kit.proxy = await startProxy(await kit.gateway.listen())
    kit.url = `ws://127.0.0.1:${kit.proxy.port}/v1/default/default`
    kit.open = async (options = {}) => {
      const line = await connect(kit.url, { ...options, limits: { ...quick, ...options.limits } })
      lines.push(line)
      return line
    }
  })
  afterEach(async () => {
    for (const line of lines.splice(0)) line.close()
    await kit.proxy.close()
    await kit.gateway.close()
  })
  return kit
}

/** Events of a stream, `data: {"n":…}` by number. */
export const events = (count: number, pad = ''): string[] =>
  Array.from({ length: count }, (_, n) => `data: ${JSON.stringify({ n, pad })}\n\n`)

/** An answer's headers of an event stream. */
export const sse = { 'content-type': 'text/event-stream' } as const

/** Wait until something holds, for 5 s at most. */
export async function until(holds: () => boolean, what = 'it'): Promise<void> {
  for (const end = Date.now() + 5_000; !holds(); await new Promise((wake) => setTimeout(wake, 2))) {
    if (Date.now() > end) throw new Error(`${what} did not come to hold`)
  }
}

/** Every state a line goes through from now on. */
export function watch(line: Line): LineState[] {
  const states: LineState[] = []
  line.addEventListener('statechange', () => states.push(line.state))
  return states
}

/** All frames of an iteration, and what it threw. */
export async function collect(
  frames: AsyncIterable<RunFrame>,
): Promise<{ frames: RunFrame[]; error: unknown }> {
  const all: RunFrame[] = []
  try {
    for await (const frame of frames) all.push(frame)
    return { frames: all, error: undefined }
  } catch (error) {
    return { frames: all, error }
  }
}

/** Read a body up to its end or its error. */
export async function drain(response: Response): Promise<{ text: string; error: unknown }> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return { text, error: undefined }
      text += value
    }
  } catch (error) {
    return { text, error }
  }
}

/** POST a text through a line. */
export const post = (line: Line, path: string, body = '{}', init: RequestInit = {}): Promise<Response> =>
  line.fetch(line.url('openai') + path, { method: 'POST', body, ...init })

/** That something is a `LineError` of this code. */
export const coded = (code: string): unknown => expect.objectContaining({ name: 'LineError', code })
