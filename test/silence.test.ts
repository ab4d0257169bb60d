import { connect } from 'node:net'
import { expect, inject, test } from 'vitest'
import { runtimes } from './launch.ts'

/** PROTOCOL.md, "Keep-alive": how long a peer may be silent, and the time to notice. */
const silentMs = 90_000 + 2_000

/** Upgrade by hand and then say nothing, not even to pings; resolves with the milliseconds until the gateway leaves. */
function stayAfterSilence(url: URL): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(url.port), url.hostname)
    let began = 0
    socket.write(
      [
        'GET /v1/default/default HTTP/1.1',
        `Host: ${url.host}`,
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        '\r\n',
      ].join('\r\n'),
    )
    socket.once('data', (data) => {
      if (!String(data).startsWith('HTTP/1.1 101')) reject(new Error(String(data)))
      began = performance.now()
    })
    socket.resume()
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(performance.now() - began))
  })
}

// A Durable Object can send no ping; there the platform in front of it looks after dead connections.
for (const runtime of runtimes.filter((name) => name !== 'workers')) {
  test.concurrent(`${runtime} closes a peer that is silent for 90 s`, {
    timeout: silentMs + 5_000,
  }, async () => {
    const target = inject('targets')[runtime]
    expect(target, `${runtime} was not started`).toBeDefined()
    expect(await stayAfterSilence(new URL(target!.url))).toBeLessThanOrEqual(silentMs)
  })
}
