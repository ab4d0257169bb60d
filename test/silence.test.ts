import { connect } from 'node:net'
import { expect, inject, test } from 'vitest'
import { at, chat, post, upstream } from './client.ts'
import { runtimes } from './launch.ts'
import type { Control } from './upstream/control.ts'

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

/** Longer than a connection without a request may stay. */
const pauseMs = 40_000

test.concurrent.each([...runtimes])(
  '%s waits with a provider that thinks',
  { timeout: pauseMs + 20_000 },
  async (runtime) => {
    const target = inject('targets')[runtime]
    expect(target, `${runtime} was not started`).toBeDefined()
    const url = at(target!, '/openai/chat/completions')
    const ask = (control: Control) => post(url, chat('x', { stream: true }), upstream(control))
    const late = ask({ delay: pauseMs }).then((response) => response.text())
    const paused = ask({ interval: pauseMs }).then(async (response) => {
      const reader = response.body!.getReader()
      const began = performance.now()
      for (let text = ''; (text.match(/^data:/gm)?.length ?? 0) < 2; ) {
        const { done, value } = await reader.read()
        expect(done, text).toBe(false)
        text += new TextDecoder().decode(value)
      }
      await reader.cancel()
      return performance.now() - began
    })
    expect(await late).toContain('[DONE]')
    expect(await paused).toBeGreaterThan(pauseMs - 1_000)
  },
)
