import { expect, test } from 'vitest'
import { parts } from '../../adapters/parts.ts'
import { createGateway, parseConfig, type Runtime } from '../../src/index.ts'

const config = parseConfig({
  gateways: [{ id: 'default', authentication: false }],
  providers: { openai: {} },
})

/** A gateway over a provider that opens every socket, and what these are closed with. */
function open() {
  const closes: [number, string][] = []
  const close = (code: number, reason: string): void => void closes.push([code, reason])
  const connect: Runtime['connect'] = async () => ({
    socket: { send: () => undefined, close },
    protocol: '',
  })
  const fetch = () => Promise.reject(new Error('no requests here'))
  return { closes, gateway: createGateway(config, { fetch, connect, report: () => undefined }, parts) }
}

const ask = (signal: AbortSignal): Request =>
  new Request('http://127.0.0.1/v1/default/default/openai?model=m', {
    headers: { upgrade: 'websocket', 'sec-websocket-key': 'x', authorization: 'Bearer sk' },
    signal,
  })

test('a client that leaves between the grant and its socket takes the provider’s with it', async () => {
  const { closes, gateway } = open()
  const leaving = new AbortController()
  const granted = await gateway.upgrade(ask(leaving.signal))
  expect(granted).toHaveProperty('start.serve')
  expect(closes).toEqual([])
  leaving.abort()
  expect(closes).toEqual([[1001, 'client lost']])
})

test('one that was served is left to its socket', async () => {
  const { closes, gateway } = open()
  const leaving = new AbortController()
  const granted = await gateway.upgrade(ask(leaving.signal))
  if (granted instanceof Response || !('serve' in granted.start)) throw new Error('not granted')
  const session = granted.start.serve({ send: () => undefined, close: () => undefined })
  leaving.abort()
  expect(closes).toEqual([])
  session.closed(4_000, 'enough')
  expect(closes).toEqual([[4_000, 'enough']])
})
