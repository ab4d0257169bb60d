import { createHash, randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ended, ledger, newKey, seen } from '../client.ts'
import { storedKey, tokens } from '../config.ts'
import { cancelMs, clock, stoppedAfter, timeOf } from '../prompt.ts'
import { type RelayOptions, rawUpgrade, refused, relay, textFrame } from '../relay-client.ts'
import type { Target } from '../target.ts'
import type { Entry } from '../upstream/ledger.ts'
import { greeting } from '../upstream/realtime.ts'

const gatewayHeader = 'cf-aig-authorization'
const friend = 'https://app.example'
const mebibyte = 1 << 20

/** Sockets of clients that are relayed to a provider's own. */
export function realtimeSuite(target: Target): void {
  frameTests(target)
  addressTests(target)
  credentialTests(target)
  refusalTests(target)
  closeTests(target)
  slowTests(target)
}

/** The one upgrade the emulator saw under a key. */
async function only(target: Target, key: string): Promise<Entry> {
  const entries = await ledger(target, key)
  expect(entries).toHaveLength(1)
  return entries[0]!
}

function frameTests(target: Target): void {
  test('texts and bytes come back as they were sent, in order, the empty ones too', async () => {
    const { socket, take } = await relay(target, '/openai')
    const sent = [
      '',
      'a',
      Buffer.alloc(0),
      Buffer.from([0, 255, 128]),
      'é😀\u0000',
      randomBytes(70_000),
      '{}',
    ]
    for (const frame of sent) socket.send(frame)
    expect(await take(sent.length)).toEqual(sent)
    socket.close()
  })

  test('a frame in fragments arrives whole', async () => {
    const { socket, take } = await relay(target, '/openai')
    socket.send('one ', { fin: false })
    socket.send('two ', { fin: false })
    socket.send('three', { fin: true })
    const bytes = randomBytes(3 * mebibyte)
    for (let at = 0; at < bytes.length; at += mebibyte)
      socket.send(bytes.subarray(at, at + mebibyte), { binary: true, fin: at + mebibyte === bytes.length })
    const [text, whole] = await take(2)
    expect(text).toBe('one two three')
    expect(bytes.equals(whole as Buffer)).toBe(true)
    socket.close()
  })

  test('frames of 32 MiB pass both ways, larger ones end the session with 1009', async () => {
    const { socket, take, closed } = await relay(target, '/openai')
    const bytes = randomBytes(32 * mebibyte)
    socket.send(bytes)
    const [heard] = await take(1)
    expect(bytes.equals(heard as Buffer)).toBe(true)
    socket.send(Buffer.alloc(32 * mebibyte + 1))
    const { code } = await closed
    // Deno's and workerd's own limits end the connection before it can be told why.
    expect([1009, 1006]).toContain(code)
  })

  test('what a provider says at once is there, in order', async () => {
    const { socket, take } = await relay(target, '/openai', { control: { greet: 200 } })
    expect(await take(200)).toEqual(Array.from({ length: 200 }, (_, index) => greeting(index)))
    socket.close()
  })

  test('what a client says while the provider is still dialled is delivered, in order', async () => {
    const words = Array.from({ length: 20 }, (_, index) => `early-${index};`)
    const early = Buffer.concat(words.map(textFrame))
    const { socket, text } = rawUpgrade(target, '/openai', { delay: 200 }, early)
    // Bun takes no frames before its 101, as clients may send none.
    const expected = target.runtime === 'bun' ? ['HTTP/1.1 400'] : words
    await expect.poll(text, { timeout: 5_000 }).toContain(expected.at(-1))
    const places = expected.map((word) => text().indexOf(word))
    expect(places).toEqual(places.toSorted((one, other) => one - other))
    expect(places[0]).toBeGreaterThanOrEqual(0)
    socket.destroy()
  })

  test('pings are answered', async () => {
    const { socket } = await relay(target, '/openai')
    const pong = new Promise((resolve) => socket.once('pong', (data) => resolve(String(data))))
    socket.ping('are you there')
    expect(await pong).toBe('are you there')
    socket.close()
  })
}

function addressTests(target: Target): void {
  const cases: [string, string][] = [
    ['/openai?model=gpt-realtime', '/openai/realtime?model=gpt-realtime'],
    ['/openai/realtime?model=m', '/openai/realtime?model=m'],
    ['/openai/v1/realtime?model=m', '/openai/realtime?model=m'],
    ['/openai/responses', '/openai/responses'],
    ['/google', '/google/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent'],
    [
      '/google-ai-studio/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateMusic',
      '/google-ai-studio/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateMusic',
    ],
    ['/elevenlabs?agent_id=a', '/elevenlabs/v1/convai/conversation?agent_id=a'],
    [
      '/elevenlabs/v1/text-to-speech/v/stream-input?x=%20',
      '/elevenlabs/v1/text-to-speech/v/stream-input?x=%20',
    ],
    ['/cartesia?cartesia_version=2024-06-10', '/cartesia/tts/websocket?cartesia_version=2024-06-10'],
    ['/deepgram/v1/listen?model=nova-3', '/deepgram/v1/listen?model=nova-3'],
    [
      '/workers-ai?model=@cf/deepgram/nova-3&encoding=linear16',
      '/workers-ai/run/@cf/deepgram/nova-3?encoding=linear16',
    ],
    ['/fal/fal-ai/fast-lcm-diffusion', '/fal/fal-ai/fast-lcm-diffusion'],
    ['/azure-openai/res/openai/v1/realtime?model=d', '/azure-openai/v1/realtime?model=d'],
    ['/azure-openai/res/dep/realtime?api-version=1', '/azure-openai/realtime?deployment=dep&api-version=1'],
    ['/mine/voice?x=1', '/mine/v1/voice?x=1'],
    ['/voice', '/voice/socket'],
    ['/custom-voice/more', '/voice/socket/more'],
  ]
  test.each(cases)('%s dials %s', async (path, dialled) => {
    const key = newKey()
    const { socket } = await relay(target, path, { control: { key } })
    expect((await only(target, key)).path).toBe(dialled)
    socket.close()
  })

  test('the request’s headers go on, those of the connection and of the gateway do not', async () => {
    const key = newKey()
    const headers = { 'openai-beta': 'realtime=v1', 'cf-aig-metadata': '{"a":1}', cookie: 'c=1' }
    const { socket, headers: answered } = await relay(target, '/openai', { headers, control: { key } })
    const { headers: dialled } = await only(target, key)
    expect(dialled).toMatchObject({ 'openai-beta': 'realtime=v1', upgrade: 'websocket' })
    expect(Object.keys(dialled).filter((name) => /^cf-|cookie/.test(name))).toEqual([])
    expect(answered).toMatchObject({ 'cf-aig-step': '0' })
    expect(answered['cf-aig-request-id']).toMatch(/^[0-9a-f-]{36}$/)
    socket.close()
  })
}

function credentialTests(target: Target): void {
  const token = `${gatewayHeader}.${tokens.locked}`
  const canary = 'sk-canary-51a9e7c3'
  const cases: [string, string, readonly string[], string, string][] = [
    [
      '/openai?model=m',
      'authorization',
      ['realtime', `openai-insecure-api-key.${canary}`],
      'realtime',
      `Bearer ${canary}`,
    ],
    ['/elevenlabs?agent_id=a', 'xi-api-key', [`xi-api-key.${canary}`], token, canary],
    ['/fal/fal-ai/x', 'authorization', [`fal-api-key.${canary}`], token, `Key ${canary}`],
    ['/deepgram/v1/listen', 'authorization', ['token', canary], 'token', `Token ${canary}`],
    [`/cartesia?api_key=${canary}&cartesia_version=1`, 'x-api-key', [], token, canary],
    [`/openai?api%5Fkey=${canary}&model=m`, 'authorization', ['realtime'], 'realtime', `Bearer ${canary}`],
  ]
  test.each(cases)(
    'a key in the offer or query of %s goes into %s, and nowhere else',
    async (path, name, offer, selected, value) => {
      const key = newKey()
      const protocols = [...offer, token]
      const { socket, headers } = await relay(target, path, {
        gateway: 'locked',
        protocols,
        control: { key },
      })
      expect(socket.protocol).toBe(selected)
      expect(JSON.stringify(headers)).not.toContain(canary)
      const entry = await only(target, key)
      expect(entry.headers[name]).toBe(value)
      const { [name]: _, ...others } = entry.headers
      expect(JSON.stringify([entry.path, others])).not.toContain(canary)
      expect(JSON.stringify(entry)).not.toContain(tokens.locked)
      socket.close()
    },
  )

  test('Gemini’s key goes into its query, wherever it came from', async () => {
    const ways: [string, RelayOptions][] = [
      [`/google?api_key=${canary}`, {}],
      [`/google-ai-studio/ws/x?key=${canary}`, {}],
      ['/google', { headers: { 'x-goog-api-key': canary } }],
      // As @google/genai sends it.
      [`/google-ai-studio/ws/x?key=${canary}`, { headers: { 'x-goog-api-key': canary } }],
    ]
    for (const [path, options] of ways) {
      const key = newKey()
      const protocols = options.headers ? [] : [token]
      const own = { ...options, headers: { ...options.headers, [gatewayHeader]: tokens.locked } }
      const { socket } = await relay(target, path, { gateway: 'locked', protocols, ...own, control: { key } })
      const { path: dialled, headers } = await only(target, key)
      expect(dialled.endsWith(`?key=${canary}`), dialled).toBe(true)
      expect(headers).not.toHaveProperty('x-goog-api-key')
      socket.close()
    }
  })

  test('a gateway token may come in a provider’s place, and goes no further', async () => {
    const ways: [string, RelayOptions][] = [
      ['/keyed', { headers: { authorization: `Bearer ${tokens.locked}` } }],
      ['/keyed', { protocols: ['realtime', `openai-insecure-api-key.${tokens.locked}`] }],
      [`/keyed?api_key=${tokens.locked}`, {}],
      ['/keyed', { protocols: ['realtime', token] }],
    ]
    for (const [path, options] of ways) {
      const key = newKey()
      const { socket } = await relay(target, path, { gateway: 'locked', ...options, control: { key } })
      const entry = await only(target, key)
      expect(entry.headers.authorization).toBe(`Bearer ${storedKey}`)
      expect(JSON.stringify(entry)).not.toContain(tokens.locked)
      socket.close()
    }
  })

  test('without a token a locked gateway dials nobody', async () => {
    const key = newKey()
    for (const protocols of [[], [`${gatewayHeader}.wrong`], ['realtime', 'openai-insecure-api-key.sk']]) {
      const { status, body } = await refused(
        relay(target, '/openai?model=m', { gateway: 'locked', protocols, control: { key } }),
      )
      expect(status).toBe(401)
      expect(JSON.parse(body)).toMatchObject({ internalCode: 2009 })
    }
    expect(await ledger(target, key)).toEqual([])
  })

  test('pages of an origin that is not listed get no socket, with a token neither', async () => {
    const key = newKey()
    const control = { key }
    const { socket } = await relay(target, '/openai', {
      gateway: 'pages',
      headers: { origin: friend },
      control,
    })
    socket.close()
    for (const [gateway, origin] of [
      ['pages', 'https://evil.example'],
      ['default', friend],
      ['locked', friend],
    ] as const) {
      const headers = { origin, [gatewayHeader]: tokens.locked }
      expect((await refused(relay(target, '/openai', { gateway, headers, control }))).status).toBe(403)
    }
    await only(target, key)
  })

  test('an offer of nothing but a provider’s key cannot be selected from', async () => {
    const asked = relay(target, '/openai', { protocols: [`openai-insecure-api-key.${canary}`] })
    const { status, body } = await refused(asked)
    expect(status).toBe(400)
    expect(body).not.toContain(canary)
  })
}

function refusalTests(target: Target): void {
  test.each([401, 403, 429, 503])(
    'a provider’s %i reaches the client before the upgrade, with its body',
    async (status) => {
      const { status: got, body } = await refused(relay(target, '/openai', { control: { status } }))
      expect(got).toBe(status)
      expect(JSON.parse(body)).toMatchObject({ error: { message: `emulated ${status}` } })
    },
  )

  test('a provider that cannot be reached is a 502, one that does not answer a 504', async () => {
    const offline = await refused(relay(target, '/offline'))
    expect(offline.status).toBe(502)
    expect(JSON.parse(offline.body)).toMatchObject({ internalCode: 2005 })
    const key = newKey()
    const headers = { 'cf-aig-request-timeout': '150' }
    const began = performance.now()
    const silent = await refused(relay(target, '/openai', { headers, control: { key, hang: 'headers' } }))
    expect(silent.status).toBe(504)
    expect(JSON.parse(silent.body).message).toContain('150 ms')
    expect(performance.now() - began).toBeLessThan(2_000)
    expect((await ended(target, key))?.how).toBe('client_closed')
  })

  test('an unknown provider, and an unknown gateway, are refused as ever', async () => {
    const nobody = await refused(relay(target, '/nobody'))
    expect([nobody.status, JSON.parse(nobody.body).internalCode]).toEqual([400, 2008])
    const nowhere = await refused(relay(target, '/openai', { gateway: 'nowhere' }))
    expect([nowhere.status, JSON.parse(nowhere.body).internalCode]).toEqual([400, 2001])
  })

  test('a second provider is dialled where the first refuses or fails, with its own key', async () => {
    for (const slug of ['unsure', 'unreachable']) {
      const key = newKey()
      const headers = { authorization: 'Bearer sk-client' }
      const {
        socket,
        headers: answered,
        take,
      } = await relay(target, `/${slug}`, { headers, control: { key } })
      socket.send('still here')
      expect(await take(1)).toEqual(['still here'])
      expect(answered['cf-aig-step']).toBe('1')
      const entries = await ledger(target, key)
      const served = entries.at(-1)!
      expect(served.path).toBe('/keyed')
      expect(served.headers.authorization).toBe(`Bearer ${storedKey}`)
      socket.close()
    }
  })

  test('a client that leaves while its provider is dialled leaves no dial behind', async () => {
    const leaves: ((socket: Socket) => unknown)[] = [(socket) => socket.resetAndDestroy()]
    // workerd sees the end of a connection only where it writes.
    if (target.runtime !== 'workers') leaves.push((socket) => socket.end())
    for (const leave of leaves) {
      const attempt = async () => {
        const key = newKey()
        const { socket } = rawUpgrade(target, '/openai', { key, hang: 'headers' })
        await seen(target, key)
        const left = await clock(target)
        leave(socket)
        return stoppedAfter(target, key, left)
      }
      expect(await timeOf(attempt)).toBeLessThanOrEqual(cancelMs)
    }
  })
}

function closeTests(target: Target): void {
  test.each([1000, 1001, 1008, 1011, 1012, 1013, 1014, 3000, 4001, 4999])(
    'a provider’s %i and its reason reach the client',
    async (code) => {
      const { closed } = await relay(target, '/openai', { control: { close: [code, 'because é'] } })
      expect(await closed).toMatchObject({ code, reason: 'because é' })
    },
  )

  test('a close without a code has none on the other side, a lost provider is a 1011', async () => {
    const without = await relay(target, '/openai', { control: { close: [1005] } })
    expect(await without.closed).toMatchObject({ code: 1005, reason: '' })
    const lost = await relay(target, '/openai', { control: { close: [1006], interval: 50 } })
    expect(await lost.closed).toMatchObject({ code: 1011, reason: 'provider lost' })
  })

  test.each([1000, 1001, 3001, 4321])(
    'a client’s %i and its reason reach the provider within 100 ms',
    async (code) => {
      const attempt = async () => {
        const key = newKey()
        const { socket } = await relay(target, '/openai', { control: { key } })
        await sleep(20)
        const left = await clock(target)
        socket.close(code, 'done é')
        const ms = await stoppedAfter(target, key, left)
        expect(await ended(target, key)).toMatchObject({ closeCode: code, closeReason: 'done é' })
        return ms
      }
      expect(await timeOf(attempt)).toBeLessThanOrEqual(cancelMs)
    },
  )

  test('a client that is lost is a 1001 to the provider', async () => {
    const key = newKey()
    const { socket } = await relay(target, '/openai', { control: { key } })
    socket.terminate()
    expect(await ended(target, key)).toMatchObject({ closeCode: 1001 })
  })

  test('what was sent before a close comes before it', async () => {
    const { closed, heard } = await relay(target, '/openai', { control: { greet: 50, close: [4000, 'end'] } })
    await closed
    expect(heard).toEqual(Array.from({ length: 50 }, (_, index) => greeting(index)))
  })
}

function slowTests(target: Target): void {
  test('a client that reads slowly gets every frame in order, and slows its provider', async () => {
    const key = newKey()
    const frames = 600
    const { socket, heard, closed } = await relay(target, '/openai', { control: { key, flood: frames } })
    const canPause = target.runtime !== 'workers'
    socket.pause()
    await sleep(700)
    const { eventsSent } = await only(target, key)
    if (canPause) expect(eventsSent).toBeLessThan(frames)
    socket.resume()
    const end = Promise.race([closed, sleep(15_000)])
    while (heard.at(-1) !== 'end' && socket.readyState === socket.OPEN) await sleep(5)
    const numbers = heard.slice(0, -1).map((frame) => (frame as Buffer).readUInt32BE())
    expect(numbers).toEqual(Array.from({ length: frames }, (_, index) => index))
    socket.close()
    await end
  })

  test('a session’s frames are the same on both sides, by hash', async () => {
    const { socket, heard } = await relay(target, '/openai')
    const [sent, got] = [createHash('sha256'), createHash('sha256')]
    const count = 2_000
    for (let index = 0; index < count; index += 1) {
      const frame = index % 3 === 0 ? `text ${index} é` : randomBytes((index * 37) % 5_000)
      sent.update(frame)
      socket.send(frame)
    }
    while (heard.length < count && socket.readyState === socket.OPEN) await sleep(5)
    for (const frame of heard) got.update(frame)
    expect(got.digest('hex')).toBe(sent.digest('hex'))
    socket.close()
  })
}
