import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { pipeline } from 'node:stream/promises'
import { build } from 'esbuild'
import { type Browser, chromium, type Page as Tab } from 'playwright-core'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ended, newKey, post } from './client.ts'
import { tokens } from './config.ts'
import { flows } from './flows/flows.ts'
import type { Page, Spoken } from './flows/page.ts'
import { overCut } from './flows/run.ts'
import { root } from './launch.ts'
import { startProxy } from './proxy.ts'

declare const page: Page

/** Debian's, unless `CHROMIUM` names another. */
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const cutMs = 150
const target = Object.values(inject('targets'))[0]!
const gatewayOf = (id: string): string => `${target.ws}/v1/default/${id}`

let browser: Browser
let server: Server
let origin: string
let tab: Tab

beforeAll(async () => {
  server = await serve(await bundle())
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  // Its sandbox is not for root, as which containers run.
  browser = await chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 })
  tab = await browser.newPage()
  await tab.goto(origin)
}, 60_000)

afterAll(async () => {
  await browser?.close()
  server?.close()
})

/** A session token, as an application's server makes it for its pages. */
async function mint(asked: object): Promise<string> {
  const headers = { 'cf-aig-authorization': tokens.all }
  const response = await post(`${target.url}/v1/default/browser/tokens/session`, asked, headers)
  return ((await response.json()) as { token: string }).token
}

/** What came of speaking with a provider's own socket through a gateway. */
function speak(path: string, token: string, frames = 200, gateway = 'browser'): Promise<Spoken> {
  const asked = [
    `${gatewayOf(gateway)}${path}`,
    ['realtime', `cf-aig-authorization.${token}`],
    frames,
  ] as const
  return tab.evaluate(([url, protocols, count]) => page.speak(url, [...protocols], count), asked)
}

/** The page's program, as a bundler makes it for browsers. */
async function bundle(): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [join(root, 'test/flows/page.ts')],
    write: false,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    logLevel: 'error',
  })
  return outputFiles[0]!.contents
}

/** The page, at an origin that is not the gateway's; what the emulator knows is under `/emulator`. */
function serve(script: Uint8Array): Promise<Server> {
  const made = createServer(async (request, response) => {
    if (request.url?.startsWith('/emulator/')) {
      const body = request.method === 'POST' ? { body: request, duplex: 'half' as const } : {}
      const headers = { 'x-upstream': String(request.headers['x-upstream'] ?? '{}') }
      const url = target.upstream + request.url.slice('/emulator'.length)
      const answer = await fetch(url, { method: request.method, headers, ...body } as RequestInit)
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
      await pipeline(answer.body ?? [], response)
    } else if (request.url === '/page.js') {
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(script)
    } else {
      response.writeHead(200, { 'content-type': 'text/html' })
      response.end('<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>')
    }
  })
  return new Promise((resolve) => made.listen(0, '127.0.0.1', () => resolve(made)))
}

test("a page in Chromium: every SDK's flows over a line and over fetch, and streams over a line that is cut", {
  timeout: 120_000,
}, async () => {
  const proxy = await startProxy(Number(new URL(target.url).port))
  const timer = setInterval(() => proxy.cut(), cutMs)
  const places = {
    gateway: gatewayOf('browser'),
    cut: `ws://127.0.0.1:${proxy.port}/v1/default/browser`,
    upstream: `${origin}/emulator`,
    token: await mint({ origins: [origin], lifetime: 600 }),
  }
  const { line, http } = await tab.evaluate((asked) => page.run(asked), places)
  clearInterval(timer)
  const { total } = proxy
  await proxy.close()
  const names = flows.map(({ name }) => name)
  expect(line).toEqual({ ran: [...names, overCut], failures: {} })
  expect(http).toEqual({ ran: names, failures: {} })
  expect(total).toBeGreaterThan(2)
})

test.each([
  ['an origin that may, with a token', 'browser', tokens.all, { socket: true, http: true }],
  [
    'an origin that may, with a wrong token, of which HTTP tells',
    'browser',
    'wrong',
    { socket: false, http: true },
  ],
  ['an origin that is not listed', 'pages', tokens.all, { socket: false, http: false }],
  ['any origin where none is listed, token or not', 'locked', tokens.all, { socket: false, http: false }],
] as const)('a page of %s', async (_name, id, token, expected) => {
  const asked = [gatewayOf(id), token] as const
  const found = await tab.evaluate(([gateway, secret]) => page.isLetIn(gateway, secret), asked)
  expect(found).toEqual(expected)
})

test('a page speaks with a provider’s own socket by a session token, in sound and words', async () => {
  const key = newKey()
  const token = await mint({ origins: [origin], models: ['gpt-realtime'], providers: ['openai'] })
  const path = `/openai?model=gpt-realtime&x-upstream=${encodeURIComponent(JSON.stringify({ key }))}`
  const spoken = { protocol: 'realtime', same: 200, code: 3_000, reason: 'done' }
  expect(await speak(path, token)).toEqual(spoken)
  const entry = await ended(target, key)
  expect(entry).toMatchObject({ framesSeen: 200, closeCode: 3_000, closeReason: 'done' })
  expect(JSON.stringify(entry)).not.toContain(token)
})

test('a session token is of no use to a page beyond what it is for', async () => {
  const never = { protocol: null, same: 0, code: 1_006, reason: '' }
  const elsewhere = await mint({ origins: ['https://app.example'] })
  expect(await speak('/openai?model=m', elsewhere)).toEqual(never)
  expect(
    await tab.evaluate((asked) => page.isLetIn(...asked), [gatewayOf('browser'), elsewhere] as const),
  ).toEqual({
    socket: false,
    http: true, // what it hears there is the refusal
  })
  const own = await mint({ origins: [origin], models: ['cheap'], requests: 2 })
  expect(await speak('/openai?model=dear', own)).toEqual(never)
  expect(await speak('/openai?model=cheap', own, 2, 'vault')).toEqual(never)
  expect(await speak('/openai?model=cheap', own, 2)).toMatchObject({ same: 2, code: 3_000 })
  expect(await speak('/openai?model=cheap', own, 2)).toMatchObject({ same: 2 })
  expect(await speak('/openai?model=cheap', own, 2)).toEqual(never)
})
