import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { at, chat, connect, newKey, post, upstream } from './client.ts'
import { runtimes, type Started, startEmulator, startGateway } from './launch.ts'
import { relay } from './relay-client.ts'
import type { Target } from './target.ts'
import type { Control } from './upstream/control.ts'

/** Long enough to be nobody else's word; of no shape that a pattern would know. */
const canary = (name: string): string => `canary-${name}-7c1e0b44a9`
const secrets = {
  token: canary('token'),
  storedKey: canary('stored'),
  fixedHeader: canary('fixed'),
  clientKey: canary('client'),
  header: canary('header'),
  query: canary('query'),
  body: canary('body'),
  nested: canary('nested'),
  offered: canary('offered'),
  dialled: canary('dialled'),
  live: canary('live'),
}
const recordMs = 800

let emulator: Started
beforeAll(async () => {
  emulator = await startEmulator()
})
afterAll(() => emulator.stop())

const config = (url: string): object => ({
  gateways: [
    { id: 'default', authentication: true },
    { id: 'cached', authentication: true, cache_ttl: 300 },
  ],
  tokens: [
    { name: 'one', token: 'env:ONE' },
    { name: 'two', token: 'another-tenant' },
  ],
  providers: {
    openai: { base_url: url },
    keyed: { base_url: url, api_key: 'env:KEY', headers: { 'x-fixed': secrets.fixedHeader } },
    google: { base_url: `${url}/google` },
    offline: { base_url: 'http://127.0.0.1:9', api_key: 'env:KEY' },
  },
})

/** Every way in, with secrets in every place where one may be. */
async function tell(target: Target, key: string): Promise<void> {
  const auth = { 'cf-aig-authorization': `Bearer ${secrets.token}` }
  const body = chat('x', {
    api_key: secrets.body,
    tools: [{ type: 'mcp', authorization: secrets.nested, headers: { 'X-Api-Key': secrets.nested } }],
  })
  const headers = {
    ...auth,
    authorization: `Bearer ${secrets.clientKey}`,
    'x-secret-token': secrets.header,
  }
  // What providers say of a wrong key: the key itself.
  const refusal = { status: 401, text: `Incorrect API key provided: ${secrets.clientKey}.` }
  const path = `/openai/chat/completions?api_key=${secrets.query}`
  const answers = [
    await post(at(target, path), body, { ...headers, ...upstream({ key }) }),
    await post(at(target, path), { ...body, stream: true }, { ...headers, ...upstream({ key }) }),
    await post(at(target, path), body, { ...headers, ...upstream({ key, ...refusal }) }),
    await post(at(target, path, 'cached'), body, { ...headers, ...upstream({ key }) }),
    await post(at(target, '/keyed/chat/completions'), body, { ...auth, ...upstream({ key }) }),
    await post(at(target, '/offline/chat/completions'), body, auth),
    await post(at(target, '/openai/chat/completions'), body, {
      authorization: `Bearer ${secrets.token}`,
      ...upstream({ key }),
    }),
    await post(at(target, '/nobody/x'), body, headers),
    await post(at(target, path), '{"api_key": broken', { ...headers, ...upstream({ key, reset: 0 }) }).catch(
      () => undefined,
    ),
  ]
  await Promise.all(answers.map((answer) => answer?.text().catch(() => undefined)))
  const line = await connect(target, { protocols: [`cf-aig-authorization.${secrets.token}`, 'trunkline.v1'] })
  for (const control of [{ key }, { key, ...refusal }]) {
    const { 'cf-aig-authorization': _, ...own } = headers
    const item = {
      provider: 'openai',
      endpoint: `chat/completions?api_key=${secrets.query}`,
      headers: { ...own, ...upstream(control) },
      query: body,
      onDisconnect: 'stop',
    }
    await line.result(line.create(item))
  }
  line.send({
    type: 'universal.create',
    request: { eventId: 'bad', provider: 7, headers: { a: secrets.header } },
  })
  line.close()
}

/** Providers' own sockets, with keys where only sockets have them: what a client is told, in headers and at the end. */
async function speak(target: Target, key: string): Promise<string> {
  const auth = `cf-aig-authorization.${secrets.token}`
  const [offered, dialled] = [`openai-insecure-api-key.${secrets.offered}`, `api_key=${secrets.dialled}`]
  const asked: [path: string, offer: readonly string[], control?: Control][] = [
    ['/openai?model=m', [offered]],
    [`/openai?model=m&${dialled}`, []],
    [`/google?key=${secrets.live}`, []],
    ['/openai?model=m', [offered], { status: 401 }],
    [`/openai?model=m&${dialled}`, [], { status: 401 }],
    [`/google?key=${secrets.live}`, [], { status: 403 }],
    [`/google?key=${secrets.live}%0A`, []],
    [`/offline?${dialled}`, [offered]],
    [`/nobody?${dialled}`, [offered]],
    [`/openai/%E0%A4%A?${dialled}`, [offered]],
  ]
  const said = asked.map(async ([path, offer, control = {}]) => {
    const protocols = ['realtime', ...offer, auth]
    const opened = await relay(target, path, { protocols, control: { key, ...control } }).catch(
      (error: unknown) => error as Error,
    )
    if (opened instanceof Error) return opened.message
    opened.socket.send('{"type":"session.update"}')
    await opened.take(1)
    opened.socket.close(4_000)
    return JSON.stringify([opened.headers, opened.socket.protocol, await opened.closed])
  })
  // What a provider says of a wrong key goes to the client as it is, and into no record.
  for (const [path, offer, secret] of [
    ['/openai?model=m', [offered], secrets.offered],
    [`/google?key=${secrets.live}`, [], secrets.live],
  ] as const) {
    const control: Control = { key, close: [1_008, `Wrong key: ${secret}`] }
    const { closed } = await relay(target, path, { protocols: ['realtime', ...offer, auth], control })
    expect((await closed).reason).toContain(secret)
  }
  return (await Promise.all(said)).join('\n')
}

/** All bytes of all files below a folder. */
function bytesBelow(folder: string): Buffer {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file))
  return Buffer.concat(files.filter((file) => statSync(file).isFile()).map((file) => readFileSync(file)))
}

/** Files that others than their owner may read or write. */
const openTo = (folder: string): string[] =>
  [folder, ...readdirSync(folder, { encoding: 'utf8' }).map((file) => join(folder, file))].filter(
    (file) => (statSync(file).mode & 0o077) !== 0,
  )

const found = (bytes: Buffer | string): string[] =>
  Object.entries(secrets)
    .filter(([, secret]) => bytes.includes(secret))
    .map(([name]) => name)

describe.each(runtimes)('%s', (runtime) => {
  test('no secret is in its files, in what it prints, or in what another tenant is told', async () => {
    const env = { ONE: secrets.token, KEY: secrets.storedKey }
    const gateway = await startGateway(runtime, config(emulator.url), env)
    const { url } = gateway
    const target = { runtime, url, ws: url.replace('http', 'ws'), upstream: emulator.url }
    const key = newKey()
    await tell(target, key)
    const said = await speak(target, key)
    expect(said.match(/"code":4000/g)).toHaveLength(3)
    expect(found(said)).toEqual([])
    await sleep(recordMs)
    const other = { 'cf-aig-authorization': 'Bearer another-tenant' }
    const answers = [
      await post(at(target, '/openai/chat/completions', 'cached'), chat('x'), {
        ...other,
        ...upstream({ key }),
      }),
      await post(at(target, '/offline/chat/completions'), chat('x'), other),
      await fetch(`${url}/health`),
    ]
    for (const answer of answers) expect(found(await answer.text())).toEqual([])

    const ledger = await (await fetch(`${emulator.url}/ledger?key=${key}`)).text()
    expect(found(ledger)).toEqual([
      'storedKey',
      'fixedHeader',
      'clientKey',
      'header',
      'query',
      'body',
      'nested',
      'offered',
      'dialled',
      'live',
    ])
    if (runtime !== 'workers') expect(openTo(join(gateway.folder ?? '', 'data'))).toEqual([])
    expect(await gateway.terminate()).toBe(0)
    const files = bytesBelow(join(gateway.folder ?? '', 'data'))
    // It has been recorded, and the secrets in it were taken out.
    expect(files.includes('chat/completions')).toBe(true)
    expect(files.includes('websocket')).toBe(true)
    expect(files.includes('[redacted]')).toBe(true)
    expect(found(files)).toEqual([])
    expect(found(gateway.output())).toEqual([])
    await gateway.stop()
  })
})
